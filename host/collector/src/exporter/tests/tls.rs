//! Upstreams that speak TLS.

use http::Response;
use http_body_util::{BodyExt, Full};

use super::fixture::{Answer, Seen, body, request, run, start, until, upstream_tls};

/// Success in either protocol: an empty `ExportTraceServiceResponse`.
fn ok(seen: &Seen) -> Option<Answer> {
    if seen.headers["content-type"] != "application/grpc" {
        return Some(Response::builder().header("content-type", "application/x-protobuf").body(body("")).unwrap());
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let message = Full::new(vec![0; 5].into()).with_trailers(async { Some(Ok(trailers)) }).boxed();
    Some(Response::builder().header("content-type", "application/grpc").body(message).unwrap())
}

#[test]
fn both_protocols_reach_an_upstream_that_the_ca_file_vouches_for() {
    for (kind, scheme) in [("otlp_grpc", ""), ("otlp_http", "https://")] {
        run(async {
            let (upstream, certificate) = upstream_tls(|_, seen| ok(seen)).await;
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), certificate).unwrap();
            let endpoint = format!("{scheme}localhost:{}", upstream.address.port());
            let tls = format!("endpoint: {endpoint}\ntls: {{ ca_file: {} }}\n", file.path().display());
            let exporter = start(kind, &tls);
            // Together they are more than goes out in one write.
            for _ in 0..3_000 {
                exporter.put(request("checkout")).await;
            }
            assert_eq!(exporter.drain().await, 0, "{kind}");
            assert_eq!(exporter.account(), (3_000, 0, String::new()), "{kind}");
            assert!(!upstream.seen.lock().unwrap().is_empty(), "{kind}");
        });
    }
}

#[test]
fn an_upstream_that_nobody_vouches_for_gets_nothing_and_is_tried_again() {
    run(async {
        let (upstream, _) = upstream_tls(|_, seen| ok(seen)).await;
        let retry = "retry_on_failure: { initial_interval: 1ms, max_interval: 1ms, max_elapsed_time: 50ms }";
        let exporter = start("otlp_grpc", &format!("endpoint: localhost:{}\n{retry}\n", upstream.address.port()));
        exporter.put(request("checkout")).await;
        until(|| exporter.account().1 == 0).await;
        assert_eq!(exporter.account().0, 0);
        assert!(upstream.seen.lock().unwrap().is_empty());
    });
}
