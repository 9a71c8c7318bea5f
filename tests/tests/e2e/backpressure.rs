//! A full queue pushes back: the sender is told to come again, and nothing that was accepted is
//! lost.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;

use bytes::Bytes;
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

/// The most memory that the process has had resident, in MiB.
fn peak_mib(sluice: &Sluice) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sluice.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

#[test]
fn many_bombs_at_once_stay_within_the_budget() {
    let upstream = Sink::start();
    // 40 MiB less a fifth: 32 MiB may be on their way in.
    let sluice = Sluice::start(&Config::to(&upstream).processor("memory_limiter", "check_interval: 1s\nlimit_mib: 40"));
    // Each of them alone is within the limit of one request.
    let bomb = Bytes::from(zstd::encode_all(&vec![0; 60 << 20][..], 1).unwrap());
    assert!(bomb.len() < 20_000);
    let address = sluice.http();
    let senders: Vec<_> = (0..16)
        .map(|_| {
            let post = Post::protobuf(bomb.clone()).header("content-encoding", "zstd");
            thread::spawn(move || post.to(address).unwrap())
        })
        .collect();
    for reply in senders.into_iter().map(|sender| sender.join().unwrap()) {
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"), "{reply:?}");
    }
    let peak = peak_mib(&sluice);
    assert!(peak < 60 + 32, "{peak} MiB at its highest");
    let requests = Exporter::new(54).requests(5, 40);
    send::all(sluice.grpc(), &requests).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(wire::difference(&requests, &upstream.wires()).unwrap(), None);
}

#[test]
fn senders_that_never_finish_cost_little_and_disturb_nobody() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream));
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 60000000\r\n\r\n";
    let slow: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(sluice.http()).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            // A byte now; there is always another one to come.
            stream.write_all(b"\n").unwrap();
            stream
        })
        .collect();
    let requests = Exporter::new(55).requests(50, 40);
    send::all(sluice.grpc(), &requests).unwrap();
    for request in Exporter::new(56).requests(20, 40) {
        assert_eq!(Post::protobuf(request).to(sluice.http()).unwrap().status, 200);
    }
    for mut stream in &slow {
        stream.write_all(b"\n").unwrap();
    }
    let peak = peak_mib(&sluice);
    assert!(peak < 60, "{peak} MiB at its highest");
    drop(slow);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}
