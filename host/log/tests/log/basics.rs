//! Append, take, acknowledge, open again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use sluice_log::{AppendError, Log, OpenError, Options, Payload, Ready, ReserveError, inspect};
use tempfile::tempdir;

use crate::steps::{PATIENCE, SOON, append, current_thread, drain, take};

#[test]
fn records_come_out_in_order_with_what_went_in() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), Options::default()).unwrap();
    for n in 0..100_u32 {
        assert_eq!(append(&log, &n.to_be_bytes(), n), u64::from(n));
    }
    for n in 0..100_u32 {
        let delivery = take(&log).unwrap();
        assert_eq!(
            (delivery.sequence(), delivery.spans(), &delivery.payload().whole()[..]),
            (u64::from(n), n, &n.to_be_bytes()[..])
        );
        assert_eq!(delivery.earlier(), 0);
        delivery.ack();
    }
    assert_eq!(log.figures().records, 0);
    assert_eq!(log.figures().counts.acked_spans, (0..100).sum::<u64>());
}

#[test]
fn what_was_not_acknowledged_comes_again_and_says_so() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), Options::default()).unwrap();
    for n in 0..40_u8 {
        append(&log, &[n], 1);
    }
    let taken: Vec<_> = (0..10).map(|_| take(&log).unwrap()).collect();
    // Acknowledged out of order; the others stay in flight over the end.
    for delivery in taken {
        if delivery.sequence() % 2 == 1 {
            delivery.ack();
        } else {
            std::mem::forget(delivery);
        }
    }
    log.close().unwrap();
    let log = Log::open(dir.path(), Options::default()).unwrap();
    assert_eq!((log.recovered().records, log.recovered().spans), (35, 35));
    let expected = [0, 2, 4, 6, 8].into_iter().chain(10..40_u8);
    for n in expected {
        let delivery = take(&log).unwrap();
        assert_eq!(&delivery.payload().whole()[..], [n]);
        assert_eq!(delivery.earlier(), u32::from(n < 10), "record {n}");
        delivery.ack();
    }
    assert!(log.try_take().is_none());
}

#[test]
fn a_delivery_that_is_dropped_is_taken_again_before_later_ones() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), Options::default()).unwrap();
    append(&log, b"first", 1);
    append(&log, b"second", 1);
    drop(take(&log).unwrap());
    let again = take(&log).unwrap();
    assert_eq!((&again.payload().whole()[..], again.earlier()), (&b"first"[..], 1));
    assert_eq!(&take(&log).unwrap().payload().whole()[..], b"second");
}

#[test]
fn tasks_of_several_runtimes_append_and_take_at_once() {
    let dir = tempdir().unwrap();
    let options = Options { read_ahead_bytes: 2000, segment_bytes: Some(16 << 10), ..Options::default() };
    let log = Arc::new(Log::open(dir.path(), options).unwrap());
    let senders: Vec<_> = (0..4_u32)
        .map(|sender| {
            let log = log.clone();
            std::thread::spawn(move || {
                current_thread().block_on(async {
                    for n in 0..50_u32 {
                        let mut payload = vec![7; 300];
                        payload[..4].copy_from_slice(&(sender * 50 + n).to_be_bytes());
                        let reservation = log.reserve_when_free(payload.len()).await.unwrap();
                        reservation.commit(payload.into(), 2).await.unwrap();
                    }
                });
            })
        })
        .collect();
    let taken = Arc::new(AtomicUsize::new(0));
    let takers: Vec<_> = (0..2)
        .map(|_| {
            let (log, taken) = (log.clone(), taken.clone());
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                current_thread().block_on(async {
                    let began = Instant::now();
                    // The other one may take the last.
                    while taken.load(Ordering::SeqCst) < 200 && began.elapsed() < PATIENCE {
                        let look = tokio::time::timeout(SOON, log.take()).await;
                        let Some(delivery) = look.ok().flatten() else { continue };
                        taken.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(delivery.payload().len(), 300);
                        seen.push(u32::from_be_bytes(delivery.payload().whole()[..4].try_into().unwrap()));
                        delivery.ack();
                    }
                });
                seen
            })
        })
        .collect();
    for thread in senders {
        thread.join().unwrap();
    }
    let mut seen: Vec<u32> = takers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
    assert_eq!(log.figures().counts.appended_spans, 400);
}

