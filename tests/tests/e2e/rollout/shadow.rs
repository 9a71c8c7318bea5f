//! A shadow is compared with what serves, and nothing of what it does counts.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sluice_tests::collector::run;
use sluice_tests::sink::Sink;
use sluice_tests::{send, wait};

use super::{Flow, PLUGIN, TWO, arrived, bad_versions_go, marks, order, replace, shown, span, start, start_limited};
use crate::guests::Version;
use crate::odd;
use crate::swap::wait_for_text;

#[test]
fn a_shadow_that_drops_more_is_reported_and_leaves_no_trace() {
    const SPANS: u64 = 10_000;
    let upstream = Sink::start();
    let sluice = start(&upstream, "strategy: shadow, share: 1, for: 1h");
    // It drops 30 % of the traces more than the present one, and puts another mark on the others.
    let came = replace(&sluice, Version { drops: 30, ..TWO });
    assert_eq!((&came["outcome"], &came["step"]), (&"candidate".into(), &"shadow".into()), "{came}");
    let (mut chance, client) = (StdRng::seed_from_u64(3), send::Grpc::new(sluice.grpc()).unwrap());
    let mut would_drop = 0;
    for _ in 0..SPANS / 50 {
        let traces: Vec<[u8; 16]> = (0..50).map(|_| chance.random()).collect();
        // The plugin says so by the last byte.
        would_drop += traces.iter().filter(|trace| u32::from(trace[15]) * 100 < 30 * 256).count() as u64;
        let spans: Vec<_> = traces.iter().map(|trace| span(trace, 1, "a")).collect();
        client.send(&odd::request(&spans)).unwrap();
    }
    upstream.wait_for_spans(SPANS);
    let candidate = wait::until("all to be compared", || {
        Some(shown(&sluice)["candidate"].clone()).filter(|told| told["spans"] == SPANS)
    });
    assert_eq!(candidate["shed"], 0);
    let number = |key: &str| candidate[key].as_u64().unwrap();
    let (told, truth) = (number("would_drop") as f64 / number("spans") as f64, would_drop as f64 / SPANS as f64);
    assert!((told - truth).abs() < 0.01 && (truth - 0.3).abs() < 0.02, "{told} for {truth}: {candidate}");
    assert_eq!((&candidate["current"]["would_drop"], &candidate["current"]["spans"]), (&0.into(), &candidate["spans"]));
    // Of those that both keep, each has another mark, and nothing else differs.
    let kept = number("spans") - number("would_drop");
    assert_eq!(candidate["changed_keys"], serde_json::json!({ "mark": kept }), "{candidate}");
    assert_eq!((&candidate["digest"], &candidate["phase"], number("failures")), (&came["to"], &"shadow".into(), 0));
    for side in [&candidate, &candidate["current"]] {
        for key in ["p50_us", "p99_us", "memory"] {
            assert!(side[key].as_u64().is_some_and(|value| value > 0), "{key}: {candidate}");
        }
    }
    // What it says goes into the report, and what it stores nowhere.
    let lines = candidate["logs"]["info"].as_u64().unwrap();
    // One a call, up to the limit of lines a second.
    assert!((1..=number("spans") / 50).contains(&lines), "{candidate}");
    assert_eq!(candidate["metrics"]["rollout_seen"].as_f64(), Some(number("spans") as f64));
    // A gauge has its last value: what the store held when the view was taken, and what it has counted itself.
    let kept = candidate["metrics"]["rollout_kept"].as_f64().unwrap();
    assert!((SPANS as f64..=2.0 * SPANS as f64).contains(&kept), "{candidate}");
    assert!(!sluice.log().events("plugin.log").iter().any(|line| line["message"] == "two"));
    let metrics = sluice.metrics();
    for metric in ["rollout_seen", "rollout_kept"] {
        let name = format!("sluice_plugin_custom_{metric}");
        assert_eq!(metrics.sum(&name, &[("plugin", PLUGIN)]), SPANS as f64, "{metric}");
    }
    assert_eq!(metrics.sum("sluice_plugin_calls_total", &[("plugin", PLUGIN)]), (SPANS / 50) as f64);
    assert_eq!(marks(&upstream.decoded_spans()), HashMap::from([("one".to_owned(), SPANS as usize)]));
    let text =
        run(&["plugin", "show", PLUGIN, "--endpoint", &sluice.address("sluice", "http").to_string()], None).stdout;
    assert!(text.contains("differs    mark on") && text.contains("shadow since"), "{text}");

    assert_eq!(order(&sluice, "abort").code, 0);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), end.account.dropped_by(PLUGIN)), (0, 0, 0), "{}", end.stderr);
}

