//! OTLP/HTTP.

use std::io::Write;

use prost::Message;

use super::fixture::{Ask, accepts, finds_malformed, http, local, post, refuses_for_now, serve};
use crate::otlp::rpc::Status;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const MUCH: usize = 1 << 30;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_is_no_otlp_request_is_told_so_in_plain_text() {
    let other_path = Ask { path: "/v1/metrics", ..post(PROTOBUF, b"") };
    let get = Ask { method: "GET", ..post(PROTOBUF, b"") };
    let table = [
        (other_path, 404, ""),
        (get, 405, "POST"),
        (post("text/html", b""), 415, ""),
        (post("application/x-protobufx", b""), 415, ""),
    ];
    local(async {
        let stub = accepts();
        let port = serve(http(100), &stub, MUCH).await;
        for (ask, status, allow) in table {
            let what = format!("{} {} {:?}", ask.method, ask.path, ask.headers);
            let answer = ask.of(&port).await;
            assert_eq!((answer.status, answer.header("allow")), (status, allow), "{what}");
            assert_eq!(answer.header("content-type"), "text/plain", "{what}");
        }
        assert!(stub.seen.borrow().is_empty());
    });
}

#[test]
fn success_is_200_with_an_empty_response_in_the_format_of_the_request() {
    local(async {
        let stub = accepts();
        let port = serve(http(100), &stub, MUCH).await;
        let answer = post("application/x-protobuf; charset=utf-8", b"abc").of(&port).await;
        assert_eq!((answer.status, answer.header("content-type"), &*answer.body), (200, PROTOBUF, &b""[..]));
        let answer = Ask { http2: true, ..post("APPLICATION/x-protobuf", b"def") }.of(&port).await;
        assert_eq!((answer.status, &*answer.body), (200, &b""[..]), "HTTP/2 without asking first");
        assert_eq!(*stub.seen.borrow(), ["abc", "def"]);
        assert_eq!(port.server.counters.accepted.get(), 6);
        let answer = post(JSON, b"{}").of(&port).await;
        assert_eq!((answer.status, answer.header("content-type"), &*answer.body), (200, JSON, &b"{}"[..]));
    });
}

#[test]
fn bodies_are_decompressed() {
    local(async {
        let stub = accepts();
        let port = serve(http(1000), &stub, MUCH).await;
        post(PROTOBUF, &gzip(b"spans")).with("content-encoding", "gzip").of(&port).await;
        post(PROTOBUF, &zstd::encode_all(&b"spans"[..], 1).unwrap()).with("content-encoding", "zstd").of(&port).await;
        post(PROTOBUF, b"spans").with("content-encoding", "identity").of(&port).await;
        assert_eq!(*stub.seen.borrow(), ["spans", "spans", "spans"]);
        let unknown = post(PROTOBUF, b"spans").with("content-encoding", "br").of(&port).await;
        assert_eq!((unknown.status, unknown.header("content-type")), (415, PROTOBUF));
        let corrupt = post(PROTOBUF, b"spans").with("content-encoding", "gzip").of(&port).await;
        assert_eq!((corrupt.status, Status::decode(corrupt.body).unwrap().code), (400, 3));
    });
}

#[test]
fn the_limit_holds_before_and_after_decompression() {
    local(async {
        let stub = accepts();
        let port = serve(http(10_000), &stub, MUCH).await;
        let zeros = vec![0; 10_001];
        for (ask, what) in [
            (post(PROTOBUF, &zeros), "plain"),
            (post(PROTOBUF, &vec![7; 5_000_000]), "much too large"),
            (Ask { http2: true, ..post(PROTOBUF, &vec![7; 5_000_000]) }, "much too large, HTTP/2"),
            (post(PROTOBUF, &gzip(&zeros)).with("content-encoding", "gzip"), "gzip"),
            (post(PROTOBUF, &zstd::encode_all(&*zeros, 1).unwrap()).with("content-encoding", "zstd"), "zstd"),
        ] {
            let answer = ask.of(&port).await;
            assert_eq!(
                (answer.status, answer.header("content-type"), answer.header("retry-after")),
                (413, PROTOBUF, ""),
                "{what}"
            );
            // RESOURCE_EXHAUSTED, and no RetryInfo: it is not to be sent again.
            let status = Status::decode(answer.body).unwrap();
            assert_eq!((status.code, status.details.len()), (8, 0), "{what}");
        }
        assert!(stub.seen.borrow().is_empty());
        assert_eq!(post(PROTOBUF, &vec![0; 10_000]).of(&port).await.status, 200);
        assert_eq!(port.admission.used(), 0);
    });
}

#[test]
fn bad_data_is_400_with_a_status_that_says_where() {
    local(async {
        let port = serve(http(1000), &finds_malformed(), MUCH).await;
        let answer = post(PROTOBUF, b"\x0a").of(&port).await;
        assert_eq!((answer.status, answer.header("content-type")), (400, PROTOBUF));
        let status = Status::decode(answer.body).unwrap();
        assert_eq!(status.code, 3);
        assert_eq!(status.details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
        let answer = post(JSON, b"{").of(&port).await;
        assert_eq!((answer.status, answer.header("content-type")), (400, JSON));
        let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(status["code"], 3);
        assert_eq!(status["details"][0]["@type"], "type.googleapis.com/google.rpc.BadRequest");
    });
}

#[test]
fn no_room_is_503_with_retry_after_in_whole_seconds() {
    local(async {
        let port = serve(http(1000), &refuses_for_now(), MUCH).await;
        let answer = post(PROTOBUF, b"").of(&port).await;
        // The stub asks for 1.5 s: never too early.
        assert_eq!((answer.status, answer.header("retry-after")), (503, "2"));
        let status = Status::decode(answer.body).unwrap();
        assert_eq!((status.code, status.message.as_str()), (14, "the queue is full"));
        let status: serde_json::Value = serde_json::from_slice(&post(JSON, b"{}").of(&port).await.body).unwrap();
        assert_eq!(status["details"][0]["retryDelay"], "1.5s");
    });
}

#[test]
fn a_spent_budget_is_503() {
    local(async {
        let port = serve(http(1000), &accepts(), 10).await;
        let answer = post(PROTOBUF, b"more than ten").of(&port).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
        assert_eq!(post(PROTOBUF, b"no more").of(&port).await.status, 200);
    });
}
