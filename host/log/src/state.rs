//! What the callers and the writer thread share, and the rules that keep it consistent.
//!
//! Everything here happens under one lock and touches no file.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use crate::acked::Acked;
use crate::error::{AppendError, IoFailure};
use crate::format::Mark;
use crate::options::Options;
use crate::payload::Payload;
use crate::reserve::Outcome;
use crate::survey::Lost;

/// So many records may be marked as handed out before they are. The mark is made between two syncs, so
/// this bounds how many records are handed out in the time of a sync; after a crash so many records
/// may count as delivered that were not.
pub(crate) const HAND_OUT_AHEAD: usize = 256;

/// Nobody is woken for what will be seen by itself so soon after it is due.
const SLACK: Duration = Duration::from_millis(1);

/// What the writer thread is doing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// It looks at everything before it sleeps, or has been woken.
    #[default]
    Awake,
    /// It looks again then.
    Until(Instant),
    /// Until it is woken.
    Unbounded,
}

/// A log's shared half.
#[derive(Debug)]
pub(crate) struct Shared {
    pub dir: PathBuf,
    pub options: Options,
    pub state: Mutex<State>,
    /// There is something for the writer thread.
    pub work: Condvar,
    /// There may be something to take.
    pub takers: Notify,
    /// There may be room.
    pub room: Notify,
}

/// A record that waits to be written.
#[derive(Debug)]
pub(crate) struct Pending {
    pub payload: Payload,
    /// The payload's second part as it is stored, if it was compressed.
    pub stored: Option<Vec<u8>>,
    pub spans: u32,
    /// What of `promised` it holds.
    pub charge: u64,
    pub since: Instant,
    pub sender: oneshot::Sender<Result<Outcome, AppendError>>,
}

/// A record that waits to be taken, or has been.
#[derive(Debug, Default, Clone)]
pub(crate) struct Entry {
    pub payload: Payload,
    pub spans: u32,
    pub unix_nano: u64,
    /// How often it was handed out before.
    pub earlier: u32,
}

/// A segment on disk.
#[derive(Debug, Clone)]
pub(crate) struct SegmentInfo {
    pub number: u64,
    pub salt: u64,
    pub base: Mark,
    pub end: Mark,
    pub length: u64,
    pub live_records: u64,
    pub live_spans: u64,
}

/// What has happened since the log was opened. All of it is in spans, unless it says otherwise.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Records that were acknowledged to their senders.
    pub appended_records: u64,
    /// Their spans.
    pub appended_spans: u64,
    /// Acknowledged by the taker.
    pub acked_spans: u64,
    /// Dropped by [`OnFull::DropOldest`](crate::OnFull::DropOldest).
    pub dropped_oldest_spans: u64,
    /// Dropped for want of room, by either dropping policy.
    pub dropped_newest_spans: u64,
    /// Not written because the disk refused; their senders were told so.
    pub failed_spans: u64,
    /// Found to be damaged while the log was open.
    pub lost: Lost,
    /// Syncs of segments.
    pub syncs: u64,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says something of its own")]
pub(crate) struct State {
    /// Nothing is taken in or handed out any more.
    pub closing: bool,
    pub pending: Vec<Pending>,
    pub pending_bytes: u64,
    /// Records of the last write, whose senders may send more. When so many wait, nobody is waited for.
    pub expected: usize,
    /// The next sync begins no sooner than this.
    pub sync_from: Option<Instant>,
    /// So long the next sync waits for those who were in the last one.
    pub late_from: Option<Instant>,
    pub sleep: Sleep,
    /// There is something for takers that they were not told of.
    pub news: bool,
    /// Bytes that are reserved, or wait to be written.
    pub promised: u64,
    pub on_disk: u64,
    /// In order. The last one may be the one that is being written.
    pub segments: VecDeque<SegmentInfo>,
    pub ready: BTreeMap<u64, Entry>,
    pub ready_bytes: u64,
    pub ready_spans: u64,
    /// What comes next from disk or from the writer into `ready`.
    pub fetched: Mark,
    pub in_flight: BTreeMap<u64, u32>,
    pub acked: Acked,
    /// Acknowledged to senders up to here.
    pub end: Mark,
    /// Handed out up to here.
    pub taken_to: u64,
    /// What may be handed out, because the cursor says that it may have been.
    pub marked_to: u64,
    /// Records before this one were marked in an earlier life.
    pub marked_before: u64,
    /// There is something that the cursor does not know.
    pub cursor_dirty: bool,
    /// The active segment is to be given back too, if it is done: its space is wanted.
    pub give_back: bool,
    pub counts: Counts,
    /// Why the last write did not succeed, if it did not.
    pub failing: Option<IoFailure>,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The place in `segments` of the one that holds this record.
    fn segment_of(&mut self, sequence: u64) -> Option<&mut SegmentInfo> {
        let after = self.segments.partition_point(|segment| segment.base.sequence <= sequence);
        let segment = self.segments.get_mut(after.checked_sub(1)?)?;
        (sequence < segment.end.sequence).then_some(segment)
    }

