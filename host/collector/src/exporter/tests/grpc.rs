//! OTLP/gRPC.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Response;
use http_body_util::{BodyExt, Full};
use prost::Message;

use super::fixture::{Answer, Fixture, Upstream, late, request, run, start, until, upstream};
use crate::otlp::compression::{Encoding, Unmetered};
use crate::otlp::rpc::{Any, Status};

/// Tries again at once.
const RETRY: &str = "retry_on_failure: { initial_interval: 1ms, max_interval: 1ms }\n";
const NO_BATCH: &str = "sending_queue: { batch: { enabled: false } }\n";
/// Everything that is put in before the drain goes out together.
const ONE_BATCH: &str = "sending_queue: { batch: { flush_timeout: 1h } }\n";

fn exporter(upstream: &Upstream, more: &str) -> Fixture {
    start("otlp_grpc", &format!("endpoint: {}\ntls: {{ insecure: true }}\ncompression: none\n{more}", upstream.address))
}

/// Success, with an `ExportTraceServiceResponse` of these bytes.
fn ok(message: &[u8]) -> Option<Answer> {
    let mut body = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    body.extend(message);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let body = Full::new(body.into()).with_trailers(async { Some(Ok(trailers)) }).boxed();
    Some(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

fn status(code: u8, details: Option<Any>) -> Option<Answer> {
    let mut answer =
        Response::builder().header("content-type", "application/grpc").header("grpc-status", code.to_string());
    if let Some(details) = details {
        let status = Status { code: i32::from(code), message: String::new(), details: vec![details] };
        answer = answer.header("grpc-status-details-bin", BASE64_STANDARD.encode(status.encode_to_vec()));
    }
    Some(answer.body(super::fixture::body("")).unwrap())
}

/// A request behind the prefix that gRPC prescribes.
fn message(requests: &[&str]) -> Vec<u8> {
    let wire = requests.iter().map(|name| request(name)).collect::<Vec<_>>().concat();
    [[0, 0, 0, 0, u8::try_from(wire.len()).unwrap()].as_slice(), &wire].concat()
}

fn bodies(upstream: &Upstream) -> Vec<Vec<u8>> {
    upstream.seen.lock().unwrap().iter().map(|seen| seen.body.to_vec()).collect()
}

#[test]
fn requests_go_out_together_as_the_bytes_that_came_in() {
    run(async {
        let upstream = upstream(|_, _| ok(b"")).await;
        let exporter = exporter(&upstream, &format!("headers: {{ x-tenant: a }}\n{ONE_BATCH}"));
        for name in ["a", "b", "c"] {
            exporter.put(request(name)).await;
        }
        assert_eq!(exporter.drain().await, 0);
        assert_eq!(bodies(&upstream), [message(&["a", "b", "c"])]);
        let seen = upstream.seen.lock().unwrap();
        assert_eq!(seen[0].path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
        assert_eq!(
            (&seen[0].headers["te"], &seen[0].headers["grpc-timeout"], &seen[0].headers["x-tenant"]),
            (&"trailers".parse().unwrap(), &"5000m".parse().unwrap(), &"a".parse().unwrap())
        );
        assert_eq!(exporter.account(), (3, 0, String::new()));
    });
}

#[test]
fn retryable_codes_are_tried_again_and_others_are_not() {
    // The list of the OTLP specification.
    const RETRYABLE: [u8; 6] = [1, 4, 10, 11, 14, 15];
    let names = [
        "",
        "",
        "unknown",
        "invalid_argument",
        "",
        "not_found",
        "already_exists",
        "permission_denied",
        "resource_exhausted",
        "failed_precondition",
        "",
        "",
        "unimplemented",
        "internal",
        "",
        "",
        "unauthenticated",
    ];
    run(async {
        for code in 1..=16 {
            let upstream = upstream(move |number, _| if number == 0 { status(code, None) } else { ok(b"") }).await;
            let exporter = exporter(&upstream, &format!("{RETRY}{NO_BATCH}"));
            exporter.put(request("a")).await;
            exporter.drain().await;
            if RETRYABLE.contains(&code) {
                assert_eq!(bodies(&upstream), [message(&["a"]), message(&["a"])], "code {code}");
                assert_eq!(exporter.account(), (1, 0, String::new()), "code {code}");
            } else {
                assert_eq!(bodies(&upstream).len(), 1, "code {code}");
                assert_eq!(exporter.account(), (0, 0, format!("{}=1", names[usize::from(code)])), "code {code}");
            }
        }
    });
}

#[test]
fn retry_info_is_honoured_and_makes_resource_exhausted_retryable() {
    run(async {
        let delay = Duration::from_millis(50);
        let upstream =
            upstream(move |number, _| if number == 0 { status(8, Some(Any::retry_info(delay))) } else { ok(b"") })
                .await;
        let exporter = exporter(&upstream, &format!("{RETRY}{NO_BATCH}"));
        exporter.put(request("a")).await;
        exporter.drain().await;
        let seen = upstream.seen.lock().unwrap();
        assert!(seen[1].at - seen[0].at >= delay);
        assert_eq!(exporter.account(), (1, 0, String::new()));
    });
}

#[test]
fn rejected_spans_have_failed_and_are_not_sent_again() {
    run(async {
        // ExportTraceServiceResponse { partial_success(1): { rejected_spans(1): 2 } }
        let upstream = upstream(|_, _| ok(&[0x0a, 0x02, 0x08, 0x02])).await;
        let exporter = exporter(&upstream, ONE_BATCH);
        for name in ["a", "b", "c"] {
            exporter.put(request(name)).await;
        }
        exporter.drain().await;
        assert_eq!(bodies(&upstream).len(), 1);
        assert_eq!(exporter.account(), (1, 0, "partial_success=2".to_owned()));
    });
}

#[test]
fn of_a_merged_request_only_the_guilty_part_fails() {
    run(async {
        let guilty = |body: &[u8]| body.windows(3).any(|window| window == b"bad");
        let upstream = upstream(move |_, seen| if guilty(&seen.body) { status(3, None) } else { ok(b"") }).await;
        let exporter = exporter(&upstream, ONE_BATCH);
        for name in ["a", "bad", "c"] {
            exporter.put(request(name)).await;
        }
        exporter.drain().await;
        assert_eq!(
            bodies(&upstream),
            [message(&["a", "bad", "c"]), message(&["a"]), message(&["bad"]), message(&["c"])]
        );
        assert_eq!(exporter.account(), (2, 0, "invalid_argument=1".to_owned()));
    });
}

#[test]
fn an_answer_that_does_not_come_is_a_deadline_and_tried_again() {
    run(async {
        let upstream = upstream(|number, _| if number == 0 { None } else { ok(b"") }).await;
        let exporter = exporter(&upstream, &format!("timeout: 20ms\n{RETRY}{NO_BATCH}"));
        exporter.put(request("a")).await;
        exporter.drain().await;
        assert_eq!(exporter.account(), (1, 0, String::new()));
    });
}

#[test]
fn a_timeout_of_zero_is_none_and_upstream_is_told_of_none() {
    run(async {
        let upstream = upstream(|_, _| late(Duration::from_millis(200), ok(b"").unwrap())).await;
        let exporter = exporter(&upstream, &format!("timeout: 0s\n{RETRY}{NO_BATCH}"));
        exporter.put(request("a")).await;
        exporter.drain().await;
        assert_eq!(exporter.account(), (1, 0, String::new()));
        let seen = upstream.seen.lock().unwrap();
        assert_eq!((seen.len(), seen[0].headers.get("grpc-timeout")), (1, None));
    });
}

#[test]
fn what_is_not_delivered_at_the_drain_deadline_is_counted() {
    run(async {
        let upstream = upstream(|_, _| None).await;
        let exporter =
            exporter(&upstream, "timeout: 1h\nsending_queue: { num_consumers: 1, batch: { enabled: false } }\n");
        exporter.put(request("a")).await;
        exporter.put(request("b")).await;
        until(|| upstream.seen.lock().unwrap().len() == 1).await;
        assert_eq!(exporter.exporter.drain(std::time::Instant::now()).await.spans, 2);
        assert_eq!(exporter.account(), (0, 0, "shutdown=2".to_owned()));
    });
}

#[test]
fn a_server_that_is_away_is_tried_until_it_is_back() {
    run(async {
        let address = {
            let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            taken.local_addr().unwrap()
        };
        let exporter = start("otlp", &format!("endpoint: http://{address}\n{RETRY}{NO_BATCH}"));
        exporter.put(request("a")).await;
        assert_eq!(exporter.account(), (0, 1, String::new()));
        let back = super::fixture::upstream_at(tokio::net::TcpListener::bind(address).await.unwrap(), |_, _| ok(b""));
        exporter.drain().await;
        assert_eq!(back.seen.lock().unwrap().len(), 1);
        assert_eq!(exporter.account(), (1, 0, String::new()));
    });
}

#[test]
fn requests_are_compressed_and_compressed_answers_read() {
    run(async {
        let upstream = upstream(|_, _| {
            let message = Encoding::Gzip.compress(&[vec![0x0a, 0x02, 0x08, 0x01].into()]).unwrap();
            let mut answer = ok(&message).unwrap();
            answer.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
            // The flag of the message.
            let body = [[1, 0, 0, 0, u8::try_from(message.len()).unwrap()].as_slice(), &message].concat();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            *answer.body_mut() = Full::new(body.into()).with_trailers(async { Some(Ok(trailers)) }).boxed();
            Some(answer)
        })
        .await;
        let exporter = start("otlp", &format!("endpoint: {}\ntls: {{ insecure: true }}\n{NO_BATCH}", upstream.address));
        exporter.put(request("a")).await;
        exporter.drain().await;
        assert_eq!(exporter.account(), (0, 0, "partial_success=1".to_owned()));
        let seen = upstream.seen.lock().unwrap().remove(0);
        assert_eq!(seen.headers["grpc-encoding"], "gzip");
        assert_eq!(seen.body[0], 1);
        let plain = Encoding::Gzip.decompress(seen.body.slice(5..), 1000, &mut Unmetered).await.unwrap();
        assert_eq!(plain, request("a"));
    });
}
