//! A full queue pushes back: the sender is told to come again, and nothing that was accepted is
//! lost.

use sluice_tests::collector::{Config, Sluice, config};
use sluice_tests::send::Grpc;
use sluice_tests::send::http::Post;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::{rpc, send, wire};
use tonic::Code;

/// Room for some tens of requests.
const SMALL: &str = "sending_queue: { sizer: bytes, queue_size: 400000, batch: { flush_timeout: 20ms } }";

fn small_queue(upstream: &Sink) -> Config {
    Config::new().exporter("otlp_grpc", &config::grpc(upstream, SMALL))
}

#[test]
fn a_full_queue_asks_the_sender_to_come_again_and_loses_nothing() {
    let upstream = Sink::start();
    upstream.always(Answer::UNAVAILABLE);
    let sluice = Sluice::start(&small_queue(&upstream));
    let client = Grpc::new(sluice.grpc()).unwrap();
    let requests = Exporter::new(51).requests(120, 40);
    let refusal = requests.iter().find_map(|request| client.send(request).err()).expect("the queue never filled up");
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
    assert!(rpc::retry_delay(&refusal).is_some(), "no RetryInfo: {refusal:?}");

    let reply = Post::protobuf(requests[0].clone()).to(sluice.http()).unwrap();
    assert!([429, 503].contains(&reply.status.as_u16()), "{reply:?}");
    assert!(reply.header("retry-after").parse::<u64>().is_ok(), "{reply:?}");

    upstream.always(Answer::Ok);
    let more = Exporter::new(52).requests(40, 40);
    send::all(sluice.grpc(), &more).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "accepted"), upstream.spans() as i64);
    assert!(end.account.sum("receiver", "refused") > 0);
}

#[test]
fn senders_that_come_again_get_everything_through_a_slow_upstream() {
    let upstream = Sink::start();
    upstream.script(std::iter::repeat_n(Answer::UNAVAILABLE, 20));
    let requests = Exporter::new(53).requests(200, 40);
    let sluice = Sluice::start(&small_queue(&upstream));
    send::all(sluice.grpc(), &requests).unwrap();
    let end = sluice.terminate();
    assert_eq!(wire::difference(&requests, &upstream.wires()).unwrap(), None);
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}
