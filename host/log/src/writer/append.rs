//! Writes records, many at a time, and syncs them before anybody is told that they are safe.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Active, Writer};
use crate::error::{AppendError, Context, IoFailure};
use crate::format::{Checksums, DATA_START, Mark, RECORD_HEADER, RecordHeader, SegmentHeader, segment_name};
use crate::options::OnFull;
use crate::reserve::Outcome;
use crate::state::{Entry, Pending, SegmentInfo, State};

/// What of it comes behind the header.
fn stored(pending: &Pending) -> [&[u8]; 2] {
    let [head, rest] = pending.payload.parts();
    [head, pending.stored.as_ref().map_or(rest, Vec::as_slice)]
}

fn framed(pending: &Pending) -> u64 {
    (RECORD_HEADER + stored(pending).map(<[u8]>::len).iter().sum::<usize>()) as u64
}

impl Writer {
    /// Writes these records and answers each.
    pub fn append(&mut self, mut pending: Vec<Pending>) {
        if pending.is_empty() {
            return;
        }
        if self.shared.options.on_full == OnFull::DropOldest {
            self.make_room(&mut pending);
        }
        let segment_bytes = self.shared.options.segment_bytes();
        while !pending.is_empty() {
            let room = self.active.as_ref().map_or(0, |active| segment_bytes.saturating_sub(active.length));
            let mut count = fitting(&pending, room);
            if count == 0 {
                self.active = None;
                count = fitting(&pending, segment_bytes - DATA_START).max(1);
            }
            let rest = pending.split_off(count);
            let chunk = std::mem::replace(&mut pending, rest);
            match self.write_chunk(&chunk) {
                Ok(written) => self.answer(chunk, &written),
                Err(failure) => self.refuse(chunk, &failure),
            }
        }
        self.shared.lock().late_from = Some(Instant::now() + self.shared.options.sync_interval);
        self.shared.room.notify_waiters();
    }

    /// Writes records into the active segment, or begins one with them.
    fn write_chunk(&mut self, chunk: &[Pending]) -> Result<Written, IoFailure> {
        self.last_unix_nano = self.last_unix_nano.max(self.shared.options.clock.now_unix_nano());
        let (active, segment_header) = match self.active.take() {
            Some(active) => (active, Vec::new()),
            None => self.begin_segment()?,
        };
        let fresh = !segment_header.is_empty();
        let length = segment_header.len() as u64 + chunk.iter().map(framed).sum::<u64>();
        let (base, unix_nano) = (self.next, self.last_unix_nano);
        let pieces = |give: &mut dyn FnMut(&[u8])| {
            give(&segment_header);
            write_records(chunk, base, unix_nano, Checksums::new(active.salt), give);
        };
        let path = self.segment_path(active.number);
        let result = active.file.write_pieces(length as usize, &pieces, active.length, &mut self.buffer);
        if let Err(failure) = result.context("write", &path) {
            self.after_failed_write(active, fresh, &failure);
            return Err(failure);
        }
        if let Err(failure) = self.sync_chunk(&active, fresh, &path) {
            // Nobody knows what of it is on disk, and a second sync would not tell: this segment is
            // not written again. Its records are cut off if that works. If not, the next segment
            // takes their sequences, which is how a reader knows.
            self.abandon(&active, fresh);
            return Err(failure);
        }
        let (from, length) = (active.length, active.length + length);
        let written = Written { number: active.number, salt: active.salt, fresh, from, length, base };
        self.active = Some(Active { length, ..active });
        self.next = chunk.iter().fold(base, |mark, record| mark.after(record.spans));
        Ok(written)
    }

    fn sync_chunk(&self, active: &Active, fresh: bool, path: &Path) -> Result<(), IoFailure> {
        if !self.shared.options.fsync {
            return Ok(());
        }
        active.file.sync().context("sync", path)?;
        if fresh {
            self.disk.sync_dir(&self.shared.dir).context("sync", &self.shared.dir)?;
        }
        Ok(())
    }

    /// A segment and its header, which is written with the first records.
    fn begin_segment(&mut self) -> Result<(Active, Vec<u8>), IoFailure> {
        let (number, salt) = (self.next_segment, rand::random());
        self.next_segment += 1;
        let path = self.segment_path(number);
        // Without syncs the page cache is where records wait for the disk.
        let created = if self.shared.options.fsync { self.disk.create_log(&path) } else { self.disk.create(&path) };
        let file = created.context("create", &path)?;
        let header = SegmentHeader { number, base: self.next, salt, unix_nano: self.last_unix_nano };
        Ok((Active { file, number, salt, length: 0 }, header.encode()))
    }

