//! Receivers and their ports.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use sluice_tests::collector::{Config, Sluice};
use sluice_tests::send;
use sluice_tests::send::http::Post;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::wire;

use super::{Again, Flow, addresses, applied, reload, wait_closed};
use crate::swap::{stamp_now, stamped};

/// Both protocols, with more settings of each.
fn otlp(grpc: &str, http: &str) -> String {
    format!("protocols:\n  grpc: {{ {grpc} }}\n  http: {{ {http} }}")
}

const ANY: &str = "endpoint: '127.0.0.1:0'";
/// Another address of the same machine, so that the system chooses another port.
const OTHER: &str = "endpoint: '127.0.0.2:0'";

#[test]
fn an_endpoint_moves_under_traffic_and_no_accepted_span_is_lost() {
    let upstream = Sink::start();
    let with = |grpc: &str| Config::to(&upstream).receiver("otlp", &otlp(grpc, ANY)).yaml();
    let sluice = Sluice::start(&Config::to(&upstream).receiver("otlp", &otlp(ANY, ANY)));
    let flow = Flow::start(sluice.grpc(), 141);
    upstream.wait_for_spans(500);
    for endpoint in [OTHER, ANY, OTHER] {
        applied(&sluice, &with(endpoint));
        let ports = addresses(&sluice, "otlp", "grpc");
        let [.., old, new] = ports[..] else { panic!("{ports:?}") };
        wait_closed(old);
        flow.turn_to(new);
        let so_far = upstream.spans();
        upstream.wait_for_spans(so_far + 500);
    }
    assert_eq!(addresses(&sluice, "otlp", "http").len(), 1, "the port that did not change was opened again");
    let accepted = flow.end();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(upstream.spans(), accepted, "spans that arrived, and that were accepted");
    assert_eq!(end.account.sum("receiver", "accepted"), accepted as i64);
}

#[test]
fn a_limit_changes_on_a_port_that_never_closes() {
    let upstream = Sink::start();
    let with = |grpc: &str, http: &str| {
        Config::to(&upstream).receiver("otlp", &otlp(&format!("{ANY}, {grpc}"), &format!("{ANY}, {http}")))
    };
    let (narrow, wide) = (
        with("max_recv_msg_size_mib: 1", "max_request_body_size: 1000000"),
        with("max_recv_msg_size_mib: 4", "max_request_body_size: 4000000"),
    );
    let sluice = Sluice::start(&wide);
    let (http, client) = (sluice.http(), send::Grpc::new(sluice.grpc()).unwrap());
    let request = Exporter::new(142).request(5);
    let spans = wire::count(&request).unwrap();
    // Every one on a connection of its own: none is refused, none is closed without an answer.
    let probes = Again::and_again(move || Post::protobuf(request.clone()).to(http).map(|reply| reply.status.as_u16()));
    let large = Exporter::new(143).request(10_000);
    assert!((1 << 20..4_000_000).contains(&large.len()), "{} bytes", large.len());
    let mut taken = 0;
    for _ in 0..3 {
        client.send(&large).unwrap();
        assert_eq!(Post::protobuf(large.clone()).to(http).unwrap().status, 200);
        taken += 2 * wire::count(&large).unwrap();
        applied(&sluice, &narrow.yaml());
        assert_eq!(client.send(&large).unwrap_err().code(), tonic::Code::ResourceExhausted);
        assert_eq!(Post::protobuf(large.clone()).to(http).unwrap().status, 413);
        applied(&sluice, &wide.yaml());
    }
    let probes = probes.end();
    let failed: Vec<_> = probes.iter().filter(|probe| !matches!(probe, Ok(200))).collect();
    assert!(failed.is_empty(), "of {} probes: {failed:?}", probes.len());
    assert_eq!((addresses(&sluice, "otlp", "grpc").len(), addresses(&sluice, "otlp", "http").len()), (1, 1));
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(upstream.spans(), taken + spans * probes.len() as u64);
}

