//! A canary serves a share of the traces, then all.

use std::collections::HashMap;
use std::thread;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sluice_tests::sink::Sink;
use sluice_tests::{send, wait};

use super::{Flow, ONE, PLUGIN, TWO, arrived, bad_versions_go, flows, marks, order, replace, shown, span, start};
use crate::guests::{self, Version};
use crate::odd;
use crate::swap::text;

#[test]
fn a_tenth_of_the_traces_is_served_by_the_canary_wholly() {
    const TRACES: usize = 20_000;
    const SPANS: usize = 3;
    let upstream = Sink::start();
    let sluice = start(&upstream, "strategy: canary, share: 0.1, for: 1h");
    let came = replace(&sluice, TWO);
    assert_eq!((&came["outcome"], &came["step"]), (&"candidate".into(), &"canary".into()), "{came}");
    let mut chance = StdRng::seed_from_u64(7);
    let traces: Vec<[u8; 16]> = (0..TRACES).map(|_| chance.random()).collect();
    // The spans of a trace go in three requests, among other traces each time, over three connections.
    thread::scope(|scope| {
        for turn in 0..SPANS {
            let (traces, address) = (&traces, sluice.grpc());
            scope.spawn(move || {
                let stride = 7 + 2 * turn;
                let order: Vec<_> = (0..stride).flat_map(|from| (from..TRACES).step_by(stride)).collect();
                let request = |chunk: &[usize]| {
                    let spans: Vec<_> =
                        chunk.iter().map(|&n| span(&traces[n], (n * SPANS + turn) as u64, "a")).collect();
                    odd::request(&spans)
                };
                send::all(address, &order.chunks(90).map(request).collect::<Vec<_>>()).unwrap();
            });
        }
    });
    upstream.wait_for_spans((TRACES * SPANS) as u64);
    let mut by_trace: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
    for span in upstream.decoded_spans() {
        let mark = text(&span, "mark").unwrap_or("none").to_owned();
        by_trace.entry(span.trace_id).or_default().push(mark);
    }
    assert_eq!(by_trace.len(), TRACES);
    for marks in by_trace.values() {
        assert!(marks.len() == SPANS && marks.iter().all(|mark| *mark == marks[0]), "a trace is split: {marks:?}");
        assert!(["one", "two"].contains(&marks[0].as_str()), "{marks:?}");
    }
    let canary = by_trace.values().filter(|marks| marks[0] == "two").count();
    assert!((TRACES * 9 / 100..=TRACES * 11 / 100).contains(&canary), "{canary} of {TRACES} traces");

    // Both count in one store, under one name, in one account.
    let metrics = sluice.metrics();
    let of = [("plugin", PLUGIN)];
    let all = (TRACES * SPANS) as f64;
    assert_eq!(metrics.sum("sluice_plugin_spans_total", &[("plugin", PLUGIN), ("outcome", "edited")]), all);
    assert_eq!(metrics.sum("sluice_plugin_custom_rollout_seen", &of), all);
    let candidate = &shown(&sluice)["candidate"];
    assert_eq!((&candidate["digest"], &candidate["phase"]), (&came["to"], &"canary".into()), "{candidate}");
    assert_eq!((&candidate["spans"], &candidate["would_drop"]), (&(canary * SPANS).into(), &0.into()), "{candidate}");
    for key in ["p50_us", "p99_us", "memory"] {
        assert!(candidate[key].as_u64().is_some_and(|value| value > 0), "{key}: {candidate}");
    }
    assert_eq!(candidate["failures"], 0);

    assert_eq!(order(&sluice, "promote").code, 0);
    let event = sluice.swaps(PLUGIN).pop().unwrap();
    assert_eq!(
        (&event["outcome"], &event["trigger"], &event["to"]),
        (&"swapped".into(), &"promote".into(), &came["to"])
    );
    assert!(event["ms"]["canary"].is_number() && event["trial"]["spans"] == candidate["spans"], "{event}");
    // Each step counts once, although the second event tells of those before the canary again.
    let metrics = sluice.metrics();
    let steps = |step, outcome, of: &str| {
        let labels = [("plugin", PLUGIN), ("step", step), ("outcome", outcome)];
        metrics.sum(&format!("sluice_plugin_swap_step_seconds_{of}"), &labels)
    };
    for (step, outcome, times) in
        [("verify", "passed", 2.0), ("self_test", "passed", 1.0), ("canary", "passed", 1.0), ("swap", "swapped", 2.0)]
    {
        assert_eq!(steps(step, outcome, "count"), times, "{step} {outcome}");
    }
    let told = event["ms"]["canary"].as_f64().unwrap() / 1e3;
    assert!((steps("canary", "passed", "sum") - told).abs() < 1e-5, "{event}");
    upstream.take();
    let one = odd::request(&traces.iter().take(300).map(|trace| span(trace, 1, "a")).collect::<Vec<_>>());
    send::all(sluice.grpc(), &[one]).unwrap();
    upstream.wait_for_spans((TRACES * SPANS) as u64 + 300);
    assert_eq!(marks(&upstream.decoded_spans()), HashMap::from([("two".to_owned(), 300)]));
    assert_eq!(sluice.metrics().sum("sluice_plugin_custom_rollout_kept", &of), all + 300.0, "one store");
    let shown = shown(&sluice);
    assert_eq!((shown.get("candidate"), &shown["digest"]), (None, &came["to"]));
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn after_its_time_a_canary_serves_all() {
    let upstream = Sink::start();
    let sluice = start(&upstream, "strategy: canary, share: 0.5, for: 1s");
    let flow = Flow::start(&sluice, 2);
    flows(&upstream, 500);
    let came = replace(&sluice, TWO);
    let swapped = sluice.wait_swap(PLUGIN, 2);
    assert_eq!((&swapped["outcome"], &swapped["trigger"]), (&"swapped".into(), &"canary".into()), "{swapped}");
    assert_eq!((&swapped["to"], &swapped["trial"]["failures"]), (&came["to"], &0.into()), "{swapped}");
    flows(&upstream, 500);
    // Version one can be gone back to, and version two is remembered then.
    assert_eq!(order(&sluice, "rollback").code, 0);
    assert_eq!((&shown(&sluice)["version"], &shown(&sluice)["rolled_back"]), (&"one".into(), &came["to"]));
    let sent = flow.end();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), arrived(&upstream, &end)), (0, 0, sent), "{}", end.stderr);
    let marks = marks(&upstream.decoded_spans());
    assert!(marks.len() == 2 && marks["one"] > 0 && marks["two"] > 0, "{marks:?}");
}

