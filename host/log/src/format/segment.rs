//! The header of a segment, which stands in it twice.

use super::bytes::{Fields, put};
use super::{Mark, VERSION};
use crate::crc;

const SEGMENT_HEADER: usize = 64;
/// Where the records begin: the second header has a sector of its own before it.
pub(crate) const DATA_START: u64 = 4096;
const MAGIC: &[u8; 8] = b"SLUICELG";

/// Where the second header stands.
const SECOND: usize = DATA_START as usize - SEGMENT_HEADER;

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub number: u64,
    pub base: Mark,
    pub salt: u64,
    pub unix_nano: u64,
}

/// What the first 4096 bytes of a segment turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// At least one header is good; whether the other one is damaged.
    Good(SegmentHeader, bool),
    /// Sound, but of a later version.
    Version(u16),
    /// Nothing was ever written there.
    Blank,
    /// Neither header can be read.
    Damaged,
}

impl SegmentHeader {
    /// Both headers and what is between them.
    pub fn encode(&self) -> Vec<u8> {
        let mut header = [0; SEGMENT_HEADER];
        put(&mut header, 0, MAGIC);
        put(&mut header, 8, &VERSION.to_le_bytes());
        put(&mut header, 16, &self.number.to_le_bytes());
        put(&mut header, 24, &self.base.sequence.to_le_bytes());
        put(&mut header, 32, &self.base.spans.to_le_bytes());
        put(&mut header, 40, &self.salt.to_le_bytes());
        put(&mut header, 48, &self.unix_nano.to_le_bytes());
        let crc = crc::append(0, header.get(..60).unwrap_or_default());
        put(&mut header, 60, &crc.to_le_bytes());
        let mut page = vec![0; DATA_START as usize];
        put(&mut page, 0, &header);
        put(&mut page, SECOND, &header);
        page
    }

    /// Reads the first [`DATA_START`] bytes of a file, or what there is of them.
    pub fn decode(page: &[u8]) -> Read {
        let first = Self::decode_one(page.get(..SEGMENT_HEADER).unwrap_or_default());
        let second = Self::decode_one(page.get(SECOND..).unwrap_or_default());
        match (first, second) {
            (Some(Ok(header)), Some(Ok(_))) => Read::Good(header, false),
            (Some(Ok(header)), _) | (_, Some(Ok(header))) => Read::Good(header, true),
            (Some(Err(version)), _) | (_, Some(Err(version))) => Read::Version(version),
            (None, None) if page.iter().all(|byte| *byte == 0) => Read::Blank,
            (None, None) => Read::Damaged,
        }
    }

    fn decode_one(bytes: &[u8]) -> Option<Result<Self, u16>> {
        let bytes = bytes.get(..SEGMENT_HEADER)?;
        let fields = Fields(bytes);
        if !fields.starts_with(MAGIC) || fields.u32(60) != crc::append(0, bytes.get(..60)?) {
            return None;
        }
        if fields.u16(8) != VERSION {
            return Some(Err(fields.u16(8)));
        }
        Some(Ok(Self {
            number: fields.u64(16),
            base: Mark { sequence: fields.u64(24), spans: fields.u64(32) },
            salt: fields.u64(40),
            unix_nano: fields.u64(48),
        }))
    }
}
