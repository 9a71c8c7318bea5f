//! OTLP as its specification has it: both protocols, both encodings, compressed or not, and what
//! is answered.

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message as _;
use sluice_tests::collector::{Config, Sluice};
use sluice_tests::send::Grpc;
use sluice_tests::send::http::Post;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::wire;
use tonic::codec::CompressionEncoding;

#[test]
fn grpc_is_taken_plain_and_compressed() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream));
    let requests = Exporter::new(71).requests(3, 30);
    let clients = [
        Grpc::new(sluice.grpc()).unwrap(),
        Grpc::new(sluice.grpc()).unwrap().compressed(CompressionEncoding::Gzip),
        Grpc::new(sluice.grpc()).unwrap().compressed(CompressionEncoding::Zstd),
    ];
    for (client, request) in clients.iter().zip(&requests) {
        // Full success leaves `partial_success` unset.
        assert_eq!(client.send(request).unwrap(), ExportTraceServiceResponse::default());
    }
    sluice.terminate();
    assert_eq!(wire::difference(&requests, &upstream.wires()).unwrap(), None);
}

#[test]
fn http_is_taken_plain_and_compressed() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream));
    let requests = Exporter::new(72).requests(3, 30);
    let posts = [
        Post::protobuf(requests[0].clone()),
        Post::protobuf(requests[1].clone()).gzip().unwrap(),
        Post::protobuf(requests[2].clone()).zstd().unwrap(),
    ];
    for post in posts {
        let reply = post.to(sluice.http()).unwrap();
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/x-protobuf"));
        assert_eq!(ExportTraceServiceResponse::decode(reply.body).unwrap(), ExportTraceServiceResponse::default());
    }
    sluice.terminate();
    assert_eq!(wire::difference(&requests, &upstream.wires()).unwrap(), None);
}

#[test]
fn json_means_what_it_says() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream));
    let request = Exporter::new(73).structure(40);
    let json = serde_json::to_vec(&request).unwrap();
    for post in
        [Post::json(json.clone()), Post::json(json).gzip().unwrap().content_type("application/json; charset=utf-8")]
    {
        let reply = post.to(sluice.http()).unwrap();
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/json"), "{reply:?}");
        assert!(
            serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap()["partialSuccess"].is_null(),
            "{reply:?}"
        );
    }
    sluice.terminate();
    let spans = |request: ExportTraceServiceRequest| {
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect::<Vec<_>>()
    };
    let sent = spans(request);
    assert_eq!(upstream.decoded_spans(), [sent.clone(), sent].concat());
}

#[test]
fn an_empty_request_is_a_success() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream));
    Grpc::new(sluice.grpc()).unwrap().send(&bytes::Bytes::new()).unwrap();
    assert_eq!(Post::protobuf("").to(sluice.http()).unwrap().status, 200);
    assert_eq!(Post::json("{}").to(sluice.http()).unwrap().status, 200);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), upstream.totals().attempts), (0, 0, 0), "{}", end.stderr);
}
