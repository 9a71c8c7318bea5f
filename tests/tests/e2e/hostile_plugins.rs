//! A plugin that traps, loops or eats memory hurts nobody but itself: the process lives, the batch
//! is whole, and what happens to it is what the operator chose.

use std::time::Duration;

use bytes::Bytes;
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::send::Grpc;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::{rpc, send, wire};
use tonic::Code;

use crate::{guests, odd};

/// A request of three spans; the tester does its worst on the one named `bad`.
fn request(names: [&str; 3]) -> Bytes {
    let spans: Vec<_> =
        (1..).zip(names).map(|(id, name)| odd::span(1, id, &[odd::field(5, name.as_bytes())])).collect();
    odd::request(&spans)
}

fn start(upstream: &Sink, behaviour: &str, policy: &str) -> Sluice {
    // Filling the memory takes time, too, and must not be counted as that.
    let timeout = if behaviour == "loop" { "20ms" } else { "5s" };
    let settings = format!(
        "module: tester.wasm\nconfig: {{ does: {behaviour}, to: bad }}\nlimits: {{ timeout: {timeout} }}\n{policy}"
    );
    let folder = Folder::new(&Config::to(upstream).processor("wasm/tester", &settings).yaml());
    folder.write("tester.wasm", guests::tester("one"));
    Sluice::start_in(folder)
}

/// What a plugin can do, and the kind of failure that it is counted as; empty: any.
const WORST: [(&str, &str); 4] = [("trap", "trap"), ("loop", "timeout"), ("grow", "memory"), ("deny", "host_refused")];

#[test]
fn closed_refuses_the_request_and_nothing_else() {
    for (behaviour, kind) in WORST {
        let upstream = Sink::start();
        let sluice = start(&upstream, behaviour, "");
        let client = Grpc::new(sluice.grpc()).unwrap();
        let status = client.send(&request(["good", "bad", "good"])).unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{behaviour}: {status:?}");
        assert!(rpc::retry_delay(&status).is_some_and(|delay| delay > Duration::ZERO), "{status:?}");

        let good = [request(["good", "good", "good"]), Exporter::new(111).request(20)];
        send::all(sluice.grpc(), &good).unwrap();
        let labels = if kind.is_empty() { 1 } else { 2 };
        let failures = sluice
            .metrics()
            .sum("sluice_plugin_failures_total", &[("plugin", "wasm/tester"), ("kind", kind)][..labels]);
        assert!(
            failures >= 1.0,
            "{behaviour}: no failure of kind {kind}: {:?}",
            sluice.metrics().all("sluice_plugin_failures_total").collect::<Vec<_>>()
        );
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
        assert_eq!(end.account.sum("receiver", "refused"), 3);
        assert_eq!(wire::difference(&good, &upstream.wires()).unwrap(), None);
    }
}

#[test]
fn open_passes_the_request_as_it_was() {
    for (behaviour, _) in WORST {
        let upstream = Sink::start();
        let sluice = start(&upstream, behaviour, "on_failure: open");
        let requests = [request(["good", "bad", "good"]), request(["good", "good", "good"])];
        send::all(sluice.grpc(), &requests).unwrap();
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{behaviour}: {}", end.stderr);
        assert_eq!(wire::difference(&requests, &upstream.wires()).unwrap(), None);
    }
}

#[test]
fn drop_drops_the_request_and_counts_it() {
    let upstream = Sink::start();
    let sluice = start(&upstream, "trap", "on_failure: drop");
    let good = request(["good", "good", "good"]);
    send::all(sluice.grpc(), &[request(["bad", "good", "good"]), good.clone()]).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.dropped_by("wasm/tester"), 3);
    assert_eq!(wire::difference(&[good], &upstream.wires()).unwrap(), None);
}

#[test]
fn another_pipeline_does_not_notice() {
    let upstream = Sink::start();
    let settings = "module: tester.wasm\nconfig: { does: loop, to: bad }\nlimits: { timeout: 20ms }";
    let healthy = "protocols: { grpc: { endpoint: '127.0.0.1:0' } }";
    let config = Config::to(&upstream)
        .receiver("otlp/healthy", healthy)
        .processor("wasm/tester", settings)
        .pipeline("traces/hostile", &["otlp"], &["wasm/tester"], &["otlp_grpc"])
        .pipeline("traces/healthy", &["otlp/healthy"], &[], &["otlp_grpc"]);
    let folder = Folder::new(&config.yaml());
    folder.write("tester.wasm", guests::tester("one"));
    let sluice = Sluice::start_in(folder);
    let (hostile, healthy) = (Grpc::new(sluice.grpc()).unwrap(), sluice.address("otlp/healthy", "grpc"));
    let attacker =
        std::thread::spawn(move || (0..20).filter(|_| hostile.send(&request(["bad", "bad", "bad"])).is_err()).count());
    let good = Exporter::new(112).requests(40, 30);
    send::all(healthy, &good).unwrap();
    assert_eq!(attacker.join().unwrap(), 20);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(wire::difference(&good, &upstream.wires()).unwrap(), None);
}

#[test]
fn a_plugin_gets_no_more_than_the_operator_grants() {
    let grants = [
        ("access: { read: [spans.name], write: ['spans.attributes:stamp'] }", true),
        ("access: { read: [spans.name], write: ['spans.attributes:other'] }", false),
        ("access: { read: [spans.name], write: [] }", false),
        ("access: { read: [], write: ['spans.attributes:stamp'] }", false),
    ];
    for (access, passes) in grants {
        let upstream = Sink::start();
        let sluice = start(&upstream, "stamp", access);
        let answer = Grpc::new(sluice.grpc()).unwrap().send(&request(["bad", "bad", "bad"]));
        assert_eq!(answer.is_ok(), passes, "{access}: {answer:?}");
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    }
}
