//! Requests of one connection that wait at the same time go through the plugins together. Nobody notices:
//! each has an answer of its own, and no call sees spans of two connections.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use sluice_tests::collector::config::grpc;
use sluice_tests::collector::{Config, Sluice};
use sluice_tests::send::{self, Grpc};
use sluice_tests::sink::Sink;
use sluice_tests::{wait, wire};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tonic::{Code, Status};

use crate::odd;
use crate::poison::{folder, request};

type Answer = Result<ExportTraceServiceResponse, Status>;

/// Sends each request once on one connection, at most so many at a time, and gives the answers in order.
fn at_once(client: &Grpc, requests: &[Bytes], most: usize) -> Vec<Answer> {
    let room = Arc::new(Semaphore::new(most));
    let one = |request: &Bytes| {
        let (room, client, request) = (Arc::clone(&room), client.clone(), request.clone());
        wait::runtime().spawn(async move {
            let _permit = room.acquire().await;
            client.export(request).await
        })
    };
    let tasks: Vec<_> = requests.iter().map(one).collect();
    tasks.into_iter().map(|task| wait::runtime().block_on(task).unwrap()).collect()
}

fn start(upstream: &Sink, does: &str, more: &str) -> Sluice {
    let settings = format!("module: tester.wasm\nconfig: {{ {does} }}\nlimits: {{ timeout: 5s }}\n{more}");
    Sluice::start_in(folder(&Config::to(upstream).processor("wasm/tester", &settings)))
}

/// Twenty spans of this name.
fn named(name: &str) -> Bytes {
    let spans: Vec<_> = (0..20).map(|span| odd::span(1, span, &[odd::field(5, name.as_bytes())])).collect();
    odd::request(&spans)
}

#[test]
fn requests_of_one_connection_share_calls_and_those_of_two_never_do() {
    const REQUESTS: usize = 150;
    // More than there are cores, so that some live on the same.
    let names: Vec<String> = (0..3 * std::thread::available_parallelism().unwrap().get().min(4))
        .map(|number| format!("sender {number}"))
        .collect();
    let upstream = Sink::start();
    let sluice = start(&upstream, "does: names", "");
    let address = sluice.grpc();
    let send = |name: &String| {
        let requests = vec![named(name); REQUESTS];
        std::thread::spawn(move || at_once(&Grpc::new(address).unwrap(), &requests, 32))
    };
    let senders: Vec<_> = names.iter().map(send).collect();
    for sender in senders {
        assert!(sender.join().unwrap().into_iter().all(|answer| answer.is_ok()));
    }
    let metrics = sluice.metrics();
    let calls = |labels: &[(&str, &str)]| metrics.sum("sluice_plugin_custom_calls", labels) as usize;
    assert_eq!(calls(&[]), calls(&[("names", "1")]), "a call with spans of two connections");
    let requests = names.len() * REQUESTS;
    assert!((1..requests).contains(&calls(&[])), "{} calls for {requests} requests", calls(&[]));
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(upstream.spans(), 20 * requests as u64);
}

#[test]
fn no_request_answers_for_another() {
    let upstream = Sink::start();
    let sluice = start(&upstream, "does: trap, to: bad", "on_poison: refuse");
    let good = request(20, &[]);
    let requests: Vec<Bytes> = (0..300)
        .map(|number| match number % 30 {
            7 => request(20, &[number as u8 % 20]),
            // The last byte is missing; of the next request, one could think.
            22 => good.slice(..good.len() - 1),
            _ => good.clone(),
        })
        .collect();
    let answers = at_once(&Grpc::new(sluice.grpc()).unwrap(), &requests, 32);
    for (number, answer) in answers.into_iter().enumerate() {
        let code = answer.err().map(|status| status.code());
        let expected = match number % 30 {
            7 => Some(Code::Unavailable),
            22 => Some(Code::InvalidArgument),
            _ => None,
        };
        assert_eq!(code, expected, "request {number}");
    }
    let end = sluice.terminate();
    assert_eq!(
        (end.code, end.account.missing(), end.account.sum("receiver", "refused")),
        (0, 0, 200),
        "{}",
        end.stderr
    );
    assert_eq!(wire::difference(&vec![good; 280], &upstream.wires()).unwrap(), None);
}

/// A queue that has room for some of those that come together takes some: otherwise they would come together
/// again and again and never be taken.
#[test]
fn a_queue_with_room_for_few_takes_few_and_counts_whom_it_refuses_once() {
    let upstream = Sink::start();
    let queue = "sending_queue: { sizer: requests, queue_size: 2, batch: { flush_timeout: 1ms } }";
    let config = Config::new()
        .exporter("otlp_grpc", &grpc(&upstream, queue))
        .processor("wasm/tester", "module: tester.wasm\nconfig: { does: stamp }\nlimits: { timeout: 5s }");
    let sluice = Sluice::start_in(folder(&config));
    let requests = vec![named("any"); 200];
    send::all(sluice.grpc(), &requests).unwrap();
    let client = Grpc::new(sluice.grpc()).unwrap();
    let refused = at_once(&client, &requests, 64).into_iter().filter(Result::is_err).count();
    let failed = sluice.metrics().sum("otelcol_exporter_enqueue_failed_spans", &[]) as i64;
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "refused"), failed, "each refusal is counted once");
    assert_eq!(upstream.spans(), 20 * (400 - refused as u64));
}

/// Upstream takes all requests but those with a bad span, and no more of others fails with these: they went
/// through the plugins together and were merged again to be sent.
#[test]
fn of_requests_that_went_together_upstream_refuses_only_the_guilty() {
    for (waits, code) in [("", None), ("wait_for_result: true,", Some(Code::Internal))] {
        let upstream = Sink::start();
        upstream.refuse_with("bad");
        let queue = format!("sending_queue: {{ {waits} batch: {{ flush_timeout: 20ms }} }}");
        let config = Config::new()
            .exporter("otlp_grpc", &grpc(&upstream, &queue))
            .processor("wasm/tester", "module: tester.wasm\nconfig: { does: stamp }\nlimits: { timeout: 5s }");
        let sluice = Sluice::start_in(folder(&config));
        let is_guilty = |number: usize| number % 20 == 11;
        let requests: Vec<Bytes> =
            (0..200).map(|number| if is_guilty(number) { request(20, &[5]) } else { request(20, &[]) }).collect();
        let answers = at_once(&Grpc::new(sluice.grpc()).unwrap(), &requests, 32);
        for (number, answer) in answers.into_iter().enumerate() {
            let expected = code.filter(|_| is_guilty(number));
            assert_eq!(answer.err().map(|status| status.code()), expected, "{waits} request {number}");
        }
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
        assert_eq!(end.account.sum("destination", "failed"), 200, "{waits}");
        assert_eq!(upstream.spans(), 20 * 190, "{waits}");
    }
}
