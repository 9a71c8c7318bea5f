//! While a version is on probation, what it fails on is done by the one before.

use std::collections::HashMap;
use std::fs;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::send::http;
use sluice_tests::sink::Sink;
use sluice_tests::{send, wait};

use super::{ONE, PLUGIN, TWO, marks, replace, span, start, start_with};
use crate::full_use::Others;
use crate::guests::{self, Fails, Version};
use crate::odd;

/// A collector in which version two serves, which fails so, and is not rolled back for it.
fn with_version_two(upstream: &Sink, fails: Fails, rollout: &str) -> Sluice {
    swapped(upstream, [ONE, Version { fails, ..TWO }], rollout, "20ms")
}

/// The same with these versions, and this time for a call.
fn swapped(upstream: &Sink, [one, two]: [Version; 2], rollout: &str, timeout: &str) -> Sluice {
    let rollout = format!("max_failure_ratio: 1, max_latency_ratio: 1000000{rollout}");
    let sluice = start_with(one, upstream, &rollout, timeout);
    let came = replace(&sluice, two);
    assert_eq!(came["outcome"], "swapped", "{came}");
    sluice
}

/// A request of so many spans, of which one has this name.
fn request(chance: &mut StdRng, spans: u64, at: u64, name: &str) -> Bytes {
    odd::request(
        &(0..spans).map(|id| span(&chance.random(), id, if id == at { name } else { "a" })).collect::<Vec<_>>(),
    )
}

/// The marks of a request that has to be taken.
fn marks_of(sluice: &Sluice, upstream: &Sink, request: &Bytes, left: u64) -> HashMap<String, usize> {
    upstream.take();
    let before = upstream.spans();
    send::Grpc::new(sluice.grpc()).unwrap().send(request).unwrap();
    upstream.wait_for_spans(before + left);
    marks(&upstream.decoded_spans())
}

fn all(mark: &str, spans: usize) -> HashMap<String, usize> {
    HashMap::from([(mark.to_owned(), spans)])
}

fn failures(sluice: &Sluice, version: &str) -> f64 {
    sluice.metrics().sum("sluice_plugin_failures_total", &[("plugin", PLUGIN), ("version", version)])
}

/// Lets the cores of a collector have the CPU only if nobody else wants it, or hardly more: by `sched(7)`, one part in
/// 69 of what others have.
fn give_way(sluice: &Sluice) {
    let mut cores = 0;
    for thread in fs::read_dir(format!("/proc/{}/task", sluice.pid())).unwrap() {
        let thread = thread.unwrap();
        if fs::read_to_string(thread.path().join("comm")).unwrap().starts_with("core-") {
            let id = thread.file_name().to_str().unwrap().parse().unwrap();
            // SAFETY: a plain system call; nothing but that thread's priority changes.
            assert_eq!(unsafe { libc::setpriority(libc::PRIO_PROCESS, id, 19) }, 0);
            cores += 1;
        }
    }
    assert!(cores > 0, "threads of cores have that name");
}

#[test]
fn what_traps_on_probation_is_done_by_the_version_before() {
    let upstream = Sink::start();
    let sluice = with_version_two(&upstream, Fails::Traps, "");
    let mut chance = StdRng::seed_from_u64(11);
    let good = request(&mut chance, 30, 0, "a");
    assert_eq!(marks_of(&sluice, &upstream, &good, 30), all("two", 30));
    // All of the request, and nothing of it twice.
    let bad = request(&mut chance, 30, 17, "bad");
    assert_eq!(marks_of(&sluice, &upstream, &bad, 30), all("one", 30));
    assert_eq!((failures(&sluice, "two"), failures(&sluice, "one")), (1.0, 0.0));
    assert_eq!(marks_of(&sluice, &upstream, &good, 30), all("two", 30), "a trap is no reason not to be called");
    // A slice has 512 spans: a request is one version's from its first to its last.
    let large = request(&mut chance, 1_200, 3, "bad");
    assert_eq!(marks_of(&sluice, &upstream, &large, 1_200), all("one", 1_200));
    // It has begun with version two: there the search for the bad span goes on, and it is dropped.
    let late = request(&mut chance, 1_200, 700, "bad");
    assert_eq!(marks_of(&sluice, &upstream, &late, 1_199), all("two", 1_199));
    assert_eq!(sluice.log().events("plugin.standby").len(), 1, "it is told once");
    let (sent, metrics) = (30.0 * 3.0 + 2.0 * 1_200.0, sluice.metrics());
    for name in ["sluice_plugin_custom_rollout_seen", "sluice_plugin_custom_rollout_kept"] {
        assert_eq!(metrics.sum(name, &[("plugin", PLUGIN)]), sent - 1.0, "{name}: calls that failed count nothing");
    }
    assert_eq!(metrics.sum("sluice_plugin_breaker_state", &[("plugin", PLUGIN)]), 0.0);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), end.account.dropped_by(PLUGIN)), (0, 0, 1), "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "refused"), 0);
}

