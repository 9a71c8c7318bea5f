//! What no plugin touched leaves byte for byte as it came: every span, and the resource and scope
//! around it.

use bytes::Bytes;
use sluice_tests::collector::{Config, Sluice};
use sluice_tests::send::http::Post;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::{corpus, send, traffic, wire};

use crate::odd;

fn over_grpc(sluice: &Sluice, requests: &[Bytes]) {
    send::all(sluice.grpc(), requests).unwrap();
}

fn over_http(sluice: &Sluice, requests: &[Bytes]) {
    for request in requests {
        assert_eq!(Post::protobuf(request.clone()).to(sluice.http()).unwrap().status, 200);
    }
}

#[track_caller]
fn arrives_as_sent(config: fn(&Sink) -> Config, send: fn(&Sluice, &[Bytes]), requests: &[Bytes]) {
    let upstream = Sink::start();
    let sluice = Sluice::start(&config(&upstream));
    send(&sluice, requests);
    let end = sluice.terminate();
    assert_eq!(wire::difference(requests, &upstream.wires()).unwrap(), None);
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn generated_traffic_arrives_byte_for_byte_over_grpc() {
    let requests = [Exporter::new(11).requests(60, 40), traffic::generated(12)].concat();
    arrives_as_sent(Config::to, over_grpc, &requests);
}

#[test]
fn generated_traffic_arrives_byte_for_byte_over_http() {
    arrives_as_sent(Config::to_http, over_http, &Exporter::new(13).requests(60, 40));
}

#[test]
fn odd_but_valid_requests_arrive_byte_for_byte() {
    arrives_as_sent(Config::to, over_grpc, &odd::requests());
    arrives_as_sent(Config::to_http, over_http, &odd::requests());
}

#[test]
fn a_request_larger_than_peers_take_arrives_in_parts() {
    let large = "y".repeat(700_000);
    let spans: Vec<_> = (0..12).map(|id| odd::span(1, id + 1, &[odd::field(9, &odd::text("large", &large))])).collect();
    let request = odd::request(&spans);
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream));
    over_grpc(&sluice, std::slice::from_ref(&request));
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("destination", "delivered"), 12, "{}", end.stderr);
    assert_eq!(wire::difference(&[request], &upstream.wires()).unwrap(), None);
    let largest = upstream.wires().iter().map(Bytes::len).max().unwrap();
    assert!(largest <= 3 << 20, "a request of {largest} bytes went upstream");
}

#[test]
fn every_file_of_the_corpus_arrives_byte_for_byte() {
    let files = corpus::files().unwrap();
    if files.is_empty() {
        println!("SKIPPED fidelity on real traces: {} is not set", corpus::VARIABLE);
    }
    for file in files {
        let requests = corpus::read(&file).unwrap();
        arrives_as_sent(Config::to, over_grpc, &requests);
        arrives_as_sent(Config::to_http, over_http, &requests);
    }
}