#[test]
fn space_is_given_back_as_it_drains() {
    let dir = tempdir().unwrap();
    let options = || Options { segment_bytes: Some(16 << 10), ..Options::default() };
    let log = Log::open(dir.path(), options()).unwrap();
    for _ in 0..100 {
        append(&log, &[1; 2000], 1);
    }
    assert!(inspect(dir.path()).unwrap().segments.len() > 15);
    assert_eq!(drain(&log).len(), 100);
    log.close().unwrap();
    assert!(inspect(dir.path()).unwrap().segments.len() <= 1);
    let log = Log::open(dir.path(), options()).unwrap();
    assert_eq!((log.recovered().records, append(&log, b"next", 1)), (0, 100));
}

#[test]
fn one_stuck_record_does_not_keep_the_space_of_the_others() {
    let dir = tempdir().unwrap();
    let options = || Options { segment_bytes: Some(16 << 10), ..Options::default() };
    let log = Log::open(dir.path(), options()).unwrap();
    append(&log, b"stuck", 3);
    let stuck = take(&log).unwrap();
    for _ in 0..100 {
        append(&log, &[1; 2000], 1);
        take(&log).unwrap().ack();
    }
    std::mem::forget(stuck);
    log.close().unwrap();
    let found = inspect(dir.path()).unwrap();
    assert!(found.segments.len() <= 2 && found.is_sound(), "{found:?}");
    let log = Log::open(dir.path(), options()).unwrap();
    assert_eq!((log.recovered().records, log.recovered().spans, log.recovered().lost.records), (1, 3, 0));
}

#[test]
fn more_holes_than_the_cursor_has_room_for_repeat_and_lose_nothing() {
    // A slot of 16,384 bytes has room for this many ranges of 24 bytes behind its 80.
    const RANGES: u64 = (16_384 - 80) / 24;
    const RECORDS: u64 = 2000;
    let dir = tempdir().unwrap();
    let options = || Options { fsync: false, ..Options::default() };
    let log = Log::open(dir.path(), options()).unwrap();
    for n in 0..RECORDS {
        append(&log, &n.to_be_bytes(), 1);
    }
    for _ in 0..RECORDS {
        let delivery = take(&log).unwrap();
        if delivery.sequence() % 2 == 1 {
            delivery.ack();
        } else {
            std::mem::forget(delivery);
        }
    }
    log.close().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    assert_eq!((log.recovered().records, log.recovered().lost.records), (RECORDS - RANGES, 0));
    let left: Vec<u64> = drain(&log).iter().map(|bytes| u64::from_be_bytes(bytes[..].try_into().unwrap())).collect();
    let expected: Vec<u64> = (0..RECORDS).filter(|n| n % 2 == 0 || *n > 2 * RANGES).collect();
    assert!(left == expected, "{left:?}");
}

#[test]
fn a_second_opener_is_refused_until_the_first_has_closed() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), Options::default()).unwrap();
    let error = Log::open(dir.path(), Options::default()).unwrap_err();
    assert!(matches!(&error, OpenError::InUse { .. }));
    assert!(error.to_string().contains("is in use by another process; stop that one"), "{error}");
    log.close().unwrap();
    Log::open(dir.path(), Options::default()).unwrap();
}

#[test]
fn compressed_records_are_smaller_and_the_same() {
    let dir = tempdir().unwrap();
    let text = b"spans are much alike; ".repeat(1000);
    let log =
        Log::open(dir.path(), Options { zstd_level: Some(1), read_ahead_bytes: 1, ..Options::default() }).unwrap();
    append(&log, b"x", 1);
    append(&log, &text, 9);
    assert!(log.figures().disk_bytes < 6000);
    log.close().unwrap();
    let found = &inspect(dir.path()).unwrap().segments[0];
    assert_eq!((found.records, found.compressed_records, found.plain_bytes), (2, 1, 1 + text.len() as u64));
    // Without the option they can be read as well.
    let log = Log::open(dir.path(), Options::default()).unwrap();
    let first = take(&log).unwrap();
    assert_eq!(&first.payload().whole()[..], b"x");
    assert!(take(&log).unwrap().payload().whole()[..] == text[..]);
}