#[test]
fn after_a_timeout_the_version_before_does_everything_until_the_new_one_has_proved_itself() {
    let upstream = Sink::start();
    let sluice = with_version_two(&upstream, Fails::Spins, "");
    let mut chance = StdRng::seed_from_u64(12);
    let good = request(&mut chance, 30, 0, "a");
    let bad = request(&mut chance, 30, 17, "bad");
    assert_eq!(marks_of(&sluice, &upstream, &good, 30), all("two", 30));
    assert_eq!(marks_of(&sluice, &upstream, &bad, 30), all("one", 30));
    // It does what it does not fail on, too; meanwhile version two is tried with copies, and fails on them.
    let again = || {
        assert_eq!(marks_of(&sluice, &upstream, &bad, 30), all("one", 30));
        (failures(&sluice, "two") >= 3.0).then_some(())
    };
    wait::until("version two to fail on copies", again);
    assert_eq!(marks_of(&sluice, &upstream, &good, 30), all("one", 30));
    // A second without a failure, and it serves.
    wait::until("version two", || (marks_of(&sluice, &upstream, &good, 30) == all("two", 30)).then_some(()));
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), end.account.dropped_by(PLUGIN)), (0, 0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "refused"), 0);
}

/// A version two that fails so has replaced version one that fails so; its calls take some 15 ms of their 100, and much
/// longer by the clock on the wall as others have the CPU.
fn late(upstream: &Sink, [one, two]: [Fails; 2]) -> (Sluice, Others) {
    let versions = [Version { fails: one, ..ONE }, Version { burns: 50, fails: two, ..TWO }];
    let sluice = swapped(upstream, versions, "", "100ms");
    let good = request(&mut StdRng::seed_from_u64(15), 30, 0, "a");
    assert_eq!(marks_of(&sluice, upstream, &good, 30), all("two", 30));
    give_way(&sluice);
    (sluice, Others::start())
}

#[test]
fn what_others_keep_from_the_cpu_is_done_by_the_version_before_and_is_no_failure() {
    let upstream = Sink::start();
    let (sluice, others) = late(&upstream, [Fails::Never, Fails::Spins]);
    let mut chance = StdRng::seed_from_u64(16);
    let (good, bad) = (request(&mut chance, 30, 0, "a"), request(&mut chance, 30, 17, "bad"));
    // The system takes a while to give each CPU its share of them.
    wait::until("version one", || (marks_of(&sluice, &upstream, &good, 30) == all("one", 30)).then_some(()));
    assert_eq!(failures(&sluice, "two"), 0.0);
    // What it really fails on is found out with copies.
    let fails = || {
        assert_eq!(marks_of(&sluice, &upstream, &bad, 30), all("one", 30));
        (failures(&sluice, "two") > 0.0).then_some(())
    };
    wait::until("version two to fail on copies", fails);
    drop(others);
    wait::until("version two", || (marks_of(&sluice, &upstream, &good, 30) == all("two", 30)).then_some(()));
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), end.account.dropped_by(PLUGIN)), (0, 0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "refused"), 0);
}

#[test]
fn what_a_version_was_late_with_it_is_tried_with() {
    let upstream = Sink::start();
    let (sluice, others) = late(&upstream, [Fails::Never, Fails::Spins]);
    let bad = request(&mut StdRng::seed_from_u64(18), 30, 17, "bad");
    assert_eq!(marks_of(&sluice, &upstream, &bad, 30), all("one", 30));
    // Nothing else comes.
    wait::until("version two to fail", || (failures(&sluice, "two") > 0.0).then_some(()));
    drop(others);
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn a_request_is_the_version_s_before_from_its_first_slice_to_its_last() {
    let upstream = Sink::start();
    let versions = [Version { fails: Fails::Traps, ..ONE }, Version { fails: Fails::Spins, ..TWO }];
    let sluice = swapped(&upstream, versions, "", "20ms");
    let mut chance = StdRng::seed_from_u64(19);
    let bad = request(&mut chance, 30, 17, "bad");
    // A slice has 512 spans: version one does the first, and fails in the second.
    let large = request(&mut chance, 1_200, 700, "bad");
    let begun = || {
        // Version two does not come back from it, and version one cannot help: the bad span is searched for.
        assert_eq!(marks_of(&sluice, &upstream, &bad, 29), all("two", 29));
        // Unless more than a second has passed since, version two is not called.
        let marks = marks_of(&sluice, &upstream, &large, 1_199);
        assert_eq!(marks.len(), 1, "{marks:?}");
        (marks == all("one", 1_199)).then_some(())
    };
    wait::until("a request that version one begins", begun);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn who_is_late_gets_its_time_if_even_the_version_before_fails() {
    let upstream = Sink::start();
    let (sluice, others) = late(&upstream, [Fails::Traps, Fails::Never]);
    let bad = request(&mut StdRng::seed_from_u64(17), 30, 17, "bad");
    let relieved = || {
        assert_eq!(marks_of(&sluice, &upstream, &bad, 30), all("two", 30));
        (!sluice.log().events("plugin.standby").is_empty()).then_some(())
    };
    wait::until("version one to be asked", relieved);
    drop(others);
    assert_eq!(failures(&sluice, "two"), 0.0);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), end.account.dropped_by(PLUGIN)), (0, 0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "refused"), 0);
}

