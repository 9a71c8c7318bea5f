//! Several exporters and several pipelines: each gets everything it should, or nobody gets anything.

use std::thread;
use std::time::Duration;

use sluice_tests::collector::{Config, Sluice, config};
use sluice_tests::send::Grpc;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::{rpc, send, wire};
use tonic::Code;

const QUICK: &str = "sending_queue: { batch: { flush_timeout: 20ms } }";

#[test]
fn two_exporters_get_the_same_spans() {
    let (one, other) = (Sink::start(), Sink::start());
    let both = Config::new()
        .exporter("otlp_grpc/one", &config::grpc(&one, QUICK))
        .exporter("otlp_http/other", &config::http(&other, QUICK));
    let requests = Exporter::new(41).requests(30, 30);
    let sluice = Sluice::start(&both);
    send::all(sluice.grpc(), &requests).unwrap();
    let end = sluice.terminate();
    assert_eq!(wire::difference(&requests, &one.wires()).unwrap(), None);
    assert_eq!(wire::difference(&requests, &other.wires()).unwrap(), None);
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn two_pipelines_of_one_receiver_do_not_touch_each_other() {
    let (whole, filtered) = (Sink::start(), Sink::start());
    let two = Config::new()
        .processor("filter", r#"traces: { span: ['name == "GET /health"'] }"#)
        .exporter("otlp_grpc/whole", &config::grpc(&whole, QUICK))
        .exporter("otlp_grpc/filtered", &config::grpc(&filtered, QUICK))
        .pipeline("traces/whole", &["otlp"], &[], &["otlp_grpc/whole"])
        .pipeline("traces/filtered", &["otlp"], &["filter"], &["otlp_grpc/filtered"]);
    let mut exporter = Exporter::new(42);
    let requests = exporter.requests(30, 30);
    let sluice = Sluice::start(&two);
    send::all(sluice.grpc(), &requests).unwrap();
    let end = sluice.terminate();
    assert_eq!(wire::difference(&requests, &whole.wires()).unwrap(), None);
    assert_eq!(whole.spans() - filtered.spans(), exporter.shop().checks() as u64);
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

/// Each request needs two rooms in each of two queues, which it finds in this order and in that.
#[test]
fn requests_that_need_several_rooms_do_not_wait_for_each_other() {
    for (queue_size, on_full) in [(1, "block"), (4, "block"), (7, "block"), (1, "refuse")] {
        let (one, other) = (Sink::start(), Sink::start());
        let queue = format!(
            "sending_queue: {{ queue_size: {queue_size}, on_full: {on_full}, batch: {{ flush_timeout: 1ms }} }}"
        );
        let crosswise = Config::new()
            .exporter("otlp_grpc/one", &config::grpc(&one, &queue))
            .exporter("otlp_grpc/other", &config::grpc(&other, &queue))
            .pipeline("traces/a", &["otlp"], &[], &["otlp_grpc/one", "otlp_grpc/other"])
            .pipeline("traces/b", &["otlp"], &[], &["otlp_grpc/other", "otlp_grpc/one"]);
        let requests = Exporter::new(45).requests(100, 30);
        let spans: u64 = requests.iter().map(|request| wire::count(request).unwrap()).sum();
        let sluice = Sluice::start(&crosswise);
        let address = sluice.grpc();
        let senders: Vec<_> = requests
            .chunks(50)
            .map(<[_]>::to_vec)
            .map(|requests| thread::spawn(move || send::all(address, &requests).unwrap()))
            .collect();
        // Of a sender that waits for ever nothing would be heard.
        for upstream in [&one, &other] {
            upstream.wait_for_spans(2 * spans);
        }
        for sender in senders {
            sender.join().unwrap();
        }
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
        let twice = [&requests[..], &requests].concat();
        for upstream in [&one, &other] {
            assert_eq!(wire::difference(&twice, &upstream.wires()).unwrap(), None, "{queue_size} {on_full}");
        }
    }
}

#[test]
fn a_full_destination_refuses_for_all_and_commits_to_none() {
    let (healthy, down) = (Sink::start(), Sink::start());
    down.always(Answer::UNAVAILABLE);
    let full = Config::new()
        .exporter("otlp_grpc/healthy", &config::grpc(&healthy, QUICK))
        .exporter("otlp_grpc/down", &config::grpc(&down, "sending_queue: { sizer: bytes, queue_size: 100000 }"));
    let sluice = Sluice::start(&full);
    let client = Grpc::new(sluice.grpc()).unwrap();
    let mut exporter = Exporter::new(43);
    let mut taken = Vec::new();
    let refusal = loop {
        let request = exporter.request(50);
        match client.send(&request) {
            Ok(_) => taken.push(request),
            Err(status) => break status,
        }
        assert!(taken.len() < 100, "a queue of 100 kB took {} requests", taken.len());
    };
    assert_eq!(refusal.code(), Code::Unavailable);
    assert!(rpc::retry_delay(&refusal).is_some_and(|delay| delay > Duration::ZERO), "{refusal:?}");
    down.always(Answer::Ok);
    let end = sluice.terminate();
    assert_eq!(wire::difference(&taken, &healthy.wires()).unwrap(), None);
    assert_eq!(wire::difference(&taken, &down.wires()).unwrap(), None);
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn a_dead_destination_costs_nobody_before_its_queue_is_full_and_then_what_its_policy_says() {
    let (healthy, down) = (Sink::start(), Sink::start());
    down.always(Answer::UNAVAILABLE);
    let queue = "sending_queue: { sizer: bytes, queue_size: 100000, on_full: drop_newest }";
    let config = Config::new()
        .exporter("otlp_grpc/healthy", &config::grpc(&healthy, QUICK))
        .exporter("otlp_grpc/down", &config::grpc(&down, queue));
    let sluice = Sluice::start(&config);
    let requests = Exporter::new(44).requests(60, 50);
    let client = Grpc::new(sluice.grpc()).unwrap();
    for request in &requests {
        client.send(request).unwrap();
    }
    let sent: u64 = requests.iter().map(|request| wire::count(request).unwrap()).sum();
    healthy.wait_for_spans(sent);
    down.always(Answer::Ok);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(wire::difference(&requests, &healthy.wires()).unwrap(), None);
    let dropped = end.account.destination("otlp_grpc/down", "dropped") as u64;
    assert!(dropped > 0 && down.spans() > 0, "{dropped} dropped, {} delivered", down.spans());
    assert_eq!(down.spans() + dropped, sent, "{}", end.stderr);
    assert_eq!(end.account.destination("otlp_grpc/healthy", "dropped"), 0);
}
