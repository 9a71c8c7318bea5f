//! Damaged files: what is lost is exactly what was damaged, and is counted.
//!
//! Places in files are computed from the documented format, not from the code.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sluice_log::{Log, Lost, OpenError, Options, Recovered, inspect};
use tempfile::{TempDir, tempdir};

use crate::steps::{SOON, append, drain, eventually, take, take_within};

const DATA: usize = 4096;
const HEADER: usize = 56;
const CURSOR_SLOT: usize = 16_384;
const RECORDS: u32 = 8;

/// Each record has another length and another power of two of spans, so that sums tell which.
fn payload(n: u32) -> Vec<u8> {
    vec![b'a' + n as u8; 40 + 3 * n as usize]
}

fn spans(n: u32) -> u32 {
    1 << n
}

/// Where a record begins in the only segment.
fn place(n: u32) -> usize {
    DATA + (0..n).map(|n| HEADER + payload(n).len()).sum::<usize>()
}

fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.seg"))
}

/// A log with eight records, closed.
fn written(options: Options) -> TempDir {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), options).unwrap();
    for n in 0..RECORDS {
        append(&log, &payload(n), spans(n));
    }
    log.close().unwrap();
    dir
}

/// Flips a bit in place: the log may have the file open.
fn flip(path: &Path, at: usize) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at as u64).unwrap();
}

/// What is delivered, as numbers of records, and what was found at open.
fn reopen(dir: &Path) -> (Vec<u32>, Recovered) {
    let log = Log::open(dir, Options::default()).unwrap();
    let recovered = log.recovered().clone();
    let delivered = drain(&log);
    assert_eq!(log.figures().records, 0, "all of it is delivered");
    log.close().unwrap();
    (delivered.iter().map(|bytes| (0..RECORDS).find(|n| payload(*n) == *bytes).unwrap()).collect(), recovered)
}

fn all_but(lost: &[u32]) -> Vec<u32> {
    (0..RECORDS).filter(|n| !lost.contains(n)).collect()
}

fn sum(lost: &[u32]) -> Lost {
    Lost { records: lost.len() as u64, spans: lost.iter().map(|n| u64::from(spans(*n))).sum() }
}

#[test]
fn one_flipped_bit_costs_the_record_that_it_is_in() {
    let last = |n: u32| HEADER + payload(n).len() - 1;
    let fields = [
        ("magic", 0),
        ("header checksum", 4),
        ("length", 8),
        ("high byte of the length", 11),
        ("payload checksum", 12),
        ("sequence", 16),
        ("span count", 24),
        ("flags", 28),
        ("running total", 32),
        ("time", 40),
        ("plain length", 48),
        ("salt", 52),
        ("first payload byte", HEADER),
    ];
    for n in [0, 3, RECORDS - 1] {
        for (field, at) in fields.into_iter().chain([("last payload byte", last(n))]) {
            let dir = written(Options::default());
            flip(&segment(dir.path(), 0), place(n) + at);
            let found = inspect(dir.path()).unwrap();
            assert!(!found.is_sound() && found.lost == sum(&[n]), "{field} of {n}: {found:?}");
            let range = &found.damaged[0];
            let end = place(n) + HEADER + payload(n).len();
            assert_eq!((range.from, range.to), (place(n) as u64, end as u64), "{field} of {n}");
            let (delivered, recovered) = reopen(dir.path());
            assert_eq!(delivered, all_but(&[n]), "{field} of {n}");
            assert_eq!((recovered.lost, recovered.damaged_ranges), (sum(&[n]), 1), "{field} of {n}");
            // The bytes are kept: an entry's header of 40 bytes, and what was there.
            let kept = fs::read(dir.path().join("quarantine")).unwrap();
            assert_eq!(kept.len(), 40 + HEADER + payload(n).len(), "{field} of {n}");
            // The loss is counted once.
            let (delivered, recovered) = reopen(dir.path());
            assert_eq!((delivered, recovered.lost), (vec![], Lost::default()), "{field} of {n}");
        }
    }
}

#[test]
fn two_adjacent_damaged_records_are_one_range_and_two_losses() {
    for (first, second) in [(0, 0), (HEADER, HEADER), (0, HEADER), (HEADER, 0)] {
        let dir = written(Options::default());
        flip(&segment(dir.path(), 0), place(3) + first);
        flip(&segment(dir.path(), 0), place(4) + second);
        let (delivered, recovered) = reopen(dir.path());
        assert_eq!(delivered, all_but(&[3, 4]));
        assert_eq!((recovered.lost, recovered.damaged_ranges), (sum(&[3, 4]), 1));
    }
}

