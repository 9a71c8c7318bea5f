//! Bad input gets a clear answer, the process lives on, and everyone else's data is intact.

use std::collections::HashSet;

use bytes::Bytes;
use http::Method;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sluice_tests::collector::{Config, Sluice};
use sluice_tests::send::http::{Post, Reply};
use sluice_tests::send::{Grpc, raw};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::{rpc, send, wire};
use tonic::{Code, codec::CompressionEncoding};

use crate::odd;

/// A receiver that takes at most one mebibyte.
const SMALL: &str = "protocols:\n  grpc: { endpoint: '127.0.0.1:0', max_recv_msg_size_mib: 1 }\n  \
                     http: { endpoint: '127.0.0.1:0', max_request_body_size: 1048576 }";

/// Runs bad input against a collector, then checks that good input passes and the books balance.
fn survives(bad: impl FnOnce(&Sluice)) {
    let upstream = Sink::start();
    let mut sluice = Sluice::start(&Config::to(&upstream).receiver("otlp", SMALL));
    bad(&sluice);
    assert!(sluice.runs(), "{}", sluice.log().text());
    let good = Exporter::new(81).requests(5, 30);
    send::all(sluice.grpc(), &good).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("destination", "delivered"), upstream.spans() as i64);
    let arrived: HashSet<_> = upstream.wires().iter().flat_map(|wire| wire::spans(wire).unwrap()).collect();
    let intact = good.iter().flat_map(|wire| wire::spans(wire).unwrap()).all(|span| arrived.contains(&span));
    assert!(intact, "good spans did not arrive as they were");
    assert!(!end.stderr.contains("panicked"), "{}", end.stderr);
}

#[track_caller]
fn refused(reply: &Reply, status: u16, kind: &str) {
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (status, kind), "{reply:?}");
    assert!(!reply.rpc_status().unwrap().message.is_empty(), "{reply:?}");
}