#[test]
fn after_its_probation_a_version_answers_for_itself() {
    let upstream = Sink::start();
    let sluice = with_version_two(&upstream, Fails::Traps, ", probation: 1s");
    wait::until("the end of its probation", || sluice.log().find("plugin.probation"));
    let bad = request(&mut StdRng::seed_from_u64(13), 30, 17, "bad");
    let taken = || (marks_of(&sluice, &upstream, &bad, 29) == all("two", 29)).then_some(());
    wait::until("the version before to be let go", taken);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert!(end.account.dropped_by(PLUGIN) >= 1);
}

#[test]
fn what_was_configured_otherwise_does_not_stand_by() {
    // Another module is what a new version is; with other settings, what the version before would do is not what
    // is wanted now.
    for (other, stands_by) in [("module: two.wasm", true), ("module: two.wasm\n    on_poison: drop", false)] {
        let upstream = Sink::start();
        let sluice = start(&upstream, "max_failure_ratio: 1");
        let mut chance = StdRng::seed_from_u64(14);
        let good = request(&mut chance, 30, 0, "a");
        assert_eq!(marks_of(&sluice, &upstream, &good, 30), all("one", 30));
        let (seen, folder) = (sluice.swaps(PLUGIN).len(), sluice.folder());
        folder.write("two.wasm", guests::rollout(Version { fails: Fails::Traps, ..TWO }));
        let config = fs::read_to_string(folder.config()).unwrap();
        fs::write(folder.config(), config.replace("module: rollout.wasm", other)).unwrap();
        let came = sluice.wait_swap(PLUGIN, seen);
        assert_eq!(came["outcome"], "swapped", "{came}");
        let bad = request(&mut chance, 30, 17, "bad");
        let expected = if stands_by { all("one", 30) } else { all("two", 29) };
        assert_eq!(marks_of(&sluice, &upstream, &bad, if stands_by { 30 } else { 29 }), expected, "{other}");
        assert_eq!(sluice.log().events("plugin.standby").len(), usize::from(stands_by));
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
        assert_eq!(end.account.dropped_by(PLUGIN), i64::from(!stands_by));
    }
}

#[test]
fn the_breaker_of_a_version_that_stands_by_is_not_shown_and_holds_nobody() {
    let upstream = Sink::start();
    // It is probed some ten times before the probation of the next version is over.
    let settings = "module: rollout.wasm\nrollout: { probation: 2s }\n\
        restart: { initial_interval: 200ms, max_interval: 200ms, budget: 0 }";
    let config = Config::to(&upstream).extension("health_check", "endpoint: '127.0.0.1:0'").processor(PLUGIN, settings);
    let folder = Folder::new(&config.yaml());
    folder.write("rollout.wasm", guests::rollout(Version { fails: Fails::Traps, ..ONE }));
    let sluice = Sluice::start_in(folder);
    let health = || http::get(sluice.address("health_check", ""), "/ready").unwrap().status.as_u16();
    let breaker = || sluice.metrics().sum("sluice_plugin_breaker_state", &[("plugin", PLUGIN)]) as u8;
    // A whole request of spans that it fails on opens its breaker.
    let mut chance = StdRng::seed_from_u64(15);
    let bad = odd::request(&(0..30).map(|id| span(&chance.random(), id, "bad")).collect::<Vec<_>>());
    let client = send::Grpc::new(sluice.grpc()).unwrap();
    wait::until("its breaker to open", || {
        // What is turned away is what it is probed with.
        let refused = client.send(&bad).is_err();
        (refused && breaker() == 2 && health() == 503).then_some(())
    });
    sluice.folder().write("rollout.wasm", guests::rollout(TWO));
    let came = wait::until("version two", || {
        // Else a probe with nothing would close it.
        let _ = client.send(&bad);
        sluice.swaps(PLUGIN).into_iter().nth(1)
    });
    assert_eq!(came["outcome"], "swapped", "{came}");
    let logged = sluice.log().count();
    let mut looks = 0;
    wait::until("the end of the probation", || {
        client.send(&bad).unwrap();
        assert_eq!((breaker(), health()), (0, 200), "after {looks} looks");
        looks += 1;
        sluice.log().find("plugin.probation")
    });
    println!("{looks} looks");
    assert!(sluice.log().events_after(logged, "plugin.breaker").is_empty(), "{}", sluice.log().text());
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    let marks = marks(&upstream.decoded_spans());
    assert_eq!(marks.keys().collect::<Vec<_>>(), ["two"], "{marks:?}");
}
