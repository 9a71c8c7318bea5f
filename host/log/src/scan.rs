//! Reads the records of one segment, one after the other, and finds the next one behind damage.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use memchr::memmem;

use crate::crc;
use crate::disk::{BLOCK, File, read_full};
use crate::format::{Checksums, RECORD_HEADER, RECORD_MAGIC, RecordHeader};

/// How much is read at once; a record may be larger.
const WINDOW: u64 = 256 << 10;

/// What comes next in a segment.
#[derive(Debug)]
pub(crate) enum Step {
    /// A whole record.
    Record { at: u64, header: RecordHeader, payload: Vec<u8> },
    /// Bytes that are no record, with a record behind them.
    Damaged(Range<u64>),
    /// The last record ends here; as many bytes that are no record follow.
    End { at: u64, trailing: u64 },
}

/// What a scanner does with payloads. They are checked in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payloads {
    Skip,
    /// Only so many bytes of each.
    Head(usize),
    Keep,
}

/// A place in a segment.
#[derive(Debug)]
pub(crate) struct Scanner {
    file: Arc<dyn File>,
    checksums: Checksums,
    payloads: Payloads,
    at: u64,
    end: u64,
    /// The sequences that are possible from here on.
    sequences: Range<u64>,
    window: Vec<u8>,
    window_at: u64,
}

impl Scanner {
    /// Begins at a record's place and reads up to `end`. Records with other than these sequences do
    /// not count as records.
    pub fn new(
        file: Arc<dyn File>,
        checksums: Checksums,
        payloads: Payloads,
        bytes: Range<u64>,
        sequences: Range<u64>,
    ) -> Self {
        Self {
            file,
            checksums,
            payloads,
            at: bytes.start,
            end: bytes.end,
            sequences,
            window: Vec::new(),
            window_at: bytes.start,
        }
    }

    /// The segment has grown up to here.
    pub fn extend(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    /// Where the next step begins.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next step. An error is not damage: the file could not be read at all.
    pub fn step(&mut self) -> io::Result<Step> {
        if let Some((header, payload)) = self.record_at(self.at)? {
            let at = self.at;
            self.at += header.framed();
            self.sequences.start = header.sequence + 1;
            return Ok(Step::Record { at, header, payload });
        }
        let from = self.at;
        match self.search()? {
            Some(found) => {
                self.at = found;
                Ok(Step::Damaged(from..found))
            }
            None if self.is_padding(from)? => Ok(Step::End { at: from, trailing: 0 }),
            None => Ok(Step::End { at: from, trailing: self.end.saturating_sub(from) }),
        }
    }

    /// Whether what follows are the zeros that fill up the last block of a file.
    fn is_padding(&mut self, at: u64) -> io::Result<bool> {
        let length = self.end.saturating_sub(at);
        if length >= BLOCK as u64 || !self.end.is_multiple_of(BLOCK as u64) {
            return Ok(false);
        }
        let mut rest = vec![0; length as usize];
        let read = read_tolerant(self.file.as_ref(), &mut rest, at)?;
        Ok(read == rest.len() && rest.iter().all(|byte| *byte == 0))
    }

    /// The place of the next record behind this one.
    fn search(&mut self) -> io::Result<Option<u64>> {
        let mut at = self.at + 1;
        loop {
            let rest = self.rest(at)?;
            if rest.len() < RECORD_HEADER {
                return Ok(None);
            }
            let Some(found) = memmem::find(rest, RECORD_MAGIC) else {
                // The magic may begin in the last bytes of the window.
                at += (rest.len() - RECORD_MAGIC.len() + 1) as u64;
                continue;
            };
            at += found as u64;
            if self.record_at(at)?.is_some() {
                return Ok(Some(at));
            }
            at += 1;
        }
    }

    /// The record at this place, if there is a whole one.
    fn record_at(&mut self, at: u64) -> io::Result<Option<(RecordHeader, Vec<u8>)>> {
        let checksums = self.checksums;
        let Some(header) = RecordHeader::decode(self.rest(at)?, checksums) else { return Ok(None) };
        if !self.sequences.contains(&header.sequence) || at + header.framed() > self.end {
            return Ok(None);
        }
        let mut payload = Vec::new();
        let mut crc = checksums.begin();
        let (mut from, end) = (at + RECORD_HEADER as u64, at + header.framed());
        while from < end {
            let keep = match self.payloads {
                Payloads::Skip => 0,
                Payloads::Head(most) => most.saturating_sub(payload.len()),
                Payloads::Keep => usize::MAX,
            };
            let rest = self.rest(from)?;
            let part = rest.get(..(end - from) as usize).unwrap_or(rest);
            if part.is_empty() {
                return Ok(None);
            }
            crc = crc::append(crc, part);
            payload.extend_from_slice(part.get(..keep).unwrap_or(part));
            from += part.len() as u64;
        }
        Ok((crc == header.payload_crc).then_some((header, payload)))
    }

    /// What the window holds from here on: at least a record's header, unless the end is nearer.
    fn rest(&mut self, at: u64) -> io::Result<&[u8]> {
        let least = (RECORD_HEADER as u64).min(self.end.saturating_sub(at));
        let inside = at >= self.window_at && at + least <= self.window_at + self.window.len() as u64;
        if !inside {
            let length = WINDOW.min(self.end.saturating_sub(at)) as usize;
            self.window.resize(length, 0);
            self.window_at = at;
            let read = read_tolerant(self.file.as_ref(), &mut self.window, at)?;
            self.window.truncate(read);
        }
        Ok(self.window.get((at - self.window_at) as usize..).unwrap_or_default())
    }
}

/// Reads what can be read. What the disk cannot give reads as zero, which no checksum passes, so
/// that a bad sector costs the records on it and no others.
pub(crate) fn read_tolerant(file: &dyn File, into: &mut [u8], at: u64) -> io::Result<usize> {
    match read_full(file, into, at) {
        Err(error) if is_bad_sector(&error) => {}
        result => return result,
    }
    let mut done = 0;
    for block in into.chunks_mut(BLOCK) {
        match read_full(file, block, at + done as u64) {
            Ok(read) => {
                done += read;
                if read < block.len() {
                    break;
                }
            }
            Err(error) if is_bad_sector(&error) => {
                block.fill(0);
                done += block.len();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn is_bad_sector(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
