//! OTLP/gRPC.

use std::time::Duration;

use super::fixture::{Ask, accepts, export, finds_malformed, grpc, local, refuses_for_now, serve};
use crate::otlp::compression::Encoding;

const MUCH: usize = 1 << 30;

#[test]
fn success_is_an_empty_message_and_status_0() {
    local(async {
        let stub = accepts();
        let port = serve(grpc(1000), &stub, MUCH).await;
        let answer = export(0, b"spans").of(&port).await;
        assert_eq!(
            (answer.status, answer.header("content-type"), &*answer.body),
            (200, "application/grpc", &[0; 5][..])
        );
        assert_eq!(answer.trailers["grpc-status"], "0");
        assert_eq!(*stub.seen.borrow(), ["spans"]);
        assert_eq!(port.server.counters.accepted.get(), 5);
    });
}

#[test]
fn messages_are_decompressed() {
    local(async {
        let stub = accepts();
        let port = serve(grpc(1000), &stub, MUCH).await;
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let message = encoding.compress(&["spans".into()]).unwrap();
            let answer = export(1, &message).with("grpc-encoding", encoding.as_str()).of(&port).await;
            assert_eq!(answer.header("grpc-status"), "0");
        }
        // A client that compresses may send a message as it is.
        export(0, b"spans").with("grpc-encoding", "gzip").of(&port).await;
        assert_eq!(*stub.seen.borrow(), ["spans", "spans", "spans"]);
        let unknown = export(1, b"spans").with("grpc-encoding", "snappy").of(&port).await;
        assert_eq!(
            (unknown.header("grpc-status"), unknown.header("grpc-accept-encoding")),
            ("12", "identity,gzip,zstd")
        );
    });
}

#[test]
fn too_large_is_resource_exhausted_without_retry_info() {
    local(async {
        let port = serve(grpc(1000), &accepts(), MUCH).await;
        let zeros = vec![0; 1001];
        let compressed = Encoding::Gzip.compress(&[zeros.clone().into()]).unwrap();
        assert!(compressed.len() < 100);
        for ask in
            [export(0, &zeros), export(0, &vec![0; 5_000_000]), export(1, &compressed).with("grpc-encoding", "gzip")]
        {
            let answer = ask.of(&port).await;
            assert_eq!((answer.header("grpc-status"), answer.header("grpc-status-details-bin")), ("8", ""));
        }
        assert_eq!(export(0, &vec![0; 1000]).of(&port).await.header("grpc-status"), "0");
        assert_eq!(port.admission.used(), 0);
    });
}

#[test]
fn bad_data_is_invalid_argument_and_says_where() {
    local(async {
        let port = serve(grpc(1000), &finds_malformed(), MUCH).await;
        let answer = export(0, b"\x0a").of(&port).await;
        assert_eq!(answer.header("grpc-status"), "3");
        assert_eq!(answer.details().details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
    });
}

#[test]
fn no_room_is_unavailable_with_retry_info() {
    local(async {
        let port = serve(grpc(1000), &refuses_for_now(), MUCH).await;
        let answer = export(0, b"").of(&port).await;
        assert_eq!((answer.header("grpc-status"), answer.header("grpc-message")), ("14", "the queue is full"));
        assert_eq!(answer.details().retry_delay(), Some(Duration::from_millis(1500)));
        let budget = serve(grpc(1000), &accepts(), 10).await;
        let answer = export(0, b"more than ten").of(&budget).await;
        assert_eq!(
            (answer.header("grpc-status"), answer.details().retry_delay()),
            ("14", Some(Duration::from_secs(1)))
        );
    });
}

#[test]
fn what_is_no_export_call_is_refused() {
    local(async {
        let stub = accepts();
        let port = serve(grpc(1000), &stub, MUCH).await;
        let unknown = Ask { path: "/opentelemetry.proto.collector.logs.v1.LogsService/Export", ..export(0, b"") };
        assert_eq!(unknown.of(&port).await.header("grpc-status"), "12");
        let mut two = export(0, b"one");
        two.body.extend(export(0, b"two").body);
        assert_eq!(two.of(&port).await.header("grpc-status"), "13");
        let mut early = export(0, b"spans");
        early.body.pop();
        assert_eq!(early.of(&port).await.header("grpc-status"), "13");
        assert_eq!(Ask { body: vec![0, 0], ..export(0, b"") }.of(&port).await.header("grpc-status"), "13");
        assert_eq!(export(1, b"spans").of(&port).await.header("grpc-status"), "13", "compressed, nobody knows how");
        assert_eq!(Ask { headers: vec![("content-type", "text/html")], ..export(0, b"") }.of(&port).await.status, 415);
        assert!(stub.seen.borrow().is_empty());
    });
}
