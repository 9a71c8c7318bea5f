//! Writes the cursor and gives space back.

use std::time::{Duration, Instant};

use super::Writer;
use crate::error::{Context, IoFailure};
use crate::format::{CursorSlot, DATA_START, RECORD_HEADER};
use crate::reserve::Outcome;
use crate::state::Pending;

/// How long the log waits before it tries again what has just failed.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// An active segment that is done is given back from this part of its full size on. Giving it back
/// at once would cost a slow stream a new file for every request.
const GIVE_BACK_PART: u64 = 4;

impl Writer {
    /// What the cursor should say now.
    pub(super) fn snapshot(&self) -> CursorSlot {
        let mut state = self.shared.lock();
        state.cursor_dirty = false;
        CursorSlot {
            generation: 0,
            floor: state.acked.floor(),
            end: state.end,
            handed_to: state.mark_wanted(),
            next_segment: self.next_segment,
            ranges: state.acked.ranges().collect(),
        }
    }

    /// Writes the cursor if it has changed, removes what is done, lets takers have what is marked.
    pub fn settle(&mut self, closing: bool) {
        let now = Instant::now();
        if !closing && self.retry_at.is_some_and(|at| now < at) {
            self.mark(None);
            return;
        }
        self.retry_at = None;
        let write = {
            let state = self.shared.lock();
            let due = (state.cursor_dirty || !self.unneeded.is_empty())
                && now >= self.last_cursor_write + self.shared.options.sync_interval;
            due || closing || state.mark_is_due()
        };
        let mut result = Ok(());
        if write {
            let mut slot = self.snapshot();
            let complete_below = slot.fit();
            self.last_cursor_write = now;
            result = self.cursor.write(&mut slot);
            self.mark(result.is_ok().then_some(slot.handed_to));
            if result.is_ok() {
                result = self.retire(complete_below, slot);
            }
        } else {
            self.tell_takers();
        }
        if result.is_ok() && now >= self.last_cursor_sync + self.shared.options.ack_interval {
            result = self.cursor.sync();
            self.last_cursor_sync = now;
        }
        if let Err(failure) = result {
            let mut state = self.shared.lock();
            state.failing = Some(failure);
            state.cursor_dirty = true;
            self.retry_at = Some(now + RETRY);
        }
    }

    /// Lets takers have what the cursor knows to be marked. If it cannot be written they get what
    /// they want: delivering records matters more than being sure which of them come twice.
    fn mark(&self, written: Option<u64>) {
        let mut state = self.shared.lock();
        let mark = written.unwrap_or_else(|| state.mark_wanted());
        state.news |= mark > state.marked_to;
        state.marked_to = state.marked_to.max(mark);
        drop(state);
        self.tell_takers();
    }

    /// Once for all that has come since.
    fn tell_takers(&self) {
        if std::mem::take(&mut self.shared.lock().news) {
            self.shared.takers.notify_waiters();
        }
    }

    /// Removes segments that are done, if the cursor knows it of all records below this sequence.
    fn retire(&mut self, complete_below: u64, mut slot: CursorSlot) -> Result<(), IoFailure> {
        let all = self.shared.lock().give_back;
        let least = if all { 0 } else { self.shared.options.segment_bytes() / GIVE_BACK_PART };
        let active = self.active.as_ref().filter(|active| active.length < least).map(|active| active.number);
        let done: Vec<u64> = {
            let mut state = self.shared.lock();
            let done = state.segments.iter().filter(|segment| {
                segment.live_records == 0
                    && segment.end.sequence <= complete_below
                    // Acknowledged since the cursor was written: it goes with the next one.
                    && (segment.end.sequence <= slot.floor.sequence || covered(&slot, segment.base.sequence, segment.end.sequence))
                    && Some(segment.number) != active
            });
            let done: Vec<u64> = done.map(|segment| segment.number).collect();
            // What the cursor does not know yet is given back with the next one.
            let drained = state.segments.iter().filter(|segment| segment.live_records == 0).count();
            state.give_back = all && drained > done.len();
            done
        };
        if done.is_empty() && self.unneeded.is_empty() {
            return Ok(());
        }
        if !done.is_empty() {
            self.cursor.sync()?;
            self.cursor.write_both(&mut slot)?;
        }
        for number in done {
            if self.active.as_ref().is_some_and(|active| active.number == number) {
                self.active = None;
            }
            let mut state = self.shared.lock();
            if let Some(at) = state.segments.iter().position(|segment| segment.number == number)
                && let Some(segment) = state.segments.remove(at)
            {
                state.on_disk -= segment.length;
            }
            drop(state);
            self.unneeded.push(self.segment_path(number));
        }
        self.shared.room.notify_waiters();
        while let Some(path) = self.unneeded.pop() {
            if let Err(failure) = self.disk.remove(&path).context("remove", &path)
                && failure.source.kind() != std::io::ErrorKind::NotFound
            {
                self.unneeded.push(path);
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Drops the oldest segments until these records fit; if that is not enough, the newest records.
    pub(super) fn make_room(&mut self, pending: &mut Vec<Pending>) {
        let max = self.shared.options.max_bytes;
        let mut needed: u64 = pending.iter().map(|record| (RECORD_HEADER + record.payload.len()) as u64).sum();
        let mut given_back = false;
        loop {
            let mut state = self.shared.lock();
            if state.on_disk + needed + 2 * DATA_START <= max {
                return;
            }
            // What is done goes first.
            if std::mem::replace(&mut given_back, true) {
                let Some(spans) = state.drop_oldest() else { break };
                state.counts.dropped_oldest_spans += spans;
            }
            state.give_back = true;
            drop(state);
            let mut slot = self.snapshot();
            let complete_below = slot.fit();
            let result = self.cursor.write(&mut slot).and_then(|()| self.retire(complete_below, slot));
            if let Err(failure) = result {
                self.shared.lock().cursor_dirty = true;
                self.failed(failure);
                break;
            }
        }
        while let Some(record) = pending.pop() {
            let mut state = self.shared.lock();
            if state.on_disk + needed + 2 * DATA_START <= max {
                pending.push(record);
                return;
            }
            needed -= (RECORD_HEADER + record.payload.len()) as u64;
            state.promised -= record.charge;
            state.counts.dropped_newest_spans += u64::from(record.spans);
            drop(state);
            let _ = record.sender.send(Ok(Outcome::Dropped));
        }
    }
}

/// Whether a cursor knows that all records between these two are done.
fn covered(slot: &CursorSlot, from: u64, to: u64) -> bool {
    slot.ranges.iter().any(|(start, end, _)| *start <= from.max(slot.floor.sequence) && to <= *end)
}