    /// When the records that wait are to be written; nothing if there are none.
    pub fn sync_due(&self, options: &Options) -> Option<Instant> {
        let first = self.pending.first()?.since;
        let all_back = self.pending.len() >= self.expected;
        let enough = if all_back { options.sync_bytes / 2 } else { options.sync_bytes };
        if !options.fsync || self.pending_bytes >= enough {
            return Some(first);
        }
        let from = if all_back { self.sync_from } else { self.sync_from.max(self.late_from) };
        Some(from.map_or(first, |from| from.max(first)))
    }

    /// Whether the writer has to be woken for what is due then. Whoever asks wakes it.
    pub fn rouse(&mut self, due: Instant) -> bool {
        let sleeps_longer = match self.sleep {
            Sleep::Awake => false,
            Sleep::Until(time) => time > due + SLACK,
            Sleep::Unbounded => true,
        };
        if sleeps_longer {
            self.sleep = Sleep::Awake;
        }
        sleeps_longer
    }

    /// A record is done.
    pub fn done(&mut self, sequence: u64, spans: u32) {
        let spans = u64::from(spans);
        self.acked.insert(sequence, sequence + 1, spans);
        self.cursor_dirty = true;
        if let Some(segment) = self.segment_of(sequence) {
            segment.live_records = segment.live_records.saturating_sub(1);
            segment.live_spans = segment.live_spans.saturating_sub(spans);
        }
    }

    /// A record found no room. If nothing else is in the log, what is done is given back at once.
    pub fn want_space(&mut self) -> bool {
        self.give_back = self.segments.iter().all(|segment| segment.live_records == 0);
        self.cursor_dirty |= self.give_back;
        self.give_back
    }

    /// Puts a record where takers find it.
    pub fn offer(&mut self, sequence: u64, entry: Entry) {
        self.ready_bytes += entry.payload.len() as u64;
        self.ready_spans += u64::from(entry.spans);
        self.ready.insert(sequence, entry);
        self.news = true;
    }

    /// Removes a record from where takers find it.
    pub fn withdraw(&mut self, sequence: u64) -> Option<Entry> {
        let entry = self.ready.remove(&sequence)?;
        self.ready_bytes -= entry.payload.len() as u64;
        self.ready_spans -= u64::from(entry.spans);
        Some(entry)
    }

    /// How far the records that may be handed out should be marked: over the next few of them. They
    /// need not follow each other; what is between them may have been dropped.
    pub fn mark_wanted(&self) -> u64 {
        let ahead = self.ready.keys().take(HAND_OUT_AHEAD).last();
        ahead.map_or(0, |sequence| sequence + 1).max(self.marked_to)
    }

    /// Whether takers wait for a mark, or soon will.
    pub fn mark_is_due(&self) -> bool {
        let (Some((first, _)), Some((last, _))) = (self.ready.first_key_value(), self.ready.last_key_value()) else {
            return false;
        };
        let soon = if self.ready.len() > HAND_OUT_AHEAD / 2 { HAND_OUT_AHEAD as u64 / 2 } else { 0 };
        first + soon >= self.marked_to && *last >= self.marked_to
    }

