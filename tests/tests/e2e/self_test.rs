//! A version that fails on spans like those that came lately never serves.

use std::fs;
use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value, json};
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::sink::Sink;
use sluice_tests::{process, send, wait};

use crate::swap::stamp_now;
use crate::{guests, odd};

fn config(upstream: &Sink, does: &str) -> Config {
    let settings = format!("module: tester.wasm\nconfig: {{ {does} }}\nlimits: {{ timeout: 200ms }}");
    Config::to(upstream).processor("wasm/tester", &settings)
}

fn start(upstream: &Sink, does: &str) -> Sluice {
    let folder = Folder::new(&config(upstream, does).yaml());
    folder.write("tester.wasm", guests::tester("one"));
    Sluice::start_in(folder)
}

/// A request of one span of this name.
fn request(name: &str) -> Bytes {
    odd::request(&[odd::span(1, 1, &[odd::field(5, name.as_bytes())])])
}

/// Swaps, and gives the event.
fn swap(sluice: &Sluice, next: &Config) -> Value {
    let seen = sluice.swaps("wasm/tester").len();
    sluice.rewrite(next);
    sluice.wait_swap("wasm/tester", seen)
}

#[test]
fn a_version_that_fails_on_recent_spans_does_not_serve() {
    let upstream = Sink::start();
    let sluice = start(&upstream, "does: stamp");
    send::all(sluice.grpc(), &[request("bad")]).unwrap();
    for (deed, kind) in [("trap", "trap"), ("loop", "timeout"), ("grow", "memory"), ("deny", "host_refused")] {
        let event = swap(&sluice, &config(&upstream, &format!("does: {deed}, to: bad")));
        assert_eq!((&event["outcome"], &event["step"]), (&"failed".into(), &"self_test".into()), "{event}");
        let reason = event["reason"].as_str().unwrap();
        assert!(reason.contains("a recent batch of 1 spans") && reason.contains(kind), "{event}");
        assert!(event["ms"]["self_test"].is_number(), "{event}");
        assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("one"), "the old one serves");
    }
    let failed = [("plugin", "wasm/tester"), ("outcome", "failed"), ("step", "self_test")];
    let metrics = sluice.metrics();
    assert_eq!(metrics.sum("sluice_plugin_swaps_total", &failed), 4.0);
    assert_eq!(metrics.sum("sluice_plugin_swap_step_seconds_count", &failed), 4.0);
    let refused = [("plugin", "wasm/tester"), ("reason", "self_test")];
    assert_eq!(metrics.sum("sluice_plugin_refusals_total", &refused), 4.0);
    // What happens in a self-test is no failure of the version that serves.
    assert_eq!(sluice.metrics().sum("sluice_plugin_failures_total", &[("plugin", "wasm/tester")]), 0.0);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn without_recent_spans_the_built_in_ones_stand_in_and_that_is_said() {
    let upstream = Sink::start();
    let sluice = start(&upstream, "does: stamp, to: nobody");
    let event = swap(&sluice, &config(&upstream, "does: stamp"));
    let report = json!({ "built_in": true, "batches": 1, "spans": 2, "dropped": 0, "edited": 2 });
    assert_eq!((&event["outcome"], &event["self_test"]), (&"swapped".into(), &report), "{event}");
    let event = swap(&sluice, &config(&upstream, "does: trap"));
    assert!(event["reason"].as_str().unwrap().contains("the built-in batch of 2 spans"), "{event}");

    send::all(sluice.grpc(), &[request("one")]).unwrap();
    let event = swap(&sluice, &config(&upstream, "does: stamp, to: nobody"));
    let report = json!({ "built_in": false, "batches": 1, "spans": 1, "dropped": 0, "edited": 0 });
    assert_eq!((&event["outcome"], &event["self_test"]), (&"swapped".into(), &report), "{event}");
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn spans_on_which_the_present_version_fails_keep_nobody_from_serving() {
    let upstream = Sink::start();
    let sluice = start(&upstream, "does: trap, to: bad");
    let client = send::Grpc::new(sluice.grpc()).unwrap();
    assert!(client.send(&request("bad")).is_err());
    // One that works comes in time.
    let began = Instant::now();
    wait::until("the next batch to be due", || (began.elapsed().as_millis() > 200).then_some(()));
    client.send(&request("good")).unwrap();
    let event = swap(&sluice, &config(&upstream, "does: loop, to: bad"));
    assert_eq!((&event["outcome"], &event["self_test"]["batches"]), (&"swapped".into(), &1.into()), "{event}");
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn what_a_self_test_does_to_the_store_stays_in_it() {
    let upstream = Sink::start();
    let config = |burst: u32| {
        let settings = format!(
            "module: stations.wasm\nconfig: {{ spans_per_s: 0.001, burst: {burst} }}\ntables: {{ stations: {{ file: stations.csv, key: id }} }}"
        );
        Config::to(&upstream).processor("wasm/stations", &settings)
    };
    let folder = Folder::new(&config(100).yaml());
    folder.write("stations.csv", "id,city\nGVA,Geneva\n");
    folder.write("stations.wasm", fs::read(process::target().join("plugins/stations.wasm")).unwrap());
    let sluice = Sluice::start_in(folder);
    let of_station = |spans: u8| {
        let span = |id| odd::span(1, id, &[odd::field(9, &odd::text("station.id", "GVA"))]);
        [odd::request(&(1..=spans).map(span).collect::<Vec<_>>())]
    };
    send::all(sluice.grpc(), &of_station(10)).unwrap();
    upstream.wait_for_spans(10);
    // A version that gives a station one span passes its self-test on those, and does not serve: the folder of the state
    // cannot change.
    sluice.rewrite(&config(1).extension("sluice", "state_dir: elsewhere"));
    let refused = || sluice.log().events("reload").into_iter().find(|told| told["outcome"] == "failed");
    let refused = wait::until("the refusal", refused);
    assert!(refused["reason"].as_str().unwrap().contains("`state_dir`"), "{refused}");
    send::all(sluice.grpc(), &of_station(90)).unwrap();
    let end = sluice.terminate();
    assert_eq!(upstream.decoded_spans().len(), 100, "all that the station has left: {}", end.stderr);
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}
