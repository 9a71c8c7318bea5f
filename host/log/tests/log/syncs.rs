//! When records are synced, and who is woken for it. The interval between syncs is so long here that whatever
//! waits for it is never seen to happen.

use std::time::Duration;

use sluice_log::{Log, Options, Outcome, Ticket, inspect};
use tempfile::tempdir;

use crate::steps::{PATIENCE, SOON, append, current_thread, eventually, take};

const ENOUGH: u64 = 1000;

fn seldom() -> Options {
    Options { sync_interval: Duration::from_hours(1), sync_bytes: ENOUGH, ..Options::default() }
}

fn commit(log: &Log, length: usize) -> Ticket {
    log.reserve(length).unwrap().commit(vec![7; length].into(), 1)
}

/// Whether it is safe within this time.
fn is_safe(ticket: &mut Ticket, time: Duration) -> bool {
    let told = current_thread().block_on(async { tokio::time::timeout(time, ticket).await });
    told.is_ok_and(|told| matches!(told.unwrap(), Outcome::Appended { .. }))
}

#[test]
fn with_half_the_bytes_a_sync_begins_at_once_when_all_of_the_last_one_are_back() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), seldom()).unwrap();
    // With its header of 56 bytes each has more than half of what is enough.
    for _ in 0..3 {
        assert!(is_safe(&mut commit(&log, 600), PATIENCE));
    }
    // Half of what is enough is not there, so what is waits; with this one everything is.
    let (mut little, mut rest) = (commit(&log, 200), commit(&log, 700));
    assert!(is_safe(&mut rest, PATIENCE) && is_safe(&mut little, PATIENCE));
    assert_eq!(log.figures().counts.syncs, 4);
    // Two were in the last one, so this one waits for another, however small.
    let mut first = commit(&log, 600);
    assert!(!is_safe(&mut first, SOON));
    let mut second = commit(&log, 1);
    assert!(is_safe(&mut second, PATIENCE) && is_safe(&mut first, PATIENCE));
    assert_eq!(log.figures().counts.syncs, 5);
}

#[test]
fn what_is_not_enough_waits_and_is_written_when_the_log_is_closed() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), seldom()).unwrap();
    assert!(is_safe(&mut commit(&log, 1), PATIENCE), "nothing was synced before it");
    let mut waits = commit(&log, 100);
    assert!(!is_safe(&mut waits, SOON));
    log.close().unwrap();
    assert!(is_safe(&mut waits, Duration::ZERO));
}

#[test]
fn a_log_that_sleeps_is_woken_by_an_acknowledgement() {
    let dir = tempdir().unwrap();
    // Without syncs there is nothing that it would wake for by itself when it has written its cursor.
    let log = Log::open(dir.path(), Options { fsync: false, ..Options::default() }).unwrap();
    let waiting = || inspect(dir.path()).unwrap().segments.iter().map(|segment| segment.waiting_records).sum::<u64>();
    for _ in 0..20 {
        append(&log, b"one", 1);
        let delivery = take(&log).unwrap();
        assert_eq!(waiting(), 1);
        delivery.ack();
        eventually("the cursor tells of it", || waiting() == 0);
    }
}
