//! A slot of the cursor file.

use super::bytes::{Fields, put};
use super::{Mark, VERSION};
use crate::crc;

pub(crate) const SLOT_LENGTH: usize = 16 * 1024;
pub(crate) const CURSOR_LENGTH: usize = 2 * SLOT_LENGTH;
const HEADER: usize = 80;
const RANGE: usize = 24;
/// More ranges than this mean that as many records before them wait; what is left out is delivered
/// again after a crash.
const MAX_RANGES: usize = (SLOT_LENGTH - HEADER) / RANGE;
const MAGIC: &[u8; 8] = b"SLUICECU";

/// What the cursor knows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct CursorSlot {
    pub generation: u64,
    pub floor: Mark,
    pub end: Mark,
    pub handed_to: u64,
    pub next_segment: u64,
    /// First sequence, sequence after the last, spans; ascending, above the floor.
    pub ranges: Vec<(u64, u64, u64)>,
}

impl CursorSlot {
    /// Cuts off the ranges that find no room, and says below which sequence nothing was cut.
    pub fn fit(&mut self) -> u64 {
        let complete = self.ranges.get(MAX_RANGES).map_or(u64::MAX, |first_left_out| first_left_out.0);
        self.ranges.truncate(MAX_RANGES);
        complete
    }

    /// The bytes to write at the beginning of a slot. The ranges must [`fit`](Self::fit).
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 12, &(self.ranges.len() as u32).to_le_bytes());
        put(&mut bytes, 16, &self.generation.to_le_bytes());
        put(&mut bytes, 24, &self.floor.sequence.to_le_bytes());
        put(&mut bytes, 32, &self.floor.spans.to_le_bytes());
        put(&mut bytes, 40, &self.end.sequence.to_le_bytes());
        put(&mut bytes, 48, &self.end.spans.to_le_bytes());
        put(&mut bytes, 56, &self.handed_to.to_le_bytes());
        put(&mut bytes, 64, &self.next_segment.to_le_bytes());
        for (from, to, spans) in &self.ranges {
            bytes.extend_from_slice(&from.to_le_bytes());
            bytes.extend_from_slice(&to.to_le_bytes());
            bytes.extend_from_slice(&spans.to_le_bytes());
        }
        let crc = Self::checksum(&bytes).unwrap_or_default();
        put(&mut bytes, 72, &crc.to_le_bytes());
        bytes
    }

    fn checksum(bytes: &[u8]) -> Option<u32> {
        Some(crc::append(crc::append(0, bytes.get(..72)?), bytes.get(HEADER..)?))
    }

    /// The slot, if it is whole; its version, if that is a later one.
    pub fn decode(slot: &[u8]) -> Option<Result<Self, u16>> {
        let fields = Fields(slot);
        let count = fields.u32(12) as usize;
        if !fields.starts_with(MAGIC) || count > MAX_RANGES {
            return None;
        }
        let bytes = slot.get(..HEADER + count * RANGE)?;
        if Self::checksum(bytes)? != fields.u32(72) {
            return None;
        }
        if fields.u16(8) != VERSION {
            return Some(Err(fields.u16(8)));
        }
        let ranges = bytes.get(HEADER..)?.chunks_exact(RANGE).map(Fields);
        Some(Ok(Self {
            generation: fields.u64(16),
            floor: Mark { sequence: fields.u64(24), spans: fields.u64(32) },
            end: Mark { sequence: fields.u64(40), spans: fields.u64(48) },
            handed_to: fields.u64(56),
            next_segment: fields.u64(64),
            ranges: ranges.map(|range| (range.u64(0), range.u64(8), range.u64(16))).collect(),
        }))
    }
}
