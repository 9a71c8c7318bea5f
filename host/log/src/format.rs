//! The format on disk, version 1. All numbers are little-endian; every checksum is a crc32c.
//!
//! # The directory
//!
//! | name | what it is |
//! | --- | --- |
//! | `lock` | empty; locked with `flock` by the process that has the log open |
//! | `cursor` | what has been acknowledged |
//! | `NNNNNNNNNNNNNNNNNNNN.seg` | a segment, named by its number in 20 decimal digits |
//! | `NNNNNNNNNNNNNNNNNNNN.damaged` | a segment neither of whose headers can be read, kept for a human |
//! | `quarantine` | damaged ranges of segments that lost records, kept for a human |
//! | `cursor.new` | a cursor that was being created when the process ended; removed at the next open |
//!
//! # A segment
//!
//! The header stands twice, at byte 0 and at byte 4032, because without the salt no record of the
//! segment can be told from a sender's bytes. Records begin at byte 4096 and follow each other
//! without a gap. What is between the two headers is zero.
//!
//! | byte | size | segment header |
//! | --- | --- | --- |
//! | 0 | 8 | `SLUICELG` |
//! | 8 | 2 | version, 1 |
//! | 10 | 6 | zero |
//! | 16 | 8 | the segment's number |
//! | 24 | 8 | sequence of its first record |
//! | 32 | 8 | spans in all records of the log before its first record |
//! | 40 | 8 | salt: random, another one in each segment |
//! | 48 | 8 | when it was created, Unix time in nanoseconds |
//! | 56 | 4 | zero |
//! | 60 | 4 | crc of bytes 0 to 59 |
//!
//! | byte | size | record header |
//! | --- | --- | --- |
//! | 0 | 4 | `SLR1` |
//! | 4 | 4 | crc of bytes 8 to 55, begun with the low half of the salt |
//! | 8 | 4 | length of the payload as stored |
//! | 12 | 4 | crc of the payload as stored, begun with the low half of the salt |
//! | 16 | 8 | sequence: one more than that of the record before |
//! | 24 | 4 | how many spans the record holds |
//! | 28 | 4 | flags: bit 0, the payload is one zstd frame behind as many plain bytes as bits 16 to 31 say; the others are zero |
//! | 32 | 8 | running total: spans in all records of the log before this one |
//! | 40 | 8 | when it was appended, Unix time in nanoseconds; never goes back |
//! | 48 | 4 | length of the payload before compression |
//! | 52 | 4 | the high half of the salt |
//! | 56 | | the payload |
//!
//! A checksum that begins with a random number, beside half a salt in plain sight that no sender
//! sees, makes 64 bits that a payload would have to guess for a part of it to pass as a record.
//!
//! The running totals tell how many spans a gap held: the total of the record after it, less the
//! total of the record before it and that record's own spans.
//!
//! Zeros may follow the last record up to the next multiple of 4096: a disk is written in blocks. They
//! are cut off when the segment is done, but stay if the process is killed before.
//!
//! A segment ends where the next one begins: a record with the sequence of the next segment's first
//! record, or a later one, was written but could not be synced. Its sender was told so, and the next
//! segment used its sequence again.
//!
//! # The cursor
//!
//! Two slots of 16,384 bytes. The valid one with the higher generation counts. A slot is written
//! only when the other one is known to be on disk. Before a segment is removed, both slots know that
//! all of it has been acknowledged, so that no damage to one of them makes it look lost.
//!
//! | byte | size | cursor slot |
//! | --- | --- | --- |
//! | 0 | 8 | `SLUICECU` |
//! | 8 | 2 | version, 1 |
//! | 10 | 2 | zero |
//! | 12 | 4 | number of ranges |
//! | 16 | 8 | generation |
//! | 24 | 8 | floor: every record before this sequence is done |
//! | 32 | 8 | running total at the floor |
//! | 40 | 8 | end: the sequence after the last record that was acknowledged to its sender |
//! | 48 | 8 | running total at the end |
//! | 56 | 8 | records before this sequence may have been handed out |
//! | 64 | 8 | the next segment's number |
//! | 72 | 4 | crc of bytes 0 to 71 and of the ranges |
//! | 76 | 4 | zero |
//! | 80 | 24 each | ranges above the floor that are done: first sequence, sequence after the last, spans |
//!
//! # The quarantine
//!
//! | byte | size | entry |
//! | --- | --- | --- |
//! | 0 | 8 | `SLUICEQU` |
//! | 8 | 8 | the segment's number |
//! | 16 | 8 | where in the segment the bytes were |
//! | 24 | 8 | how many there are |
//! | 32 | 8 | when they were found, Unix time in nanoseconds |
//! | 40 | | the bytes |

mod bytes;
mod cursor;
mod names;
mod record;
mod segment;

pub(crate) use cursor::{CURSOR_LENGTH, CursorSlot, SLOT_LENGTH};
pub(crate) use names::{
    CURSOR, CURSOR_NEW, LOCK, QUARANTINE, damaged_name, is_damaged_name, parse_segment_name, segment_name,
};
pub(crate) use record::{Checksums, MAX_PLAIN_HEAD, RECORD_HEADER, RECORD_MAGIC, RecordHeader};
pub(crate) use segment::{DATA_START, Read as HeaderRead, SegmentHeader};

/// The version that this code writes, and the newest that it reads.
pub(crate) const VERSION: u16 = 1;

/// A place between two records: the sequence of the next one, and the spans of all before it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub sequence: u64,
    pub spans: u64,
}

impl Mark {
    /// The place behind a record here that holds so many spans.
    pub fn after(self, spans: u32) -> Self {
        Self { sequence: self.sequence + 1, spans: self.spans + u64::from(spans) }
    }
}