/// Requests that are no valid OTLP: protobuf that is none, and ids of a wrong size.
fn malformed() -> Vec<Bytes> {
    let good = Exporter::new(82).request(10);
    let wrong_id = [odd::field(1, &[1; 15]), odd::field(2, &[1; 8])].concat();
    let not_text = odd::span(1, 1, &[odd::field(5, &[0xff, 0xfe])]);
    vec![
        good.slice(..good.len() - 1),
        good.slice(..7),
        Bytes::from_static(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        Bytes::from_static(b"this is not protobuf"),
        odd::request(&[wrong_id]),
        odd::request(&[not_text]),
    ]
}

#[test]
fn malformed_protobuf_is_refused_for_good() {
    survives(|sluice| {
        let client = Grpc::new(sluice.grpc()).unwrap();
        for request in malformed() {
            let status = client.send(&request).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{request:02x?}: {status:?}");
            assert!(!status.message().is_empty() && rpc::retry_delay(&status).is_none(), "{status:?}");
            refused(&Post::protobuf(request).to(sluice.http()).unwrap(), 400, "application/x-protobuf");
        }
    });
}

#[test]
fn what_is_refused_is_counted_and_told_once_in_a_while() {
    survives(|sluice| {
        let client = Grpc::new(sluice.grpc()).unwrap();
        let wrong_id = [odd::field(1, &[1; 15]), odd::field(2, &[1; 8])].concat();
        // Two spans of which one has a wrong id, and bytes in which nothing can be counted.
        client.send(&odd::request(&[odd::span(1, 1, &[]), wrong_id])).unwrap_err();
        client.send(&Bytes::from_static(b"this is not protobuf")).unwrap_err();
        Post::protobuf(vec![0; 2 << 20]).to(sluice.http()).unwrap();
        Post::protobuf(Bytes::new()).path("/v1/metrics").to(sluice.http()).unwrap();
        Post::protobuf(Bytes::new()).method(Method::PUT).to(sluice.http()).unwrap();
        Post::json("{").to(sluice.http()).unwrap();
        let metrics = sluice.metrics();
        for (transport, reason, requests) in [
            ("grpc", "malformed", 2.0),
            ("grpc", "unsupported", 0.0),
            ("http", "malformed", 1.0),
            ("http", "too_large", 1.0),
            ("http", "unsupported", 2.0),
        ] {
            let labels = [("receiver", "otlp"), ("transport", transport), ("reason", reason)];
            assert_eq!(metrics.sum("sluice_receiver_refused_requests_total", &labels), requests, "{labels:?}");
        }
        assert_eq!(metrics.sum("otelcol_receiver_refused_spans", &[("transport", "grpc")]), 2.0);
        let refused = [("level", "receiver"), ("outcome", "refused")];
        assert_eq!(metrics.sum("sluice_account_spans", &refused), 2.0);
        let told = sluice.log().events("request.refused");
        let told: Vec<_> = told.iter().map(|event| (&event["protocol"], &event["kind"])).collect();
        assert_eq!(told, [(&"grpc".into(), &"malformed".into()), (&"http".into(), &"too_large".into())]);
    });
}

#[test]
fn malformed_json_is_refused_for_good() {
    let nested = format!(r#"{{"resourceSpans":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let one = r#"[{"scopeSpans":[]}]"#;
    let twice = format!(r#"{{"resourceSpans":{one},"resourceSpans":{one}}}"#);
    let wrong = [
        "",
        "{",
        "[]",
        "null and void",
        r#"{"resourceSpans": 7}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz","spanId":"00"}]}]}]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"yesterday"}]}]}]}"#,
        &nested,
        &twice,
    ];
    survives(|sluice| {
        for json in wrong {
            refused(&Post::json(json.to_owned()).to(sluice.http()).unwrap(), 400, "application/json");
        }
    });
}

#[test]
fn json_may_be_nested_as_deep_as_protobuf() {
    survives(|sluice| {
        let (open, close) = (r#"{"arrayValue":{"values":["#.repeat(48), "]}}".repeat(48));
        let resource = format!(r#"{{"attributes":[{{"key":"deep","value":{open}{{"intValue":7}}{close}}}]}}"#);
        let json = format!(r#"{{"resourceSpans":[{{"resource":{resource}}}]}}"#);
        let reply = Post::json(json).to(sluice.http()).unwrap();
        assert_eq!(reply.status.as_u16(), 200, "{reply:?}");
    });
}

#[test]
fn what_is_too_large_is_told_so_before_and_after_decompression() {
    let large = odd::request(&[odd::span(1, 1, &[odd::field(9, &odd::text("k", &"x".repeat(2 << 20)))])]);
    survives(|sluice| {
        for compression in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
            let client = Grpc::new(sluice.grpc()).unwrap();
            let client = compression.map_or(client.clone(), |with| client.compressed(with));
            let status = client.send(&large).unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted, "{compression:?}: {status:?}");
            assert!(rpc::retry_delay(&status).is_none(), "too large must not be retried: {status:?}");
        }
        for post in [
            Post::protobuf(large.clone()).gzip().unwrap(),
            Post::protobuf(large.clone()).zstd().unwrap(),
            Post::protobuf(large.clone()),
        ] {
            refused(&post.to(sluice.http()).unwrap(), 413, "application/x-protobuf");
        }
    });
}

#[test]
fn a_bomb_does_not_fill_the_memory() {
    let bomb = vec![0u8; 512 << 20];
    let gzip = send::http::gzip(&bomb).unwrap();
    let zstd = Bytes::from(zstd::encode_all(&bomb[..], 1).unwrap());
    drop(bomb);
    survives(|sluice| {
        for (body, encoding) in [(gzip, "gzip"), (zstd, "zstd")] {
            let reply = Post::protobuf(body).header("content-encoding", encoding).to(sluice.http()).unwrap();
            refused(&reply, 413, "application/x-protobuf");
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", sluice.pid())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
        let megabytes = peak.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024;
        assert!(megabytes < 150, "{megabytes} MB at its highest");
    });
}

#[test]
fn wrong_methods_paths_types_and_encodings_are_named() {
    survives(|sluice| {
        let good = Exporter::new(83).request(5);
        let status = |post: Post| post.to(sluice.http()).unwrap().status.as_u16();
        assert_eq!(status(Post::protobuf(good.clone()).method(Method::GET)), 405);
        assert_eq!(status(Post::protobuf(good.clone()).method(Method::PUT)), 405);
        assert_eq!(status(Post::protobuf(good.clone()).path("/v1/trace")), 404);
        assert_eq!(status(Post::protobuf(good.clone()).content_type("text/plain")), 415);
        assert_eq!(status(Post::protobuf(good.clone()).content_type("")), 415);
        refused(
            &Post::protobuf(good.clone()).header("content-encoding", "gzip").to(sluice.http()).unwrap(),
            400,
            "application/x-protobuf",
        );
        let unknown = Post::protobuf(good).header("content-encoding", "br").to(sluice.http()).unwrap();
        assert!([400, 415].contains(&unknown.status.as_u16()), "{unknown:?}");
    });
}

/// More than the system takes from a sender that nobody reads from.
const LARGE: usize = 10 << 20;

#[test]
fn what_is_no_request_for_traces_is_answered_however_large_it_is() {
    survives(|sluice| {
        for (line, kind, status) in [
            ("POST /v1/metrics", "application/x-protobuf", "404"),
            ("PUT /v1/traces", "application/x-protobuf", "405"),
            ("POST /v1/traces", "text/plain", "415"),
        ] {
            let head = format!(
                "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {LARGE}\r\n\r\n"
            );
            let answer = raw::ask(sluice.http(), &[head.as_bytes(), &vec![7; LARGE]].concat()).unwrap();
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {answer}");
            assert!(answer.contains(&format!("\r\n\r\n{status} ")), "{line}: {answer}");
        }
    });
}

#[test]
fn noise_on_the_socket_disturbs_nobody() {
    survives(|sluice| {
        let noise: Vec<u8> = StdRng::seed_from_u64(84).random_iter().take(20_000).collect();
        for address in [sluice.grpc(), sluice.http()] {
            raw::exchange(address, &noise).unwrap();
            raw::exchange(address, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
            raw::exchange(address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff").unwrap();
            raw::break_off(address, b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 1000\r\n\r\nhalf").unwrap();
        }
    });
}

#[test]
fn mutated_requests_are_taken_or_refused_as_prost_would() {
    survives(|sluice| {
        let client = Grpc::new(sluice.grpc()).unwrap();
        let good = Exporter::new(85).request(5);
        let mut chance = StdRng::seed_from_u64(86);
        for _ in 0..300 {
            let mut bytes = good.to_vec();
            for _ in 0..chance.random_range(1..4) {
                let at = chance.random_range(0..bytes.len());
                bytes[at] = chance.random();
            }
            let readable = ExportTraceServiceRequest::decode(&bytes[..]).is_ok_and(|request| ids_fit(&request));
            let answer = client.send(&bytes.clone().into());
            match answer {
                Ok(_) => assert!(readable, "taken, but unreadable: {bytes:02x?}"),
                Err(status) => {
                    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
                    assert!(!readable, "refused ({}), but readable: {bytes:02x?}", status.message());
                }
            }
        }
    });
}

/// The one rule beyond protobuf's: trace ids have 16 bytes, span ids 8, parents 8 or none.
fn ids_fit(request: &ExportTraceServiceRequest) -> bool {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).all(|span| {
        span.trace_id.len() == 16
            && span.span_id.len() == 8
            && matches!(span.parent_span_id.len(), 0 | 8)
            && span.links.iter().all(|link| link.trace_id.len() == 16 && link.span_id.len() == 8)
    })
}

#[test]
fn mutated_json_never_kills() {
    survives(|sluice| {
        let good = serde_json::to_vec(&Exporter::new(87).structure(3)).unwrap();
        let mut chance = StdRng::seed_from_u64(88);
        for _ in 0..200 {
            let mut json = good.clone();
            for _ in 0..chance.random_range(1..4) {
                let at = chance.random_range(0..json.len());
                json[at] = chance.random_range(0x20..0x7f);
            }
            let reply = Post::json(json).to(sluice.http()).unwrap();
            assert!([200, 400].contains(&reply.status.as_u16()), "{reply:?}");
        }
    });
}
