//! The log against a list: the same operations on both, the same answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;
use sluice_log::{Clock, Delivery, Log, Options};
use tempfile::tempdir;

use crate::steps::{append, eventually, take};

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Take,
    /// Acknowledge one of those in flight.
    Ack(prop::sample::Index),
    /// Give one back.
    Release(prop::sample::Index),
    Reopen,
    /// So many seconds go by.
    Wait(u64),
    /// Take the oldest one if it is older than so many seconds, and acknowledge it.
    Expire(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..3000_usize).prop_map(Step::Append),
        4 => Just(Step::Take),
        3 => any::<prop::sample::Index>().prop_map(Step::Ack),
        1 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => Just(Step::Reopen),
        2 => (1..40_u64).prop_map(Step::Wait),
        2 => (1..60_u64).prop_map(Step::Expire),
    ]
}

#[derive(Debug, Clone)]
struct Record {
    number: u64,
    length: usize,
    handed_out: u32,
    at: u64,
}

/// Some time of day, in nanoseconds.
const NOW: u64 = 1_700_000_000_000_000_000;

fn payload(record: &Record) -> Vec<u8> {
    (0..record.length).map(|at| (at as u64 * (record.number + 3)) as u8).collect()
}

proptest! {
    #![proptest_config(Config { cases: 250, failure_persistence: None, ..Config::default() })]

    #[test]
    fn it_behaves_like_a_list(
        steps in prop::collection::vec(step(), 1..60),
        zstd in any::<bool>(),
        read_ahead_bytes in 1..5000_u64,
    ) {
        let dir = tempdir().unwrap();
        let now = Arc::new(AtomicU64::new(NOW));
        let time = Arc::clone(&now);
        let clock = Clock::new(move || time.load(Ordering::SeqCst));
        let open = || Log::open(dir.path(), Options {
            clock: clock.clone(),
            fsync: false,
            segment_bytes: Some(12_000),
            sync_interval: Duration::ZERO,
            zstd_level: zstd.then_some(1),
            read_ahead_bytes,
            ..Options::default()
        }).unwrap();
        let mut log = open();
        let (mut waiting, mut in_flight) = (VecDeque::<Record>::new(), BTreeMap::<u64, (Record, Delivery)>::new());
        let (mut next, mut reopened) = (0, false);
        for step in steps {
            match step {
                Step::Append(length) => {
                    let record = Record { number: next, length, handed_out: 0, at: now.load(Ordering::SeqCst) };
                    prop_assert_eq!(append(&log, &payload(&record), length as u32), next);
                    waiting.push_back(record);
                    next += 1;
                }
                Step::Take => match waiting.pop_front() {
                    None => prop_assert!(log.try_take().is_none()),
                    Some(mut record) => {
                        let delivery = take(&log).expect("a record");
                        prop_assert_eq!(delivery.sequence(), record.number);
                        prop_assert_eq!(delivery.spans() as usize, record.length);
                        prop_assert!(delivery.payload().whole()[..] == payload(&record)[..]);
                        if reopened {
                            prop_assert!(delivery.earlier() >= record.handed_out.min(1));
                        } else {
                            prop_assert_eq!(delivery.earlier(), record.handed_out);
                        }
                        record.handed_out += 1;
                        in_flight.insert(record.number, (record, delivery));
                    }
                },
                Step::Ack(which) if !in_flight.is_empty() => {
                    let number = *which.get(&in_flight.keys().copied().collect::<Vec<_>>());
                    in_flight.remove(&number).unwrap().1.ack();
                }
                Step::Release(which) if !in_flight.is_empty() => {
                    let number = *which.get(&in_flight.keys().copied().collect::<Vec<_>>());
                    let (record, delivery) = in_flight.remove(&number).unwrap();
                    drop(delivery);
                    waiting.push_back(record);
                    waiting.make_contiguous().sort_by_key(|record| record.number);
                }
                Step::Ack(_) | Step::Release(_) => {}
                Step::Wait(seconds) => { now.fetch_add(seconds * 1_000_000_000, Ordering::SeqCst); }
                Step::Expire(seconds) => {
                    let (age, now) = (Duration::from_secs(seconds), now.load(Ordering::SeqCst));
                    if waiting.pop_front_if(|record| now - record.at > seconds * 1_000_000_000).is_none() {
                        prop_assert!(log.try_take_older(age).is_none());
                        continue;
                    }
                    let mut old = None;
                    eventually("the old one is there", || {
                        old = log.try_take_older(age);
                        old.is_some()
                    });
                    old.unwrap().ack();
                }
                Step::Reopen => {
                    log.close().unwrap();
                    for (record, delivery) in std::mem::take(&mut in_flight).into_values() {
                        // As a crash would: nobody gives it back.
                        std::mem::forget(delivery);
                        waiting.push_back(record);
                    }
                    waiting.make_contiguous().sort_by_key(|record| record.number);
                    log = open();
                    reopened = true;
                    prop_assert_eq!(log.recovered().records, waiting.len() as u64);
                    prop_assert_eq!(log.recovered().lost.records, 0);
                    prop_assert_eq!(log.recovered().spans, waiting.iter().map(|record| record.length as u64).sum::<u64>());
                }
            }
            prop_assert_eq!(log.figures().records, (waiting.len() + in_flight.len()) as u64);
            prop_assert_eq!(log.figures().in_flight, in_flight.len() as u64);
        }
    }
}
