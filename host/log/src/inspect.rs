//! What is in a directory, for a human. It changes nothing and needs no lock.

use std::path::Path;

use crate::disk::{Disk, RealDisk};
use crate::error::OpenError;
use crate::survey::{CursorFound, Damage, Lost, survey};

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its number, which is its file's name.
    pub number: u64,
    /// Sequence of its first record.
    pub first_sequence: u64,
    /// When it was begun, as Unix time in nanoseconds.
    pub unix_nano: u64,
    /// Where its last record ends.
    pub bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Their spans.
    pub spans: u64,
    /// How many of its records are compressed.
    pub compressed_records: u64,
    /// Bytes of all payloads in it, as they were before compression.
    pub plain_bytes: u64,
    /// Records that are still to be delivered.
    pub waiting_records: u64,
    /// Their spans.
    pub waiting_spans: u64,
    /// Bytes after the last record that were never acknowledged: being written, or cut off by a crash.
    pub torn_bytes: u64,
    /// One of its two headers is damaged.
    pub header_damaged: bool,
}

/// What is in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The segments that can be read, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Damaged ranges.
    pub damaged: Vec<Damage>,
    /// Numbers of segments that cannot be read at all.
    pub damaged_segments: Vec<u64>,
    /// Neither copy of the cursor can be read.
    pub cursor_damaged: bool,
    /// Records that are gone.
    pub lost: Lost,
}

impl Inspection {
    /// Whether nothing is damaged and nothing lost.
    pub fn is_sound(&self) -> bool {
        let headers = self.segments.iter().any(|segment| segment.header_damaged);
        let damaged = !self.damaged.is_empty() || !self.damaged_segments.is_empty() || headers;
        !damaged && !self.cursor_damaged && self.lost == Lost::default()
    }
}

/// Looks at a log's directory. If the log is in use, what is being written may look torn.
pub fn inspect(dir: impl AsRef<Path>) -> Result<Inspection, OpenError> {
    inspect_on(&RealDisk, dir)
}

/// As [`inspect`], on another disk.
pub fn inspect_on(disk: &dyn Disk, dir: impl AsRef<Path>) -> Result<Inspection, OpenError> {
    let survey = survey(disk, dir.as_ref(), None)?;
    let segments = survey.segments.iter().map(|segment| SegmentReport {
        number: segment.header.number,
        first_sequence: segment.header.base.sequence,
        unix_nano: segment.header.unix_nano,
        bytes: segment.data_end,
        records: segment.records,
        spans: segment.spans,
        compressed_records: segment.compressed_records,
        plain_bytes: segment.plain_bytes,
        waiting_records: segment.live_records,
        waiting_spans: segment.live_spans,
        torn_bytes: segment.torn,
        header_damaged: segment.header_damaged,
    });
    Ok(Inspection {
        segments: segments.collect(),
        damaged: survey.damaged,
        damaged_segments: survey.unreadable,
        cursor_damaged: survey.cursor == CursorFound::Damaged,
        lost: survey.lost,
    })
}