#[test]
fn damage_in_records_that_are_done_costs_nothing() {
    let dir = written(Options::default());
    let log = Log::open(dir.path(), Options::default()).unwrap();
    let first = take(&log).unwrap();
    take(&log).unwrap().ack();
    first.ack();
    log.close().unwrap();
    flip(&segment(dir.path(), 0), place(1) + HEADER);
    let (delivered, recovered) = reopen(dir.path());
    assert_eq!(delivered, all_but(&[0, 1]));
    assert_eq!((recovered.lost, recovered.damaged_ranges), (Lost::default(), 0));
}

#[test]
fn of_a_damaged_range_only_what_was_not_done_is_lost() {
    let dir = written(Options::default());
    let log = Log::open(dir.path(), Options::default()).unwrap();
    let taken: Vec<_> = (0..6).map(|_| take(&log).unwrap()).collect();
    for delivery in taken {
        // Done above the floor: 2 and 4.
        if [2, 4].contains(&delivery.sequence()) {
            delivery.ack();
        } else {
            std::mem::forget(delivery);
        }
    }
    log.close().unwrap();
    for n in [2, 3, 4] {
        flip(&segment(dir.path(), 0), place(n) + 5);
    }
    let (delivered, recovered) = reopen(dir.path());
    assert_eq!(delivered, all_but(&[2, 3, 4]));
    assert_eq!(recovered.lost, sum(&[3]));
}

#[test]
fn one_damaged_segment_header_costs_nothing_and_two_cost_the_segment() {
    let dir = written(Options::default());
    flip(&segment(dir.path(), 0), 41);
    assert!(inspect(dir.path()).unwrap().segments[0].header_damaged);
    flip(&segment(dir.path(), 0), 4032 + 41);
    let (delivered, recovered) = reopen(dir.path());
    assert_eq!((delivered, recovered.damaged_segments), (vec![], 1));
    assert_eq!(recovered.lost, sum(&(0..RECORDS).collect::<Vec<_>>()));
    assert!(dir.path().join(format!("{:020}.damaged", 0)).exists());

    for at in [0, 9, 16, 41, 4032, 4032 + 60] {
        let dir = written(Options::default());
        flip(&segment(dir.path(), 0), at);
        let (delivered, recovered) = reopen(dir.path());
        assert_eq!((delivered, recovered.lost), (all_but(&[]), Lost::default()), "byte {at}");
    }
}

#[test]
fn a_damaged_cursor_repeats_and_loses_nothing() {
    let acked = || {
        let dir = written(Options::default());
        let log = Log::open(dir.path(), Options::default()).unwrap();
        take(&log).unwrap().ack();
        log.close().unwrap();
        dir
    };
    for slot in [0, 1] {
        let dir = acked();
        flip(&dir.path().join("cursor"), slot * CURSOR_SLOT + 24);
        let (delivered, recovered) = reopen(dir.path());
        // Both slots are the same after a close.
        assert_eq!((delivered, recovered.cursor_damaged), (all_but(&[0]), false));
    }
    let dir = acked();
    flip(&dir.path().join("cursor"), 24);
    flip(&dir.path().join("cursor"), CURSOR_SLOT + 24);
    assert!(inspect(dir.path()).unwrap().cursor_damaged);
    let log = Log::open(dir.path(), Options::default()).unwrap();
    assert_eq!((log.recovered().cursor_damaged, log.recovered().lost), (true, Lost::default()));
    // Nobody knows which of them were delivered.
    assert!(take(&log).unwrap().earlier() > 0);
    assert_eq!(drain(&log).len(), RECORDS as usize);
    drop(log);

    let dir = acked();
    fs::remove_file(dir.path().join("cursor")).unwrap();
    let (delivered, recovered) = reopen(dir.path());
    assert_eq!((delivered, recovered.cursor_damaged), (all_but(&[]), true));
}

#[test]
fn a_missing_segment_is_counted_and_the_rest_delivered() {
    // Two or three records to a segment.
    let small = || Options { segment_bytes: Some(DATA as u64 + 250), ..Options::default() };
    let dir = written(small());
    let found = inspect(dir.path()).unwrap();
    assert!(found.segments.len() >= 3 && found.is_sound(), "{found:?}");
    for missing in [0, 1, found.segments.len() - 1] {
        let dir = written(small());
        let gone = &inspect(dir.path()).unwrap().segments[missing];
        fs::remove_file(segment(dir.path(), gone.number)).unwrap();
        let lost: Vec<u32> = (0..gone.records as u32).map(|n| n + gone.first_sequence as u32).collect();
        let (delivered, recovered) = reopen(dir.path());
        assert_eq!(delivered, all_but(&lost), "segment {missing}");
        assert_eq!(recovered.lost, sum(&lost), "segment {missing}");
    }
}