#[test]
fn what_is_agreed_on_when_connecting_changes_and_no_accepted_span_is_lost() {
    let upstream = Sink::start();
    let with = |streams: u32| {
        Config::to(&upstream).receiver("otlp", &otlp(&format!("{ANY}, max_concurrent_streams: {streams}"), ANY))
    };
    let sluice = Sluice::start(&with(100));
    let flow = Flow::start(sluice.grpc(), 144);
    upstream.wait_for_spans(500);
    for streams in [50, 25, 10] {
        applied(&sluice, &with(streams).yaml());
        let so_far = upstream.spans();
        upstream.wait_for_spans(so_far + 500);
    }
    assert_eq!(addresses(&sluice, "otlp", "grpc").len(), 1);
    let accepted = flow.end();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(upstream.spans(), accepted, "spans that arrived, and that were accepted");
}

#[test]
fn an_endpoint_in_use_fails_the_reload_and_nothing_of_it_is_applied() {
    let upstream = Sink::start();
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let occupied_at = occupied.local_addr().unwrap();
    let health = |config: Config, path: &str| {
        config.extension("health_check", &format!("endpoint: '127.0.0.1:0'\npath: {path}"))
    };
    let sluice = Sluice::start(&health(stamped(&upstream, "one"), "/old"));
    let (grpc, http) = (sluice.grpc(), sluice.http());
    let receiver = otlp(OTHER, &format!("endpoint: '{occupied_at}', max_request_body_size: 1"));
    let next = health(stamped(&upstream, "two"), "/new").receiver("otlp", &receiver).yaml();
    let next = next.replace("encoding: json", "encoding: json, level: error");
    let line = next.lines().position(|line| line.contains(&occupied_at.to_string())).unwrap() + 1;
    let told = reload(&sluice, &next);
    let reason = told["reason"].as_str().unwrap();
    assert_eq!(told["outcome"], "failed", "{told}");
    for named in [&format!("config.yaml:{line}:"), "receiver otlp", &occupied_at.to_string()] {
        assert!(reason.contains(named), "`{named}` is not in: {reason}");
    }
    // Not the new rule, not the new path, not the new port, not the new limit, not the new level.
    assert_eq!(stamp_now(&sluice, &upstream, "last").as_deref(), Some("one"));
    let health_at = sluice.address("health_check", "");
    assert_eq!(send::http::get(health_at, "/old").unwrap().status, 200);
    assert_eq!(send::http::get(health_at, "/new").unwrap().status, 404);
    assert_eq!((addresses(&sluice, "otlp", "grpc"), addresses(&sluice, "otlp", "http")), (vec![grpc], vec![http]));
    assert_eq!(Post::protobuf(Exporter::new(145).request(5)).to(http).unwrap().status, 200);
    // The same config is taken when the port is free.
    drop(occupied);
    applied(&sluice, &next.replace(", level: error", "").replace(", max_request_body_size: 1", ""));
    assert_eq!(addresses(&sluice, "otlp", "http"), [http, occupied_at]);
    send::all(addresses(&sluice, "otlp", "grpc")[1], &[Exporter::new(146).request(5)]).unwrap();
    assert_eq!(send::http::get(health_at, "/new").unwrap().status, 200);
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn an_address_that_cannot_be_had_fails_the_reload() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream));
    // No port, which the configuration's reader tells with its place; and an address of the documentation's, which no
    // machine has (RFC 5737).
    let refusals = [
        ("nowhere", "cannot listen on `nowhere`: it has to be `host:port`"),
        ("192.0.2.1:0", "receiver otlp: cannot listen on http endpoint `192.0.2.1:0`"),
    ];
    for (bad, why) in refusals {
        let receiver = otlp(OTHER, &format!("endpoint: '{bad}'"));
        let told = reload(&sluice, &Config::to(&upstream).receiver("otlp", &receiver).yaml());
        assert_eq!(told["outcome"], "failed", "{told}");
        assert!(told["reason"].as_str().unwrap().contains(why), "{told}");
        send::all(sluice.grpc(), &[Exporter::new(155).request(5)]).unwrap();
    }
    assert_eq!(addresses(&sluice, "otlp", "grpc").len(), 1);
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn a_receiver_that_is_removed_finishes_what_is_in_flight() {
    let upstream = Sink::start();
    let only_http = format!("protocols: {{ http: {{ {ANY} }} }}");
    let one = Config::to(&upstream);
    let two = one.clone().receiver("otlp/second", &only_http);
    let sluice = Sluice::start(&one);
    applied(&sluice, &two.yaml());
    let second = sluice.address("otlp/second", "http");
    let request = Exporter::new(147).request(40);
    let spans = wire::count(&request).unwrap();
    assert_eq!(Post::protobuf(request.clone()).to(second).unwrap().status, 200);
    // Another one stops in the middle of its body.
    let mut sender = TcpStream::connect(second).unwrap();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length:";
    let (begin, rest) = request.split_at(request.len() / 2);
    write!(sender, "{head} {}\r\nexpect: 100-continue\r\n\r\n", request.len()).unwrap();
    // It is in flight as soon as the collector asks for the body.
    let mut goes_on = [0; 25];
    sender.read_exact(&mut goes_on).unwrap();
    assert_eq!(&goes_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    sender.write_all(begin).unwrap();
    applied(&sluice, &one.yaml());
    wait_closed(second);
    sender.write_all(rest).unwrap();
    let mut answer = String::new();
    sender.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // The other one serves on, and what comes back has its account.
    send::all(sluice.grpc(), &[Exporter::new(148).request(40)]).unwrap();
    applied(&sluice, &two.yaml());
    let again = *addresses(&sluice, "otlp/second", "http").last().unwrap();
    assert_eq!(Post::protobuf(request).to(again).unwrap().status, 200);
    applied(&sluice, &one.yaml());
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    let account = end.account.entries().iter().find(|entry| entry["name"] == "otlp/second").unwrap();
    let figures = ["received", "accepted", "refused"].map(|outcome| account[outcome].as_u64().unwrap());
    assert_eq!(figures, [3 * spans, 3 * spans, 0]);
    assert_eq!(upstream.spans() as i64, end.account.sum("receiver", "accepted"));
}

/// Connects again and again; every attempt must succeed.
fn knock(at: std::net::SocketAddr) -> Again<std::io::Result<()>> {
    Again::and_again(move || TcpStream::connect(at).map(drop))
}

#[track_caller]
fn all_were_let_in(knocks: Again<std::io::Result<()>>) {
    let knocks = knocks.end();
    let refused: Vec<_> = knocks.iter().filter(|knock| knock.is_err()).collect();
    assert!(refused.is_empty(), "of {} attempts: {refused:?}", knocks.len());
}

#[test]
fn a_port_is_opened_to_all_addresses_and_closed_again_without_a_gap() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream));
    let (grpc, http) = (sluice.grpc(), sluice.http());
    let at = |host: &str| {
        let [grpc, http] = [grpc, http].map(|at| format!("endpoint: '{host}:{}'", at.port()));
        Config::to(&upstream).receiver("otlp", &otlp(&grpc, &http)).yaml()
    };
    let knocks = [knock(grpc), knock(http)];
    for host in ["127.0.0.1", "0.0.0.0", "localhost", "0.0.0.0", "127.0.0.1"] {
        applied(&sluice, &at(host));
        send::all(grpc, &[Exporter::new(149).request(10)]).unwrap();
    }
    knocks.into_iter().for_each(all_were_let_in);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(upstream.spans() as i64, end.account.sum("receiver", "accepted"));
}

#[test]
fn another_receiver_takes_a_port_over_without_a_gap() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream));
    let (grpc, http) = (sluice.grpc(), sluice.http());
    let at = |grpc, http| otlp(&format!("endpoint: '{grpc}'"), &format!("endpoint: '{http}'"));
    let config = |id: &str, settings: &str| {
        Config::to(&upstream).receiver(id, settings).pipeline("traces", &[id], &[], &["otlp_grpc"]).yaml()
    };
    let flow = Flow::start(grpc, 150);
    let knocks = [knock(grpc), knock(http)];
    for id in ["otlp/renamed", "otlp", "otlp/renamed"] {
        applied(&sluice, &config(id, &at(grpc, http)));
        let so_far = upstream.spans();
        upstream.wait_for_spans(so_far + 200);
    }
    // Each protocol on the other's port.
    applied(&sluice, &config("otlp/renamed", &at(http, grpc)));
    flow.turn_to(http);
    let so_far = upstream.spans();
    upstream.wait_for_spans(so_far + 200);
    knocks.into_iter().for_each(all_were_let_in);
    let accepted = flow.end();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(upstream.spans(), accepted, "spans that arrived, and that were accepted");
}
