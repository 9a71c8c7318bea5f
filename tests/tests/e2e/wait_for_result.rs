//! `wait_for_result`: a sender is answered when upstream has its spans, and told what upstream said.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message as _;
use sluice_tests::collector::{Config, End, Sluice, config};
use sluice_tests::send::Grpc;
use sluice_tests::send::http::{Post, Reply};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Gate, Sink};
use sluice_tests::{rpc, wait, wire};
use tonic::{Code, Status};

/// Far above what a batch may take that goes out because all wait; an answer that waited for it
/// would come too late for its sender.
const QUEUE: &str =
    "wait_for_result: true, sizer: items, queue_size: 100000, num_consumers: 1, batch: { flush_timeout: 1h }";

fn waiting(upstream: &Sink, more: &str) -> Config {
    let settings = format!("{more}\nsending_queue: {{ {QUEUE} }}");
    Config::new().exporter("otlp_grpc", &config::grpc(upstream, &settings))
}

fn count(requests: &[Bytes]) -> i64 {
    requests.iter().map(|request| wire::count(request).unwrap() as i64).sum()
}

#[track_caller]
fn closes(end: &End) {
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

type Answered = JoinHandle<Result<ExportTraceServiceResponse, Status>>;

/// Sends each request from a thread of its own.
fn all_at_once(sluice: &Sluice, requests: &[Bytes]) -> Vec<Answered> {
    let client = Grpc::new(sluice.grpc()).unwrap();
    let send = |request: &Bytes| {
        let (client, request) = (client.clone(), request.clone());
        thread::spawn(move || client.send(&request))
    };
    requests.iter().map(send).collect()
}

/// Waits until the queue holds so many spans, those on their way included.
#[track_caller]
fn wait_for_queued(sluice: &Sluice, spans: i64) {
    wait::until(&format!("{spans} spans in the queue"), || {
        let size = sluice.metrics().sum("otelcol_exporter_queue_size", &[("exporter", "otlp_grpc")]);
        (size as i64 == spans).then_some(())
    });
}

#[test]
fn a_sender_is_answered_after_upstream_has_its_spans() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&waiting(&upstream, ""));
    let client = Grpc::new(sluice.grpc()).unwrap();
    let requests = Exporter::new(401).requests(20, 30);
    for (index, request) in requests.iter().enumerate() {
        assert_eq!(client.send(request).unwrap(), ExportTraceServiceResponse::default());
        assert_eq!(upstream.spans() as i64, count(&requests[..=index]), "answered before upstream had it");
    }
    closes(&sluice.terminate());
}

#[test]
fn requests_merged_into_one_export_share_its_result() {
    let upstream = Sink::start();
    // The first one keeps the only consumer busy, so that the others come together.
    let partial = Answer::Partial { rejected: 3, message: "three are too old" };
    let gate = Gate::shut();
    upstream.script([Answer::Held(gate.clone()), partial]);
    let sluice = Sluice::start(&waiting(&upstream, "timeout: 1h"));
    let requests = Exporter::new(402).requests(5, 30);
    let first = all_at_once(&sluice, &requests[..1]);
    upstream.wait_for_attempts(1);
    let others = all_at_once(&sluice, &requests[1..]);
    wait_for_queued(&sluice, count(&requests));
    gate.open();
    for answer in first {
        assert_eq!(answer.join().unwrap().unwrap(), ExportTraceServiceResponse::default());
    }
    for answer in others {
        let warning = answer.join().unwrap().unwrap().partial_success.expect("no warning");
        assert_eq!(warning.rejected_spans, 0);
        assert!(warning.error_message.contains("three are too old"), "{warning:?}");
    }
    assert_eq!(upstream.totals().requests, 2);
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(end.account.sum("receiver", "accepted"), count(&requests));
    assert_eq!(end.account.sum("destination", "failed"), 3);
    assert_eq!(end.account.sum("destination", "delivered"), count(&requests) - 3);
}

#[test]
fn a_warning_comes_back_over_http_in_the_format_of_the_request() {
    let upstream = Sink::start();
    upstream.always(Answer::Partial { rejected: 0, message: "please upgrade" });
    let sluice = Sluice::start(&waiting(&upstream, ""));
    let reply = Post::protobuf(Exporter::new(403).request(10)).to(sluice.http()).unwrap();
    let partial = ExportTracePartialSuccess { rejected_spans: 0, error_message: "please upgrade".to_owned() };
    assert_eq!(reply.status, 200);
    assert_eq!(
        ExportTraceServiceResponse::decode(reply.body).unwrap(),
        ExportTraceServiceResponse { partial_success: Some(partial) }
    );
    let span = r#"{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"a"}"#;
    let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
    let reply = Post::json(json).to(sluice.http()).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((reply.status.as_u16(), body["partialSuccess"]["errorMessage"].as_str()), (200, Some("please upgrade")));
    closes(&sluice.terminate());
}