#[test]
fn a_payload_never_passes_for_a_record() {
    // A whole segment of another log: headers, magic, well-formed records with likely sequences.
    let other = written(Options::default());
    let hostile = fs::read(segment(other.path(), 0)).unwrap();
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), Options::default()).unwrap();
    append(&log, b"before", 1);
    append(&log, &hostile, 2);
    append(&log, b"after", 4);
    log.close().unwrap();
    let log = Log::open(dir.path(), Options::default()).unwrap();
    assert!(drain(&log) == [b"before".to_vec(), hostile.clone(), b"after".to_vec()]);
    append(&log, b"before", 1);
    append(&log, &hostile, 2);
    append(&log, b"after", 4);
    log.close().unwrap();
    // With its header damaged, the search for the next record goes through the payload.
    let path = segment(dir.path(), 1);
    flip(&path, DATA + HEADER + b"before".len());
    let log = Log::open(dir.path(), Options::default()).unwrap();
    assert_eq!(log.recovered().lost, Lost { records: 1, spans: 2 });
    assert!(drain(&log) == [b"before".to_vec(), b"after".to_vec()]);
}

#[test]
fn a_torn_tail_is_cut_and_costs_nothing_that_was_acknowledged() {
    let dir = written(Options::default());
    let path = segment(dir.path(), 0);
    let mut bytes = fs::read(&path).unwrap();
    let length = bytes.len();
    let half_a_record = bytes[place(3)..place(3) + 70].to_vec();
    bytes.extend_from_slice(&half_a_record);
    fs::write(&path, bytes).unwrap();
    let log = Log::open(dir.path(), Options::default()).unwrap();
    assert_eq!((log.recovered().torn_bytes, log.recovered().lost), (70, Lost::default()));
    assert_eq!(fs::metadata(&path).unwrap().len(), length as u64);
    append(&log, b"and on", 1);
    assert_eq!(drain(&log).len(), RECORDS as usize + 1);
}

#[test]
fn damage_that_comes_while_the_log_is_open_is_counted_too() {
    // Larger than what is read at once, and so little is read ahead that most is on disk only.
    const LENGTH: usize = 300_000;
    let dir = tempdir().unwrap();
    let options = || Options { read_ahead_bytes: 1, segment_bytes: Some(4 << 20), ..Options::default() };
    let log = Log::open(dir.path(), options()).unwrap();
    for n in 0..RECORDS {
        append(&log, &vec![n as u8; LENGTH], spans(n));
    }
    log.close().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    let first = take(&log).unwrap();
    for n in [5, 7] {
        flip(&segment(dir.path(), 0), DATA + n * (HEADER + LENGTH) + HEADER);
    }
    first.ack();
    let mut delivered = vec![0];
    while delivered.len() < all_but(&[5, 7]).len() {
        let delivery = take(&log).unwrap();
        delivered.push(u32::from(delivery.payload().whole()[0]));
        delivery.ack();
    }
    assert_eq!(delivered, all_but(&[5, 7]));
    // The last one is among them: it is looked at for whoever waits for it in vain.
    eventually("both are counted", || take_within(&log, SOON).is_none() && log.figures().records == 0);
    assert_eq!(log.figures().counts.lost, sum(&[5, 7]));
    let kept = fs::metadata(dir.path().join("quarantine")).unwrap().len();
    assert_eq!(kept, 2 * (40 + HEADER + LENGTH) as u64);
    log.close().unwrap();
    let log = Log::open(dir.path(), options()).unwrap();
    assert_eq!((log.recovered().records, log.recovered().lost), (0, Lost::default()));
}

#[test]
fn a_later_version_is_refused_and_left_alone() {
    let dir = written(Options::default());
    let path = segment(dir.path(), 0);
    let mut bytes = fs::read(&path).unwrap();
    for at in [0, 4032] {
        bytes[at + 8] = 2;
        let crc = crc32c::crc32c(&bytes[at..at + 60]);
        bytes[at + 60..at + 64].copy_from_slice(&crc.to_le_bytes());
    }
    fs::write(&path, &bytes).unwrap();
    let error = Log::open(dir.path(), Options::default()).unwrap_err();
    assert!(matches!(error, OpenError::Version { found: 2, known: 1, .. }), "{error}");
    assert!(fs::read(&path).unwrap() == bytes);
}
