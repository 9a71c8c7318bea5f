//! The header of a record, and its checksums.

use super::bytes::{Fields, put};
use crate::crc;

pub(crate) const RECORD_HEADER: usize = 56;
pub(crate) const RECORD_MAGIC: &[u8; 4] = b"SLR1";
/// Flag: the payload is a zstd frame, but for its first bytes.
const ZSTD: u32 = 1;
/// In the upper half of the flags: how many bytes those are.
const PLAIN_HEAD: u32 = 16;
pub(crate) const MAX_PLAIN_HEAD: usize = u16::MAX as usize;

/// What makes records of one segment recognisable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checksums {
    salt: u64,
}

impl Checksums {
    pub fn new(salt: u64) -> Self {
        Self { salt }
    }

    /// A checksum to be continued with [`crc::append`].
    pub fn begin(self) -> u32 {
        self.salt as u32
    }

    fn of(self, parts: &[&[u8]]) -> u32 {
        parts.iter().fold(self.begin(), |crc, part| crc::append(crc, part))
    }

    fn stamp(self) -> u32 {
        (self.salt >> 32) as u32
    }
}

/// A record's header, without what only checks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub length: u32,
    pub payload_crc: u32,
    pub sequence: u64,
    pub spans: u32,
    /// If the payload is compressed: how many bytes at its beginning are not. At most [`MAX_PLAIN_HEAD`].
    pub plain_head: Option<usize>,
    pub total: u64,
    pub unix_nano: u64,
    pub plain_length: u32,
}

impl RecordHeader {
    /// The bytes that stand before this payload, given in parts. `length` and `payload_crc` are computed here.
    pub fn encode(&self, payload: &[&[u8]], checksums: Checksums) -> [u8; RECORD_HEADER] {
        let length: usize = payload.iter().map(|part| part.len()).sum();
        let mut header = [0; RECORD_HEADER];
        put(&mut header, 0, RECORD_MAGIC);
        put(&mut header, 8, &(length as u32).to_le_bytes());
        put(&mut header, 12, &checksums.of(payload).to_le_bytes());
        put(&mut header, 16, &self.sequence.to_le_bytes());
        put(&mut header, 24, &self.spans.to_le_bytes());
        put(&mut header, 28, &self.flags().to_le_bytes());
        put(&mut header, 32, &self.total.to_le_bytes());
        put(&mut header, 40, &self.unix_nano.to_le_bytes());
        put(&mut header, 48, &self.plain_length.to_le_bytes());
        put(&mut header, 52, &checksums.stamp().to_le_bytes());
        let crc = checksums.of(&[header.get(8..).unwrap_or_default()]);
        put(&mut header, 4, &crc.to_le_bytes());
        header
    }

    fn flags(&self) -> u32 {
        self.plain_head.map_or(0, |length| ZSTD | (length as u32) << PLAIN_HEAD)
    }

    /// The header, if these bytes are one of this segment.
    pub fn decode(bytes: &[u8], checksums: Checksums) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER)?;
        let fields = Fields(bytes);
        let ours = fields.starts_with(RECORD_MAGIC)
            && fields.u32(52) == checksums.stamp()
            && fields.u32(4) == checksums.of(&[bytes.get(8..)?]);
        ours.then(|| Self {
            length: fields.u32(8),
            payload_crc: fields.u32(12),
            sequence: fields.u64(16),
            spans: fields.u32(24),
            plain_head: (fields.u32(28) & ZSTD != 0).then_some((fields.u32(28) >> PLAIN_HEAD) as usize),
            total: fields.u64(32),
            unix_nano: fields.u64(40),
            plain_length: fields.u32(48),
        })
    }

    /// How many bytes the whole record takes.
    pub fn framed(&self) -> u64 {
        RECORD_HEADER as u64 + u64::from(self.length)
    }
}
