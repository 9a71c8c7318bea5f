//! When the writer thread has something to do.

use std::sync::PoisonError;
use std::time::Instant;

use super::Writer;
use crate::state::{Pending, Shared, State};

/// What a round begins with.
pub(crate) struct Round {
    pub pending: Vec<Pending>,
    pub closing: bool,
}

impl Shared {
    /// Whether takers have come so far that more should be fetched.
    pub(crate) fn wants_fetch(&self, state: &State) -> bool {
        state.fetched.sequence < state.end.sequence
            && (state.ready.is_empty() || state.ready_bytes < self.options.read_ahead_bytes / 2)
    }
}

impl Writer {
    /// Sleeps until a round is due.
    pub fn wait(&self) -> Round {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        loop {
            let now = Instant::now();
            match self.due(&state, now) {
                Some(due) if due <= now => break,
                Some(due) => {
                    let waited = shared.work.wait_timeout(state, due - now);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
        state.pending_bytes = 0;
        if !state.pending.is_empty() {
            state.expected = state.pending.len();
        }
        Round { pending: std::mem::take(&mut state.pending), closing: state.closing }
    }

    /// When the next round is due, if nothing else happens.
    fn due(&self, state: &State, now: Instant) -> Option<Instant> {
        let options = &self.shared.options;
        if state.closing || state.pending_bytes >= options.sync_bytes {
            return Some(now);
        }
        let mut due: Option<Instant> = None;
        let mut at = |time: Instant| due = Some(due.map_or(time, |due| due.min(time)));
        if let Some(first) = state.pending.first() {
            let next = self.last_sync.map(|begun| begun + options.sync_interval);
            // Those who were just answered send more at once: with it the next sync is worth its cost.
            let late = self.last_synced.filter(|_| state.pending.len() < state.expected);
            let late = late.map(|ended| ended + options.sync_interval);
            let next = next.max(late).filter(|_| options.fsync);
            at(next.map_or(now, |next| next.max(first.since)));
        }
        // After a failure, what only repeats itself waits a little.
        let earliest = self.retry_at.unwrap_or(now);
        if state.mark_is_due() {
            at(now);
        }
        if self.shared.wants_fetch(state) {
            at(earliest);
        }
        if state.cursor_dirty || !self.unneeded.is_empty() {
            at((self.last_cursor_write + options.sync_interval).max(earliest));
        }
        if self.cursor.is_unsynced() {
            at((self.last_cursor_sync + options.ack_interval).max(earliest));
        }
        due
    }
}