#[test]
fn what_upstream_refuses_for_good_is_refused_for_good() {
    let upstream = Sink::start();
    upstream.script([Answer::INVALID, Answer::INVALID]);
    let sluice = Sluice::start(&waiting(&upstream, ""));
    let request = Exporter::new(404).request(10);
    let refusal = Grpc::new(sluice.grpc()).unwrap().send(&request).unwrap_err();
    assert_eq!((refusal.code(), rpc::retry_delay(&refusal)), (Code::Internal, None), "{refusal:?}");
    assert!(refusal.message().contains("invalid_argument"), "{refusal:?}");
    let Reply { status, .. } = Post::protobuf(request.clone()).to(sluice.http()).unwrap();
    assert_eq!(status, 500);
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(end.account.sum("receiver", "refused"), 2 * count(std::slice::from_ref(&request)));
    assert_eq!(end.account.sum("destination", "failed"), 2 * count(&[request]));
}

#[test]
fn of_a_merged_request_only_the_guilty_one_is_refused() {
    let upstream = Sink::start();
    upstream.refuse_with("the guilty one");
    let gate = Gate::shut();
    upstream.script([Answer::Held(gate.clone())]);
    let sluice = Sluice::start(&waiting(&upstream, "timeout: 1h"));
    let good = Exporter::new(405).requests(3, 20);
    let first = all_at_once(&sluice, &good[..1]);
    upstream.wait_for_attempts(1);
    let guilty = crate::odd::request(&[crate::odd::span(1, 1, &[crate::odd::field(5, b"the guilty one")])]);
    let others = all_at_once(&sluice, &[good[1].clone(), guilty, good[2].clone()]);
    wait_for_queued(&sluice, count(&good) + 1);
    gate.open();
    let answers: Vec<_> = first.into_iter().chain(others).map(|answer| answer.join().unwrap()).collect();
    let codes: Vec<_> = answers.iter().map(|answer| answer.as_ref().err().map(Status::code)).collect();
    assert_eq!(codes, [None, None, Some(Code::Internal), None]);
    assert_eq!(wire::difference(&good, &upstream.wires()).unwrap(), None);
    closes(&sluice.terminate());
}

#[test]
fn the_answer_comes_before_the_senders_deadline_and_is_to_be_retried() {
    let upstream = Sink::start();
    upstream.always(Answer::Silence);
    let sluice = Sluice::start(&waiting(&upstream, "timeout: 1h").extension("sluice", "drain_timeout: 300ms"));
    let address = sluice.grpc();
    let request = Exporter::new(406).request(10);
    let asked = Instant::now();
    let client = Grpc::new(address).unwrap();
    let refusal = client.send_within("2S", &request).unwrap_err();
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
    assert!(rpc::retry_delay(&refusal).is_some(), "no RetryInfo: {refusal:?}");
    assert!(refusal.message().contains("has not answered in time"), "{refusal:?}");
    assert!(asked.elapsed() >= Duration::from_millis(1800), "after {:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(8), "after {:?}", asked.elapsed());
    // HTTP has no word for a deadline.
    let asked = Instant::now();
    let reply = Post::protobuf(request).to(sluice.http()).unwrap();
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "1"), "{reply:?}");
    assert!(asked.elapsed() >= Duration::from_secs(10), "after {:?}", asked.elapsed());
    let end = sluice.terminate();
    assert_eq!(end.account.missing(), 0, "{}", end.stderr);
}

#[test]
fn who_waits_counts_against_the_budgets_of_bytes() {
    let upstream = Sink::start();
    upstream.always(Answer::Silence);
    let settings = "timeout: 1h\nsending_queue: { wait_for_result: true, sizer: bytes, queue_size: 60000 }";
    let config = Config::new()
        .exporter("otlp_grpc", &config::grpc(&upstream, settings))
        .extension("sluice", "drain_timeout: 300ms");
    let sluice = Sluice::start(&config);
    let requests = Exporter::new(407).requests(8, 20);
    let answers = all_at_once(&sluice, &requests);
    let refused = wait::until("a refusal", || {
        let figures = sluice.metrics();
        let refused = figures.sum("sluice_account_spans", &[("level", "receiver"), ("outcome", "refused")]);
        (refused > 0.0).then_some(figures)
    });
    let held = refused.sum("otelcol_exporter_queue_size", &[("exporter", "otlp_grpc")]);
    assert!(held > 0.0 && held <= 60_000.0, "{held} bytes in the queue");
    let end = sluice.terminate();
    for answer in answers {
        assert!(answer.join().unwrap().is_err());
    }
    assert_eq!(end.account.missing(), 0, "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "accepted"), 0);
}
