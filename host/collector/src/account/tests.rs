//! The account adds up whenever it is read, and says so when it does not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use prometheus::Registry;

use super::{Account, Delivery, Entry, Keeper, Settled, Watch};

const SECOND: Duration = Duration::from_secs(1);

fn account() -> (Account, Registry) {
    let registry = Registry::new();
    (Account::new(&registry).unwrap(), registry)
}

/// What `sluice_account_missing_spans` shows for a destination, if it shows anything.
fn shown(registry: &Registry, destination: &str) -> Option<f64> {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == "sluice_account_missing_spans")?;
    let ours = family.get_metric().iter().find(|metric| {
        metric.get_label().iter().any(|label| (label.name(), label.value()) == ("destination", destination))
    })?;
    Some(ours.get_gauge().get_value())
}

#[test]
fn a_loss_is_shown_when_it_has_lasted_and_no_longer_than_it_lasts() {
    let (account, registry) = account();
    let destination = account.destination("traces", "otlp");
    let mut watch = Watch::new(account.clone());
    let start = Instant::now();
    destination.passed(10);
    watch.look(start, 30 * SECOND);
    // Three spans of ten are lost: upstream has got seven.
    destination.delivered(&Delivery { held: 10, delivered: 7, ..Delivery::default() });
    watch.look(start + SECOND, 30 * SECOND);
    watch.look(start + 30 * SECOND, 30 * SECOND);
    assert_eq!(shown(&registry, "otlp"), None, "29 seconds are not 30");
    watch.look(start + 31 * SECOND, 30 * SECOND);
    assert_eq!(shown(&registry, "otlp"), Some(3.0));
    // They turn up upstream.
    destination.delivered(&Delivery { delivered: 3, ..Delivery::default() });
    watch.look(start + 32 * SECOND, 30 * SECOND);
    assert_eq!(shown(&registry, "otlp"), Some(0.0));
}

#[test]
fn what_does_not_last_is_not_told() {
    let (account, registry) = account();
    let destination = account.destination("traces", "otlp");
    let mut watch = Watch::new(account.clone());
    let start = Instant::now();
    for round in 0..10 {
        destination.delivered(&Delivery { delivered: 1, ..Delivery::default() });
        watch.look(start + 40 * SECOND * round, 30 * SECOND);
        destination.passed(1);
        destination.delivered(&Delivery { held: 1, ..Delivery::default() });
        watch.look(start + 40 * SECOND * round + SECOND, 30 * SECOND);
    }
    assert_eq!(shown(&registry, "otlp"), None);
}

/// Ends those who go on until they are told to stop, also when the test fails.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn it_adds_up_at_every_moment_while_others_count() {
    let (account, registry) = account();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (account, stop) = (account.clone(), &stop);
            scope.spawn(move || {
                let (receiver, pipeline) = (account.receiver("otlp"), account.pipeline("traces"));
                let destination = account.destination("traces", "otlp");
                while !stop.load(Ordering::Relaxed) {
                    receiver.received(10);
                    destination.passed(7);
                    let dropped = vec![("filter", "plugin", 2)];
                    let quarantined = vec![("wasm", 1)];
                    pipeline.settled(&Settled { accepted: 10, passed: 7, dropped, quarantined });
                    receiver.answered(10, thread == 0);
                    destination.delivered(&Delivery { held: 7, delivered: 5, rejected: 2, by: Some("a"), again: true });
                    destination.passed(3);
                    destination.dropped("queue_full", 3);
                    destination.passed(4);
                    destination.not_kept(4);
                    destination.restored(2);
                    destination.failed("timeout", 2);
                }
            });
        }
        let _stop = Stop(&stop);
        let started = Instant::now();
        while started.elapsed() < SECOND / 2 {
            let report = account.report();
            assert!(report.iter().all(|entry| entry.missing() == 0), "{report:?}");
            registry.gather();
        }
    });
}

/// A process: its account, and what keeps it in this folder.
fn process(dir: &Path) -> (Account, Keeper) {
    let (account, _) = account();
    let keeper = Keeper::new(&account, Some(dir)).unwrap();
    (account, keeper)
}

/// received, accepted and held of the only receiver; passed, delivered and held of the only destination.
fn figures(account: &Account) -> [i64; 6] {
    let mut figures = [0; 6];
    for entry in account.report() {
        assert_eq!(entry.missing(), 0, "{entry:?}");
        match entry {
            Entry::Receiver { received, accepted, held, .. } => {
                figures[..3].copy_from_slice(&[received, accepted, held]);
            }
            Entry::Destination { passed, delivered, held, .. } => {
                figures[3..].copy_from_slice(&[passed, delivered, held]);
            }
            Entry::Pipeline { .. } => {}
        }
    }
    figures
}

/// Ten spans received, four of them answered; four passed, of which one is delivered.
fn count_some(account: &Account) {
    let (receiver, destination) = (account.receiver("otlp"), account.destination("traces", "otlp"));
    receiver.received(10);
    receiver.answered(4, true);
    destination.passed(4);
    destination.delivered(&Delivery { held: 1, delivered: 1, by: Some("a"), ..Delivery::default() });
}

#[test]
fn what_was_held_is_not_carried_on_after_a_kill_and_nothing_is_if_it_was_in_memory() {
    for (durable, carried) in [(true, [4, 4, 0, 1, 1, 0]), (false, [0; 6])] {
        let dir = tempfile::tempdir().unwrap();
        let (first, mut keeper) = process(dir.path());
        count_some(&first);
        keeper.turn(durable);
        assert_eq!(figures(&first), [10, 4, 6, 4, 1, 3]);
        drop(keeper);
        let (second, mut keeper) = process(dir.path());
        keeper.turn(true);
        assert_eq!(figures(&second), carried, "durable: {durable}");
    }
}

#[test]
fn two_processes_of_one_folder_add_up_when_the_first_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let ((first, mut ending), (second, mut starting)) = (process(dir.path()), process(dir.path()));
    ending.turn(false);
    starting.turn(false);
    count_some(&first);
    count_some(&second);
    starting.turn(false);
    assert_eq!(figures(&second), [10, 4, 6, 4, 1, 3], "the first one has it");
    first.receiver("otlp").answered(6, true);
    first.destination("traces", "otlp").failed("shutdown", 3);
    ending.end(false, false);
    starting.turn(false);
    assert_eq!(figures(&second), [20, 14, 6, 8, 2, 3]);
    let (third, mut keeper) = process(dir.path());
    starting.end(false, false);
    keeper.turn(false);
    assert_eq!(figures(&third), [14, 14, 0, 5, 2, 0], "what the second one held is gone with it");
}
