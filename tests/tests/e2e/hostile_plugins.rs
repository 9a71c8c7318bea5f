//! A plugin that traps, loops or eats memory hurts nobody but itself: the process lives, the batch
//! is whole, and what happens to it is what the operator chose.

use std::time::Duration;

use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::send::Grpc;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::{rpc, send, wire};
use tonic::Code;

use crate::guests;
use crate::poison::{WORST, all_bad, request, start};

#[test]
fn closed_refuses_the_request_and_nothing_else() {
    for (behaviour, limits, kind) in WORST {
        let upstream = Sink::start();
        let sluice = start(&upstream, behaviour, limits, "");
        let client = Grpc::new(sluice.grpc()).unwrap();
        let status = client.send(&all_bad()).unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{behaviour}: {status:?}");
        assert!(rpc::retry_delay(&status).is_some_and(|delay| delay > Duration::ZERO), "{status:?}");

        let good = [request(3, &[]), Exporter::new(111).request(20)];
        send::all(sluice.grpc(), &good).unwrap();
        let of = [("plugin", "wasm/tester"), ("kind", kind)];
        let metrics = sluice.metrics();
        let failures = metrics.sum("sluice_plugin_failures_total", &of);
        assert_eq!(failures, 1.0, "{behaviour}: {:?}", metrics.all("sluice_plugin_failures_total").collect::<Vec<_>>());
        assert_eq!(metrics.sum("sluice_plugin_failures_total", &of[..1]), 1.0, "{behaviour}: under no other name");
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
        assert!(end.account.sum("receiver", "refused") >= 20, "what came while the plugin paused is refused, too");
        assert_eq!(wire::difference(&good, &upstream.wires()).unwrap(), None);
    }
}

#[test]
fn open_passes_the_request_as_it_was() {
    for (behaviour, limits, _) in WORST {
        let upstream = Sink::start();
        let sluice = start(&upstream, behaviour, limits, "on_failure: open");
        let requests = [all_bad(), request(3, &[])];
        send::all(sluice.grpc(), &requests).unwrap();
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{behaviour}: {}", end.stderr);
        assert_eq!(wire::difference(&requests, &upstream.wires()).unwrap(), None);
    }
}

#[test]
fn drop_drops_the_request_and_counts_it() {
    let upstream = Sink::start();
    let sluice = start(
        &upstream,
        "trap",
        "timeout: 5s",
        "on_failure: drop\nrestart: { initial_interval: 1ms, max_interval: 1ms }",
    );
    let good = request(3, &[]);
    send::all(sluice.grpc(), &[all_bad()]).unwrap();
    // It pauses for a millisecond, in which requests are dropped as well.
    let mut sent = 0;
    while upstream.spans() == 0 {
        send::all(sluice.grpc(), std::slice::from_ref(&good)).unwrap();
        sent += 3;
    }
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    let dropped = end.account.dropped_by("wasm/tester");
    assert!(dropped >= 20 && dropped + upstream.spans() as i64 == 20 + sent, "{dropped} of {sent}");
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
    let attacker = std::thread::spawn(move || (0..20).filter(|_| hostile.send(&all_bad()).is_err()).count());
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
        let sluice = start(&upstream, "stamp", "timeout: 5s", access);
        let answer = Grpc::new(sluice.grpc()).unwrap().send(&request(3, &[0, 1, 2]));
        assert_eq!(answer.is_ok(), passes, "{access}: {answer:?}");
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    }
}