#[test]
fn a_bad_shadow_goes_by_itself_and_a_good_one_serves_in_time() {
    bad_versions_go("strategy: shadow, share: 1, for: 1h", "shadow");
    let upstream = Sink::start();
    let sluice = start(&upstream, "strategy: shadow, share: 0.5, for: 1s");
    let flow = Flow::start(&sluice, 4);
    let came = replace(&sluice, TWO);
    let swapped = sluice.wait_swap(PLUGIN, 2);
    assert_eq!((&swapped["outcome"], &swapped["trigger"]), (&"swapped".into(), &"shadow".into()), "{swapped}");
    assert_eq!((&swapped["to"], &swapped["trial"]["failures"]), (&came["to"], &0.into()), "{swapped}");
    wait_for_text(&upstream, "mark", "two");
    let sent = flow.end();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), arrived(&upstream, &end)), (0, 0, sent), "{}", end.stderr);
    let marks = marks(&upstream.decoded_spans());
    assert!(marks.len() == 2 && marks["two"] > 0, "{marks:?}");
}

#[test]
fn what_senders_put_into_a_request_does_not_keep_the_thread_of_a_shadow() {
    // A span with so many attributes that nobody would wait for each of them to be looked for among all the others; one
    // that is too large to be compared; and one that is too large to be copied.
    let many: Vec<_> = (0..100_000).map(|key| odd::field(9, &odd::text(&format!("k{key:06}"), "v"))).collect();
    let (mut chance, upstream) = (StdRng::seed_from_u64(7), Sink::start());
    let with = |mut span: Vec<u8>, more: &[u8]| {
        span.extend_from_slice(more);
        odd::request(&[span])
    };
    let requests = [
        with(span(&chance.random(), 1, "many"), &many.concat()),
        with(span(&chance.random(), 2, &"a".repeat(3 << 20)), &[]),
        with(span(&chance.random(), 3, &"a".repeat(9 << 20)), &[]),
        with(span(&chance.random(), 4, "small"), &[]),
    ];
    let rollout = "strategy: shadow, share: 1, for: 1h, max_failure_ratio: 1, max_latency_ratio: 1000000";
    let sluice = start_limited(&upstream, rollout, "10s");
    assert_eq!(replace(&sluice, TWO)["outcome"], "candidate");
    let client = send::Grpc::new(sluice.grpc()).unwrap();
    for request in &requests {
        client.send(request).unwrap();
    }
    let candidate = wait::until("all to be compared that are not too large", || {
        Some(shown(&sluice)["candidate"].clone()).filter(|told| told["spans"] == 3)
    });
    assert_eq!((&candidate["not_compared"], &candidate["shed"]), (&1.into(), &1.into()), "{candidate}");
    assert_eq!(candidate["changed_keys"], serde_json::json!({ "mark": 2 }), "{candidate}");
    let show = ["plugin", "show", PLUGIN, "--endpoint", &sluice.address("sluice", "http").to_string()];
    let text = run(&show, None).stdout;
    assert!(text.contains("too large  1 batches, which were not compared"), "{text}");
    upstream.wait_for_spans(4);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn a_shadow_that_takes_long_delays_nobody() {
    let upstream = Sink::start();
    // Its calls take far longer than those of the version that serves, and that is no reason to let go of it.
    let rollout = "strategy: shadow, share: 1, for: 1h, max_failure_ratio: 1, max_latency_ratio: 1000000";
    // One with a shadow and one without. They take turns, so that what the machine does meanwhile they both feel.
    let (sluice, other) = (start(&upstream, rollout), start(&upstream, rollout));
    let clients = [&sluice, &other].map(|one| send::Grpc::new(one.grpc()).unwrap());
    let mut chance = StdRng::seed_from_u64(5);
    // So large that some of them are all that may wait.
    let large = "a".repeat(100_000);
    let mut request = || odd::request(&(0..2).map(|id| span(&chance.random(), id, &large)).collect::<Vec<_>>());
    let came = replace(&sluice, Version { burns: 80, ..TWO });
    assert_eq!(came["outcome"], "candidate", "{came}");
    let candidate = wait::until("it to be behind", || {
        // Many at a time, and more than may wait.
        send::all(sluice.grpc(), &(0..60).map(|_| request()).collect::<Vec<_>>()).unwrap();
        Some(shown(&sluice)["candidate"].clone()).filter(|told| told["shed"].as_u64().unwrap() > 0)
    });
    let mut waits = [Vec::new(), Vec::new()];
    for _ in 0..150 {
        for (client, waits) in clients.iter().zip(&mut waits) {
            let (request, began) = (request(), Instant::now());
            client.send(&request).unwrap();
            waits.push(began.elapsed());
        }
    }
    // What half of the requests wait for at most.
    let [beside, alone] = waits.map(|mut waits| {
        waits.sort();
        waits[75]
    });
    // A call of it takes some ten times as long as a request.
    let call = Duration::from_micros(candidate["p50_us"].as_u64().unwrap());
    assert!(
        beside < alone + call / 2,
        "half of the requests waited up to {beside:?}, and {alone:?} without a shadow; a call of the shadow takes {call:?}"
    );
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}