    /// A disk without room has not harmed what was there before: the file is cut back and used again.
    fn after_failed_write(&mut self, active: Active, fresh: bool, failure: &IoFailure) {
        if !fresh && failure.is_no_space() && active.file.truncate(active.length).is_ok() {
            self.active = Some(active);
        } else {
            self.abandon(&active, fresh);
        }
    }

    fn abandon(&mut self, active: &Active, fresh: bool) {
        let path = self.segment_path(active.number);
        if fresh {
            if self.disk.remove(&path).is_err() {
                self.unneeded.push(path);
            }
        } else if let Err(failure) = active.file.truncate(active.length).context("truncate", &path) {
            self.failed(failure);
        }
    }

    /// The records are safe: takers may have them, senders are told.
    fn answer(&mut self, chunk: Vec<Pending>, written: &Written) {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        let mut at = written.from + if written.fresh { DATA_START } else { 0 };
        let mut answers = Vec::with_capacity(chunk.len());
        let live_spans = self.next.spans - written.base.spans;
        if written.fresh {
            let (number, salt, base) = (written.number, written.salt, written.base);
            let (live_records, live_spans) = (0, 0);
            state.segments.push_back(SegmentInfo {
                number,
                salt,
                base,
                end: base,
                length: 0,
                live_records,
                live_spans,
            });
        }
        if let Some(segment) = state.segments.back_mut() {
            segment.live_records += chunk.len() as u64;
            segment.live_spans += live_spans;
            segment.end = self.next;
            segment.length = written.length;
        }
        state.on_disk += written.length - written.from;
        state.counts.appended_records += chunk.len() as u64;
        state.counts.appended_spans += live_spans;
        state.counts.syncs += u64::from(shared.options.fsync);
        state.failing = None;
        let mut mark = written.base;
        for record in chunk {
            at += framed(&record);
            state.promised -= record.charge;
            let sequence = mark.sequence;
            let after = mark.after(record.spans);
            if state.fetched == mark && self.has_room_ahead(&state) {
                let entry =
                    Entry { payload: record.payload, spans: record.spans, unix_nano: self.last_unix_nano, earlier: 0 };
                state.offer(sequence, entry);
                state.fetched = after;
                self.fetcher.skip_to(written.number, at);
            }
            mark = after;
            answers.push((record.sender, sequence));
        }
        state.end = self.next;
        state.cursor_dirty = true;
        drop(state);
        for (sender, sequence) in answers {
            // A sender that does not wait any more has lost nothing.
            let _ = sender.send(Ok(Outcome::Appended { sequence }));
        }
    }

    pub(super) fn has_room_ahead(&self, state: &State) -> bool {
        state.ready.is_empty() || state.ready_bytes < self.shared.options.read_ahead_bytes
    }

    fn refuse(&mut self, chunk: Vec<Pending>, failure: &IoFailure) {
        let mut state = self.shared.lock();
        for record in &chunk {
            state.promised -= record.charge;
            state.counts.failed_spans += u64::from(record.spans);
        }
        state.failing = Some(failure.clone());
        drop(state);
        for record in chunk {
            let _ = record.sender.send(Err(AppendError::Io(failure.clone())));
        }
    }

    pub(super) fn segment_path(&self, number: u64) -> PathBuf {
        self.shared.dir.join(segment_name(number))
    }
}

/// Gives these records and their headers, the first one at `mark`.
fn write_records(
    records: &[Pending],
    mut mark: Mark,
    unix_nano: u64,
    checksums: Checksums,
    give: &mut dyn FnMut(&[u8]),
) {
    for record in records {
        let header = RecordHeader {
            length: 0,
            payload_crc: 0,
            sequence: mark.sequence,
            spans: record.spans,
            plain_head: record.stored.as_ref().map(|_| record.payload.parts()[0].len()),
            total: mark.spans,
            unix_nano,
            plain_length: record.payload.len() as u32,
        };
        let parts = stored(record);
        give(&header.encode(&parts, checksums));
        for part in parts {
            give(part);
        }
        mark = mark.after(record.spans);
    }
}

/// Where a chunk was written.
struct Written {
    number: u64,
    salt: u64,
    fresh: bool,
    from: u64,
    length: u64,
    base: Mark,
}

/// How many of these records fit into so many bytes.
fn fitting(pending: &[Pending], room: u64) -> usize {
    let mut used = 0;
    pending
        .iter()
        .take_while(|record| {
            used += framed(record);
            used <= room
        })
        .count()
}