    /// Drops what nobody has taken in the oldest segment that nobody is sending from. Says how many
    /// spans that were; nothing if there is no such segment.
    pub fn drop_oldest(&mut self) -> Option<u64> {
        let in_flight = &self.in_flight;
        let segment = self.segments.iter_mut().find(|segment| {
            segment.live_records > 0 && in_flight.range(segment.base.sequence..segment.end.sequence).next().is_none()
        })?;
        let (from, to) = (segment.base.sequence, segment.end.sequence);
        let spans = segment.live_spans;
        (segment.live_records, segment.live_spans) = (0, 0);
        // The spans of each part are not known, only their sum, which is what counts in the end.
        let mut rest = spans;
        for (from, to) in self.acked.missing(from, to) {
            self.acked.insert(from, to, std::mem::take(&mut rest));
        }
        let waiting: Vec<u64> = self.ready.range(from..to).map(|(sequence, _)| *sequence).collect();
        for sequence in waiting {
            self.withdraw(sequence);
        }
        self.cursor_dirty = true;
        Some(spans)
    }

    /// Records between two places are not on disk any more, although they should be.
    pub fn gone(&mut self, from: Mark, to: Mark) -> bool {
        let parts = self.acked.missing(from.sequence, to.sequence);
        let records: u64 = parts.iter().map(|(from, to)| to - from).sum();
        if records == 0 {
            return false;
        }
        let known: u64 = self
            .acked
            .ranges()
            .filter(|(start, end, _)| *start >= from.sequence && *end <= to.sequence)
            .map(|(_, _, spans)| spans)
            .sum();
        let spans = to.spans.saturating_sub(from.spans).saturating_sub(known);
        let mut rest = spans;
        for (from, to) in parts {
            let part = std::mem::take(&mut rest);
            self.acked.insert(from, to, part);
            if let Some(segment) = self.segment_of(from) {
                segment.live_records = segment.live_records.saturating_sub(to - from);
                segment.live_spans = segment.live_spans.saturating_sub(part);
            }
        }
        self.counts.lost.records += records;
        self.counts.lost.spans += spans;
        self.cursor_dirty = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;

    const INTERVAL: Duration = Duration::from_millis(5);

    fn waiting(records: usize, since: Instant, options: &Options) -> State {
        let pending = (0..records).map(|_| {
            let (sender, _) = oneshot::channel();
            Pending { payload: Payload::default(), stored: None, spans: 1, charge: 0, since, sender }
        });
        let (sync_from, late_from) = (Some(since + INTERVAL), Some(since + 2 * INTERVAL));
        let pending_bytes = options.sync_bytes / 2 - 1;
        State { pending: pending.collect(), pending_bytes, expected: 2, sync_from, late_from, ..State::default() }
    }

    #[test]
    fn a_sync_waits_for_the_interval_and_for_who_is_late_but_not_with_enough_bytes() {
        let (options, since) = (Options::default(), Instant::now());
        assert_eq!(waiting(0, since, &options).sync_due(&options), None);
        for (records, half_more, due) in [
            (1, 0, since + 2 * INTERVAL),
            // Half of the bytes are enough only when both are back.
            (1, 1, since + 2 * INTERVAL),
            (2, 0, since + INTERVAL),
            (2, 1, since),
            (1, 1 + options.sync_bytes / 2, since),
        ] {
            let mut state = waiting(records, since, &options);
            state.pending_bytes += half_more;
            assert_eq!(state.sync_due(&options), Some(due), "{records} records, {half_more} bytes more than too few");
            let unsynced = Options { fsync: false, ..options.clone() };
            assert_eq!(state.sync_due(&unsynced), Some(since), "without syncs nothing is waited for");
        }
    }

    #[test]
    fn the_writer_is_woken_once_and_only_if_it_would_sleep_longer() {
        let now = Instant::now();
        for (sleep, wakes) in [
            (Sleep::Awake, false),
            (Sleep::Until(now), false),
            (Sleep::Until(now + SLACK), false),
            (Sleep::Until(now + 2 * SLACK), true),
            (Sleep::Unbounded, true),
        ] {
            let mut state = State { sleep, ..State::default() };
            assert_eq!(state.rouse(now), wakes, "{sleep:?}");
            assert!(!state.rouse(now), "{sleep:?}, woken already");
        }
    }
}
