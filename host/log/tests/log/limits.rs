//! Quotas in bytes and in age, and what happens at them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluice_log::{Clock, Delivery, Log, OnFull, Options, Outcome, ReserveError};
use tempfile::tempdir;

use crate::steps::{PATIENCE, append, current_thread, drain, eventually, take, try_append};

const MAX: u64 = 128 << 10;
const RECORD: usize = 2000;

fn options(on_full: OnFull) -> Options {
    let segment_bytes = Some(16 << 10);
    Options { max_bytes: MAX, on_full, segment_bytes, sync_interval: Duration::ZERO, ..Options::default() }
}

fn segment_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "seg"))
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

/// Appends until the log is full.
fn fill(log: &Log) -> u32 {
    let mut count: u32 = 0;
    while log.reserve(RECORD).is_ok() {
        append(log, &vec![count as u8; RECORD], 3);
        count += 1;
    }
    count
}

#[test]
fn a_full_log_refuses_until_there_is_room() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), options(OnFull::Refuse)).unwrap();
    let count = fill(&log);
    // Five records and a header of 4096 bytes make a segment of 14,376 bytes, of which nine fit.
    assert!((8 * 5..=9 * 5).contains(&count), "{count}");
    assert!(segment_bytes(dir.path()) <= MAX);
    let error = log.reserve(RECORD).unwrap_err();
    assert!(matches!(&error, ReserveError::Full { max: MAX, .. }), "{error}");
    assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
    for _ in 0..14 {
        take(&log).unwrap().ack();
    }
    eventually("there is room", || log.reserve(RECORD).is_ok());
    append(&log, &[0; RECORD], 3);
}

#[test]
fn whoever_waits_for_room_is_woken_when_it_is_there() {
    let dir = tempdir().unwrap();
    let log = Arc::new(Log::open(dir.path(), options(OnFull::Refuse)).unwrap());
    let count = fill(&log);
    let waiting = {
        let log = log.clone();
        std::thread::spawn(move || {
            let reserve = log.reserve_when_free(RECORD);
            current_thread().block_on(async { tokio::time::timeout(PATIENCE, reserve).await.unwrap().unwrap() })
        })
    };
    for _ in 0..count {
        take(&log).unwrap().ack();
    }
    waiting.join().unwrap().commit(vec![9; RECORD].into(), 1).wait().unwrap();
}

#[test]
fn what_is_reserved_counts_and_what_is_released_does_not() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), options(OnFull::Refuse)).unwrap();
    let mut held = Vec::new();
    while let Ok(reservation) = log.reserve(RECORD) {
        held.push(reservation);
    }
    // The quota less a segment's header, by records with theirs.
    assert_eq!(held.len() as u64, (MAX - 4096) / (RECORD as u64 + 56));
    assert_eq!(log.figures().waiting_bytes, held.len() as u64 * (RECORD as u64 + 56));
    drop(held);
    assert_eq!(log.figures().waiting_bytes, 0);
    assert_eq!(append(&log, &[1; RECORD], 1), 0);
}

#[test]
fn several_records_find_room_together_or_none_of_them_does() {
    const LENGTHS: [usize; 4] = [RECORD, RECORD, RECORD, 3];
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), options(OnFull::Refuse)).unwrap();
    let reserved = log.reserve_all(&LENGTHS).unwrap();
    assert_eq!(log.figures().waiting_bytes, 3 * RECORD as u64 + 3 + 4 * 56);
    // What an empty log takes.
    let most = (MAX - 2 * 4096) as usize / (RECORD + 56);
    assert!(matches!(log.reserve_all(&vec![RECORD; most]), Err(ReserveError::Full { .. })));
    assert_eq!(log.figures().waiting_bytes, 3 * RECORD as u64 + 3 + 4 * 56);
    assert!(matches!(log.reserve_all(&[MAX as usize / 2; 2]), Err(ReserveError::TooLarge { .. })));
    assert!(log.reserve_all(&[]).unwrap().is_empty());
    for (reserved, length) in reserved.into_iter().zip(LENGTHS) {
        reserved.commit(vec![1; length].into(), 1).wait().unwrap();
    }
    let lengths: Vec<usize> = drain(&log).iter().map(Vec::len).collect();
    assert_eq!(lengths, LENGTHS);
}

#[test]
fn a_disk_that_does_not_keep_up_is_no_reason_to_fill_memory() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), Options { max_waiting_bytes: 5000, ..options(OnFull::Refuse) }).unwrap();
    let first = log.reserve(RECORD).unwrap();
    let _second = log.reserve(RECORD).unwrap();
    assert!(matches!(log.reserve(RECORD), Err(ReserveError::Behind { waiting: 4112, .. })));
    drop(first);
    log.reserve(RECORD).unwrap();
}

