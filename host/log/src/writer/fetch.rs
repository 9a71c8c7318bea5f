//! Brings records from disk to where takers find them.

use std::io;

use bytes::Bytes;

use super::Writer;
use crate::compress::decompress;
use crate::error::{Context, IoFailure};
use crate::format::{Checksums, DATA_START, Mark, RecordHeader};
use crate::payload::Payload;
use crate::quarantine::quarantine;
use crate::scan::{Payloads, Scanner, Step};
use crate::state::{Entry, SegmentInfo};
use crate::survey::Damage;

/// So much is fetched in a round, so that senders do not wait long behind it.
const FETCH_BYTES: u64 = 1 << 20;

/// The place of the next record to fetch.
#[derive(Debug)]
pub(crate) struct Fetcher {
    segment: u64,
    at: u64,
    scanner: Option<Scanner>,
    damage: Vec<Damage>,
}

impl Default for Fetcher {
    /// In no segment.
    fn default() -> Self {
        Self { segment: u64::MAX, at: 0, scanner: None, damage: Vec::new() }
    }
}

impl Fetcher {
    /// The next record is here.
    pub fn skip_to(&mut self, segment: u64, at: u64) {
        (self.segment, self.at, self.scanner) = (segment, at, None);
        self.damage.clear();
    }
}

impl Writer {
    /// Fetches until there is enough, or for this round.
    pub fn fetch(&mut self) {
        let mut fetched = 0;
        let due = { self.shared.wants_fetch(&self.shared.lock()) };
        while due && fetched < FETCH_BYTES {
            let segment = {
                let state = self.shared.lock();
                if !self.has_room_ahead(&state) {
                    break;
                }
                let next = state.fetched.sequence;
                state.segments.iter().find(|segment| segment.end.sequence > next).cloned()
            };
            let Some(segment) = segment else { break };
            match self.fetch_one(&segment) {
                Ok(bytes) => fetched += bytes,
                Err(failure) => {
                    self.failed(failure);
                    self.retry_at = Some(std::time::Instant::now() + super::retire::RETRY);
                    break;
                }
            }
        }
    }

    /// The next step in this segment; how many bytes it was.
    fn fetch_one(&mut self, segment: &SegmentInfo) -> Result<u64, IoFailure> {
        if self.fetcher.segment != segment.number {
            self.fetcher.skip_to(segment.number, DATA_START);
            // What was before it has been removed, or is lost.
            self.gap(segment.base)?;
        }
        let path = self.segment_path(segment.number);
        if self.fetcher.scanner.is_none() {
            let file = self.disk.open(&path).context("open", &path)?;
            self.fetcher.scanner = Some(Scanner::new(
                file,
                Checksums::new(segment.salt),
                Payloads::Keep,
                self.fetcher.at..segment.length,
                segment.base.sequence..u64::MAX,
            ));
        }
        let Some(scanner) = &mut self.fetcher.scanner else { return Ok(0) };
        scanner.extend(segment.length);
        let from = scanner.at();
        let step = scanner.step().context("read", &path)?;
        let length = scanner.at() - from;
        match step {
            Step::Record { header, .. } if header.sequence >= segment.end.sequence => self.gap(segment.end)?,
            Step::Record { at, header, payload } => {
                self.gap(Mark { sequence: header.sequence, spans: header.total })?;
                if self.shared.lock().fetched.sequence == header.sequence {
                    let damage =
                        Damage { segment: segment.number, from: at, to: at + length, lost: true, trailing: false };
                    self.offer(&header, payload, damage)?;
                }
            }
            Step::Damaged(range) => self.fetcher.damage.push(Damage {
                segment: segment.number,
                from: range.start,
                to: range.end,
                lost: true,
                trailing: false,
            }),
            Step::End { at, trailing } => {
                if trailing > 0 {
                    let (from, to) = (at, at + trailing);
                    self.fetcher.damage.push(Damage { segment: segment.number, from, to, lost: true, trailing: true });
                }
                self.gap(segment.end)?;
            }
        }
        Ok(length)
    }

    /// Puts a record where takers find it, unless it is done.
    fn offer(&mut self, header: &RecordHeader, payload: Vec<u8>, place: Damage) -> Result<(), IoFailure> {
        let Ok(payload) = plain(header, payload) else {
            // The checksum is right and the content is not: nothing that this code wrote.
            self.fetcher.damage.push(place);
            let spans = header.total + u64::from(header.spans);
            return self.gap(Mark { sequence: header.sequence + 1, spans });
        };
        let mut state = self.shared.lock();
        let spans = header.total + u64::from(header.spans);
        state.fetched = Mark { sequence: header.sequence + 1, spans };
        if !state.acked.contains(header.sequence) {
            let earlier = u32::from(header.sequence < state.marked_before);
            let entry = Entry { payload, spans: header.spans, unix_nano: header.unix_nano, earlier };
            state.offer(header.sequence, entry);
        }
        drop(state);
        self.fetcher.damage.clear();
        Ok(())
    }

    /// Records up to here are not there. They are lost, unless they are done.
    fn gap(&mut self, to: Mark) -> Result<(), IoFailure> {
        let mut state = self.shared.lock();
        if to.sequence <= state.fetched.sequence {
            return Ok(());
        }
        let from = std::mem::replace(&mut state.fetched, to);
        let lost = state.gone(from, to);
        drop(state);
        let damage = std::mem::take(&mut self.fetcher.damage);
        if lost {
            let options = &self.shared.options;
            for damage in damage {
                let now = options.clock.now_unix_nano();
                quarantine(self.disk.as_ref(), &self.shared.dir, &damage, now, options.quarantine_bytes)?;
            }
        }
        Ok(())
    }
}

/// The payload as it was appended.
fn plain(header: &RecordHeader, stored: Vec<u8>) -> io::Result<Payload> {
    let (stored, length) = (Bytes::from(stored), header.plain_length as usize);
    let payload = match header.plain_head {
        None => stored.into(),
        Some(head) if head <= stored.len().min(length) => {
            let rest = decompress(stored.get(head..).unwrap_or_default(), length - head)?;
            Payload::new(stored.slice(..head), rest.into())
        }
        Some(_) => return Err(io::ErrorKind::InvalidData.into()),
    };
    if payload.len() == length { Ok(payload) } else { Err(io::ErrorKind::InvalidData.into()) }
}
