//! OTLP/HTTP.

use std::time::Duration;

use http::Response;

use super::fixture::{Answer, Fixture, Upstream, body, late, request, run, start, upstream};
use crate::otlp::compression::{Encoding, Unmetered};

const RETRY: &str = "retry_on_failure: { initial_interval: 1ms, max_interval: 1ms }\n";
const NO_BATCH: &str = "sending_queue: { batch: { enabled: false } }\n";

fn exporter(upstream: &Upstream, more: &str) -> Fixture {
    start("otlp_http", &format!("endpoint: http://{}/\n{RETRY}{NO_BATCH}{more}", upstream.address))
}

fn status(code: u16) -> Option<Answer> {
    Some(Response::builder().status(code).body(body("")).unwrap())
}

#[test]
fn a_request_is_posted_to_the_traces_path() {
    run(async {
        let upstream = upstream(|_, _| status(200)).await;
        let exporter = exporter(&upstream, "compression: none\n");
        exporter.put(request("a")).await;
        exporter.drain().await;
        let seen = upstream.seen.lock().unwrap();
        assert_eq!((seen[0].path.as_str(), &seen[0].body), ("/v1/traces", &request("a")));
        assert_eq!(seen[0].headers["content-type"], "application/x-protobuf");
        assert_eq!(exporter.account(), (1, 0, String::new()));
    });
}

#[test]
fn json_is_sent_where_it_is_asked_for_and_compressed() {
    run(async {
        let upstream = upstream(|_, _| status(200)).await;
        let exporter = exporter(&upstream, "encoding: json\ncompression: zstd\n");
        exporter.put(request("checkout")).await;
        exporter.drain().await;
        let seen = upstream.seen.lock().unwrap().remove(0);
        assert_eq!(
            (&seen.headers["content-type"], &seen.headers["content-encoding"]),
            (&"application/json".parse().unwrap(), &"zstd".parse().unwrap())
        );
        let json = Encoding::Zstd.decompress(seen.body, 1000, &mut Unmetered).await.unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"], "checkout");
    });
}

#[test]
fn of_all_statuses_only_four_are_tried_again() {
    run(async {
        for code in [400, 401, 403, 404, 408, 413, 429, 500, 501, 502, 503, 504, 507] {
            let upstream = upstream(move |number, _| status(if number == 0 { code } else { 200 })).await;
            let exporter = exporter(&upstream, "");
            exporter.put(request("a")).await;
            exporter.drain().await;
            let attempts = upstream.seen.lock().unwrap().len();
            if [429, 502, 503, 504].contains(&code) {
                assert_eq!((attempts, exporter.account()), (2, (1, 0, String::new())), "{code}");
            } else {
                assert_eq!((attempts, exporter.account()), (1, (0, 0, format!("http_{code}=1"))), "{code}");
            }
        }
    });
}

#[test]
fn a_timeout_of_zero_is_none() {
    run(async {
        let upstream = upstream(|_, _| late(Duration::from_millis(200), status(200).unwrap())).await;
        let exporter = exporter(&upstream, "timeout: 0s\n");
        exporter.put(request("a")).await;
        exporter.drain().await;
        assert_eq!((upstream.seen.lock().unwrap().len(), exporter.account()), (1, (1, 0, String::new())));
    });
}

#[test]
fn retry_after_is_honoured() {
    run(async {
        let upstream = upstream(|number, _| {
            if number > 0 {
                return status(200);
            }
            Some(Response::builder().status(503).header("retry-after", "1").body(body("")).unwrap())
        })
        .await;
        let exporter = exporter(&upstream, "");
        exporter.put(request("a")).await;
        exporter.drain().await;
        let seen = upstream.seen.lock().unwrap();
        assert!(seen[1].at - seen[0].at >= Duration::from_secs(1));
    });
}

#[test]
fn success_that_cannot_be_read_has_failed_and_is_not_repeated() {
    run(async {
        let upstream = upstream(|_, _| {
            Some(Response::builder().header("content-type", "application/x-protobuf").body(body(&b"\xff"[..])).unwrap())
        })
        .await;
        let exporter = exporter(&upstream, "");
        exporter.put(request("a")).await;
        exporter.drain().await;
        assert_eq!(upstream.seen.lock().unwrap().len(), 1);
        assert_eq!(exporter.account(), (0, 0, "bad_answer=1".to_owned()));
    });
}

#[test]
fn rejected_spans_have_failed() {
    run(async {
        let upstream = upstream(|_, _| {
            let answer = r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":"no"}}"#;
            Some(Response::builder().header("content-type", "application/json").body(body(answer)).unwrap())
        })
        .await;
        let exporter = exporter(&upstream, "encoding: json\n");
        exporter.put(request("a")).await;
        exporter.drain().await;
        assert_eq!(exporter.account(), (0, 0, "partial_success=1".to_owned()));
    });
}