#[test]
fn wrong_use_is_an_error() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), Options::default()).unwrap();
    let ticket = log.reserve(3).unwrap().commit(Bytes::from_static(b"four").into(), 1);
    assert!(matches!(ticket.wait(), Err(AppendError::LargerThanReserved { length: 4, reserved: 3 })));
    assert!(matches!(log.reserve(64 << 20), Err(ReserveError::TooLarge { .. })));
    let late = log.reserve(3).unwrap();
    log.close().unwrap();
    assert!(matches!(late.commit(Bytes::from_static(b"abc").into(), 1).wait(), Err(AppendError::Closed)));
    assert!(matches!(log.reserve(3), Err(ReserveError::Closed { .. })));
    assert!(current_thread().block_on(log.take()).is_none());
    assert_eq!(log.figures().waiting_bytes, 0);
    assert!(Log::open(dir.path(), Options { max_bytes: 1, ..Options::default() }).is_err());
}

/// The letter that a payload begins with; `-` is no group.
fn letter(payload: &[u8]) -> Option<&[u8]> {
    payload.get(..1).filter(|letter| *letter != b"-")
}

#[test]
fn what_is_left_is_told_by_group_and_what_is_done_is_not() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), Options::default()).unwrap();
    assert_eq!(log.ready(), Ready::default());
    for (payload, spans) in [("a1", 1), ("b1", 10), ("a2", 100), ("-", 1000), ("b2", 10_000)] {
        append(&log, payload.as_bytes(), spans);
    }
    assert_eq!(log.ready(), Ready { records: 5, spans: 11_111, bytes: 9 });
    take(&log).unwrap().ack();
    assert_eq!(log.ready(), Ready { records: 4, spans: 11_110, bytes: 7 });
    log.close().unwrap();
    let log = Log::open(dir.path(), Options { group: Some(letter), ..Options::default() }).unwrap();
    let groups: Vec<(&[u8], u64)> =
        log.recovered().groups.iter().map(|(group, spans)| (group.as_slice(), *spans)).collect();
    assert_eq!(groups, [(&b"a"[..], 100), (b"b", 10_010)]);
    assert_eq!(log.recovered().spans, 11_110);
}

#[test]
fn a_compressed_record_has_a_group_if_its_first_part_tells_it() {
    let dir = tempdir().unwrap();
    let options = Options { zstd_level: Some(1), group: Some(letter), ..Options::default() };
    let log = Log::open(dir.path(), options.clone()).unwrap();
    for (head, spans) in [("a", 1), ("", 10), ("b", 100)] {
        // A frame begins with no letter, but with something that would be a group.
        let payload = Payload::new(Bytes::from_static(head.as_bytes()), vec![b'c'; 9000].into());
        log.reserve(payload.len()).unwrap().commit(payload, spans).wait().unwrap();
    }
    log.close().unwrap();
    let log = Log::open(dir.path(), options).unwrap();
    assert_eq!(log.recovered().groups, [(b"a".to_vec(), 1), (b"b".to_vec(), 100)].into());
    assert_eq!(take(&log).unwrap().payload().whole()[..2], *b"ac");
}

#[test]
fn after_a_crash_few_more_count_as_handed_out_than_were() {
    const RECORDS: u32 = 1500;
    const IN_FLIGHT: usize = 10;
    // As documented at `Delivery::earlier`.
    const AHEAD: usize = 256;
    let (dir, crashed) = (tempdir().unwrap(), tempdir().unwrap());
    let log = Log::open(dir.path(), Options::default()).unwrap();
    let tickets: Vec<_> =
        (0..RECORDS).map(|n| log.reserve(4).unwrap().commit(n.to_be_bytes().to_vec().into(), 1)).collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let in_flight: Vec<_> = (0..IN_FLIGHT).map(|_| take(&log).unwrap()).collect();
    // What a process leaves that is killed now.
    for file in std::fs::read_dir(dir.path()).unwrap().flatten() {
        std::fs::copy(file.path(), crashed.path().join(file.file_name())).unwrap();
    }
    drop((in_flight, log));
    let log = Log::open(crashed.path(), Options::default()).unwrap();
    assert_eq!(log.recovered().records, u64::from(RECORDS));
    let all: Vec<_> = (0..RECORDS).map(|_| take(&log).unwrap()).collect();
    let again = all.iter().filter(|delivery| delivery.earlier() > 0).count();
    assert!((IN_FLIGHT..=IN_FLIGHT + AHEAD).contains(&again), "{again} of {IN_FLIGHT}");
    assert!(all[..IN_FLIGHT].iter().all(|delivery| delivery.earlier() == 1));
}
