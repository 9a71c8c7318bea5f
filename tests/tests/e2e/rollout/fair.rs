//! Whether a new version is too slow is told alike whatever its share is, and however little traffic there is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sluice_tests::collector::Sluice;
use sluice_tests::sink::Sink;
use sluice_tests::{send, wait};

use super::{ONE, PLUGIN, TWO, replace, shown, span, start_with, until_usual};
use crate::guests::{Fails, Version};
use crate::odd;

/// Shares, and how many spans of how many traces a request has: a share of 0.5 leaves nothing but the two parts that
/// are compared, and of requests of one span each goes to one version alone.
const TRAFFIC: [(&str, u64, usize); 4] = [("0.1", 10, 5), ("0.3", 10, 5), ("0.5", 10, 5), ("0.3", 1, 1)];

/// Between two requests: so long that whatever is called then is cold.
const EVERY: Duration = Duration::from_millis(10);

/// Has one version come in beside another under each kind of traffic, all at the same time. `judge` gets the event
/// of its coming in, and how many spans have been sent when so many requests were.
fn beside(present: Version, next: Version, judge: impl Fn(&Sluice, &Sink, &Value, u64, &str) + Sync) {
    thread::scope(|scope| {
        for (number, (share, spans, traces)) in TRAFFIC.into_iter().enumerate() {
            let judge = &judge;
            scope.spawn(move || {
                let (upstream, stop) = (Sink::start(), AtomicBool::new(false));
                let sluice =
                    start_with(present, &upstream, &format!("strategy: canary, share: {share}, for: 1h"), "100ms");
                let address = sluice.grpc();
                let what = format!("share {share}, {spans} spans of {traces} traces");
                let sent = thread::scope(|scope| {
                    let sender = scope.spawn(|| {
                        let client = send::Grpc::new(address).unwrap();
                        let (mut chance, mut sent) = (StdRng::seed_from_u64(number as u64), 0);
                        while !stop.load(Ordering::Relaxed) {
                            let ids: Vec<[u8; 16]> = (0..traces).map(|_| chance.random()).collect();
                            let of = |id: u64| span(&ids[id as usize % traces], id, "a");
                            client.send(&odd::request(&(0..spans).map(of).collect::<Vec<_>>())).unwrap();
                            sent += spans;
                            // What is paced has to wait.
                            thread::sleep(EVERY);
                        }
                        sent
                    });
                    let stopped = Stop(&stop);
                    upstream.wait_for_spans(20 * spans);
                    let came = replace(&sluice, next);
                    assert_eq!(came["outcome"], "candidate", "{what}: {came}");
                    judge(&sluice, &upstream, &came, spans, &what);
                    drop(stopped);
                    sender.join().unwrap()
                });
                let end = sluice.terminate();
                assert_eq!((end.code, end.account.missing(), upstream.spans()), (0, 0, sent), "{what}: {}", end.stderr);
            });
        }
    });
}

/// Has the sender stop, also when the test fails.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_same_code_is_not_too_slow() {
    // The less a call does, the more it matters whether it is cold.
    let idle = |version| Version { burns: 0, ..version };
    beside(idle(ONE), idle(TWO), |sluice, upstream, came, spans, what| {
        let so_far = upstream.spans();
        upstream.wait_for_spans(so_far + 400 * spans);
        let candidate = &shown(sluice)["candidate"];
        println!("{what}: {candidate}");
        assert_eq!(candidate["digest"], came["to"], "{what}: {:?}", sluice.swaps(PLUGIN).last());
        assert!(candidate["spans"].as_u64().is_some_and(|spans| spans > 60), "{what}: {candidate}");
    });
}

/// Sees a candidate go because it takes too long.
fn goes_for_its_time(sluice: &Sluice, _: &Sink, came: &Value, _: u64, what: &str) {
    let gone = wait::until("it to go", || sluice.swaps(PLUGIN).into_iter().nth(2));
    println!("{what}: {gone}");
    assert_eq!((&gone["outcome"], &gone["trigger"]), (&"rolled_back".into(), &"canary".into()), "{what}: {gone}");
    assert_eq!((&gone["from"], &gone["to"]), (&came["to"], &came["from"]), "{what}");
    assert!(gone["reason"].as_str().is_some_and(|reason| reason.contains("max_latency_ratio")), "{what}: {gone}");
}

#[test]
fn what_takes_five_times_as_long_goes() {
    beside(Version { burns: 4, ..ONE }, Version { burns: 20, ..TWO }, goes_for_its_time);
}

#[test]
fn what_gets_slow_after_a_hundred_calls_goes() {
    beside(Version { burns: 9, ..ONE }, Version { burns: 9, fails: Fails::Slows, ..TWO }, goes_for_its_time);
}

#[test]
fn requests_that_grow_are_no_reason_to_go_and_no_excuse() {
    const FEW: u64 = 2;
    const MANY: u64 = 200;
    let one = Version { burns: 0, each: 5, ..ONE };
    let same = Version { mark: TWO.mark, ..one };
    for (next, outcome) in [(same, "passed"), (Version { each: 50, ..same }, "failed")] {
        let upstream = Sink::start();
        let sluice = start_with(one, &upstream, "strategy: immediate, probation: 5s", "100ms");
        let (stop, spans, address) = (AtomicBool::new(false), AtomicU64::new(FEW), sluice.grpc());
        let (told, sent) = thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let client = send::Grpc::new(address).unwrap();
                let (mut chance, mut sent) = (StdRng::seed_from_u64(31), 0);
                while !stop.load(Ordering::Relaxed) {
                    let spans = spans.load(Ordering::Relaxed);
                    client
                        .send(&odd::request(&(0..spans).map(|id| span(&chance.random(), id, "a")).collect::<Vec<_>>()))
                        .unwrap();
                    sent += spans;
                    // What is paced has to wait.
                    thread::sleep(EVERY);
                }
                sent
            });
            let stopped = Stop(&stop);
            until_usual(&upstream);
            let came = replace(&sluice, next);
            assert_eq!(came["outcome"], "swapped", "{came}");
            spans.store(MANY, Ordering::Relaxed);
            let told = wait::until("the end of its probation", || sluice.log().find("plugin.probation"));
            drop(stopped);
            (told, sender.join().unwrap())
        });
        println!("{next:?}: {told}");
        assert_eq!(told["outcome"], outcome, "{told}");
        if outcome == "failed" {
            assert!(told["reason"].as_str().is_some_and(|reason| reason.contains("max_latency_ratio")), "{told}");
        }
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing(), upstream.spans()), (0, 0, sent), "{}", end.stderr);
    }
}
