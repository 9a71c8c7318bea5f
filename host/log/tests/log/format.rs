//! The files, read by the documentation and by nothing else.

use std::fs;

use bytes::Bytes;
use sluice_log::{Clock, Log, Options, Payload};
use tempfile::tempdir;

use crate::steps::{append, take};

/// The textbook's crc32c, bit by bit, begun with a value.
fn crc32c(begin: u32, bytes: &[u8]) -> u32 {
    let mut crc = !begin;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn of_a_compressed_record_the_first_part_is_as_it_was_and_the_second_one_frame() {
    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), Options { zstd_level: Some(1), ..Options::default() }).unwrap();
    let text = b"spans are much alike; ".repeat(1000);
    let payload = Payload::new(Bytes::from_static(b"head"), text.clone().into());
    log.reserve(payload.len()).unwrap().commit(payload, 5).wait().unwrap();
    log.close().unwrap();
    let segment = fs::read(dir.path().join("00000000000000000000.seg")).unwrap();
    let (salt, record) = (u64_at(&segment, 40), &segment[4096..]);
    let stored = &record[56..];
    assert_eq!((u32_at(record, 8) as usize, u32_at(record, 12)), (stored.len(), crc32c(salt as u32, stored)));
    assert_eq!((u32_at(record, 28), u32_at(record, 48) as usize), (1 | 4 << 16, 4 + text.len()));
    assert_eq!(stored[..4], *b"head");
    // The magic number of a frame, from RFC 8878.
    assert_eq!(u32_at(stored, 4), 0xfd2f_b528);
    assert!(zstd::decode_all(&stored[4..]).unwrap() == text);
}

const NOW: u64 = 1_700_000_000_123_456_789;
/// So long that its checksum is computed as that of a usual request.
const SECOND: [u8; 3000] = [b'2'; 3000];

#[test]
fn the_files_are_as_documented() {
    // The check value of the algorithm, from its catalogue.
    assert_eq!(crc32c(0, b"123456789"), 0xe306_9283);

    let dir = tempdir().unwrap();
    let log = Log::open(dir.path(), Options { clock: Clock::new(|| NOW), ..Options::default() }).unwrap();
    for (payload, spans) in [(&b"first"[..], 7), (&SECOND, 8), (b"", 9)] {
        append(&log, payload, spans);
    }
    let first = take(&log).unwrap();
    take(&log).unwrap().ack();
    std::mem::forget(first);
    log.close().unwrap();

    let segment = fs::read(dir.path().join("00000000000000000000.seg")).unwrap();
    let header = &segment[..64];
    assert_eq!(&header[..8], b"SLUICELG");
    assert_eq!(header[8..16], [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!([u64_at(header, 16), u64_at(header, 24), u64_at(header, 32)], [0, 0, 0]);
    let salt = u64_at(header, 40);
    assert_eq!((u64_at(header, 48), u32_at(header, 56)), (NOW, 0));
    assert_eq!(u32_at(header, 60), crc32c(0, &header[..60]));
    assert_eq!(segment[4032..4096], *header);
    assert!(segment[64..4032].iter().all(|byte| *byte == 0));

    let mut at = 4096;
    for (sequence, (payload, spans, total)) in [(&b"first"[..], 7, 0), (&SECOND, 8, 7), (b"", 9, 15)].iter().enumerate()
    {
        let record = &segment[at..at + 56 + payload.len()];
        assert_eq!(&record[..4], b"SLR1");
        assert_eq!(u32_at(record, 4), crc32c(salt as u32, &record[8..56]));
        assert_eq!(u32_at(record, 8) as usize, payload.len());
        assert_eq!(u32_at(record, 12), crc32c(salt as u32, payload));
        assert_eq!(u64_at(record, 16), sequence as u64);
        assert_eq!((u32_at(record, 24), u32_at(record, 28)), (*spans, 0));
        assert_eq!((u64_at(record, 32), u64_at(record, 40)), (*total, NOW));
        assert_eq!((u32_at(record, 48) as usize, u32_at(record, 52)), (payload.len(), (salt >> 32) as u32));
        assert_eq!(record[56..], **payload);
        at += record.len();
    }
    assert_eq!(at, segment.len());

    let cursor = fs::read(dir.path().join("cursor")).unwrap();
    assert_eq!(cursor.len(), 2 * 16_384);
    let slots = [&cursor[..16_384], &cursor[16_384..]];
    assert_eq!(u64_at(slots[0], 16).abs_diff(u64_at(slots[1], 16)), 1, "generations");
    for slot in slots {
        assert_eq!(&slot[..8], b"SLUICECU");
        assert_eq!(slot[8..16], [1, 0, 0, 0, 1, 0, 0, 0], "version, one range");
        assert_eq!([u64_at(slot, 24), u64_at(slot, 32)], [0, 0], "floor");
        assert_eq!([u64_at(slot, 40), u64_at(slot, 48)], [3, 24], "end");
        assert_eq!([u64_at(slot, 56), u64_at(slot, 64)], [2, 1], "handed out, next segment");
        assert_eq!([u64_at(slot, 80), u64_at(slot, 88), u64_at(slot, 96)], [1, 2, 8], "the second record is done");
        assert_eq!(u32_at(slot, 72), crc32c(crc32c(0, &slot[..72]), &slot[80..104]));
    }
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o077
    };
    assert_eq!((mode("cursor"), mode("00000000000000000000.seg")), (0, 0), "nobody else reads them");
}