#[test]
fn a_bad_canary_goes_by_itself() {
    bad_versions_go("strategy: canary, share: 0.3, for: 1h", "canary");
}

#[test]
fn a_canary_goes_when_an_operator_wants_it_or_another_version_comes() {
    let upstream = Sink::start();
    let sluice = start(&upstream, "strategy: canary, for: 1h");
    for nothing in ["promote", "abort"] {
        let refused = order(&sluice, nothing);
        assert!(refused.code == 1 && refused.stderr.contains("no candidate is tried"), "{refused:?}");
    }
    for (number, how) in ["abort", "rollback"].into_iter().enumerate() {
        let came = replace(&sluice, Version { burns: 2 + number as u8, ..TWO });
        assert_eq!(came["outcome"], "candidate", "{came}");
        let done = order(&sluice, how);
        assert_eq!(done.code, 0, "{done:?}");
        let event = sluice.swaps(PLUGIN).pop().unwrap();
        assert_eq!((&event["outcome"], &event["trigger"]), (&"rolled_back".into(), &how.into()), "{event}");
        let shown = shown(&sluice);
        assert_eq!(
            (&shown["version"], &shown["rolled_back"], shown.get("candidate")),
            (&"one".into(), &came["to"], None)
        );
        let again: Value = serde_json::from_str(&order(&sluice, "swap").stdout).unwrap();
        assert_eq!(again["outcome"], "unchanged", "it is remembered: {again}");
    }
    let first = replace(&sluice, Version { burns: 4, ..TWO });
    let seen = sluice.swaps(PLUGIN).len();
    sluice.folder().write("rollout.wasm", guests::rollout(Version { burns: 5, ..TWO }));
    let events =
        wait::until("both events", || Some(sluice.swaps(PLUGIN).split_off(seen)).filter(|events| events.len() == 2));
    let outcomes: Vec<_> = events.iter().map(|event| event["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["candidate", "superseded"]);
    assert_eq!((&events[1]["from"], &events[1]["to"]), (&first["to"], &events[0]["to"]));
    assert_eq!(shown(&sluice)["candidate"]["digest"], events[0]["to"]);
    // The file of the version that serves ends it, too.
    let back = replace(&sluice, ONE);
    assert_eq!(back["outcome"], "superseded", "{back}");
    assert_eq!(shown(&sluice).get("candidate"), None);
    assert_eq!(sluice.terminate().code, 0);
}