#[test]
fn drop_oldest_keeps_the_newest_and_counts_the_rest() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), options(OnFull::DropOldest)).unwrap();
    let in_flight = {
        append(&log, &[255; RECORD], 3);
        take(&log).unwrap()
    };
    for n in 0..200_u8 {
        append(&log, &[n; RECORD], 3);
        assert!(segment_bytes(dir.path()) <= MAX);
    }
    let figures = log.figures();
    assert_eq!(figures.counts.dropped_oldest_spans + figures.spans, 201 * 3);
    assert_eq!(figures.counts.dropped_newest_spans, 0);
    // What is in flight is not dropped, nor what shares its segment.
    in_flight.ack();
    let left: Vec<u8> = drain(&log).iter().map(|bytes| bytes[0]).collect();
    let (oldest, rest) = left.split_at(4);
    assert_eq!(oldest, [0, 1, 2, 3]);
    assert!(rest.len() >= 24 && rest.is_sorted() && *rest.last().unwrap() == 199, "{rest:?}");
    assert_eq!(rest.len(), usize::from(199 - rest[0]) + 1, "the newest without a gap");
    log.close().unwrap();
    let log = Log::open(dir.path(), options(OnFull::DropOldest)).unwrap();
    assert_eq!((log.recovered().records, log.recovered().lost.records), (0, 0));
}

#[test]
fn what_was_dropped_is_not_there_after_a_restart_and_not_lost() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), options(OnFull::DropOldest)).unwrap();
    for n in 0..150_u8 {
        append(&log, &[n; RECORD], 3);
    }
    let spans = log.figures().spans;
    log.close().unwrap();
    let log = Log::open(dir.path(), options(OnFull::DropOldest)).unwrap();
    assert_eq!((log.recovered().spans, log.recovered().lost.records), (spans, 0));
}

#[test]
fn the_largest_record_fits_into_an_empty_log_that_was_used_before() {
    // The quota less two segment headers and the record's own.
    const LARGEST: usize = MAX as usize - 2 * 4096 - 56;
    for on_full in [OnFull::Refuse, OnFull::DropNewest, OnFull::DropOldest] {
        let dir = tempdir().unwrap();
        let log = Log::open(dir.path(), options(on_full)).unwrap();
        append(&log, b"small", 1);
        take(&log).unwrap().ack();
        eventually("it fits", || {
            let reserved = log.reserve(LARGEST);
            reserved
                .is_ok_and(|reserved| reserved.commit(vec![1; LARGEST].into(), 1).wait().unwrap() != Outcome::Dropped)
        });
        assert!(segment_bytes(dir.path()) <= MAX);
        let error = log.reserve(LARGEST + 1).unwrap_err();
        assert_eq!(error.to_string().split(" is larger").next(), Some("a record of 122825 bytes"), "{error}");
    }
}

#[test]
fn drop_newest_drops_what_comes_and_says_so() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), options(OnFull::DropNewest)).unwrap();
    let mut kept: u64 = 0;
    for n in 0..100_u8 {
        kept += u64::from(try_append(&log, &[n; RECORD], 3).unwrap() != Outcome::Dropped);
    }
    let figures = log.figures();
    assert_eq!((figures.records, figures.spans, figures.waiting_bytes), (kept, 3 * kept, 0));
    assert_eq!(figures.counts.dropped_newest_spans, 3 * (100 - kept));
    assert!((40..=45).contains(&kept), "{kept}");
    assert!(segment_bytes(dir.path()) <= MAX);
    let left: Vec<u8> = drain(&log).iter().map(|bytes| bytes[0]).collect();
    assert_eq!(left, (0..kept as u8).collect::<Vec<_>>());
}

#[test]
fn what_is_too_old_is_told_from_what_is_not() {
    let dir = tempdir().unwrap();
    let now = Arc::new(AtomicU64::new(1_000_000_000_000));
    let clock = Clock::new({
        let now = now.clone();
        move || now.load(Ordering::SeqCst)
    });
    // Nearly nothing is read ahead: most of it becomes old on disk.
    let log = Log::open(dir.path(), Options { clock, read_ahead_bytes: 1, ..options(OnFull::Refuse) }).unwrap();
    for n in 0..10_u8 {
        append(&log, &[n], 2);
    }
    now.fetch_add(50_000_000_000, Ordering::SeqCst);
    for n in 10..13_u8 {
        append(&log, &[n], 2);
    }
    now.fetch_add(11_000_000_000, Ordering::SeqCst);
    let mut old = Vec::new();
    eventually("the old ones are found", || {
        old.extend(log.try_take_older(Duration::from_mins(1)));
        old.len() == 10
    });
    assert!(log.try_take_older(Duration::from_mins(1)).is_none());
    assert!(old.iter().zip(0..).all(|(delivery, n)| delivery.payload().whole()[0] == n));
    old.into_iter().for_each(Delivery::ack);
    let left: Vec<u8> = drain(&log).iter().map(|bytes| bytes[0]).collect();
    assert_eq!(left, [10, 11, 12]);
    assert_eq!(log.figures().records, 0);
}
