//! When the writer thread has something to do.

use std::sync::PoisonError;
use std::time::Instant;

use super::Writer;
use crate::state::{Pending, Shared, Sleep, State};

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
                    state.sleep = Sleep::Until(due);
                    let waited = shared.work.wait_timeout(state, due - now);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => {
                    state.sleep = Sleep::Unbounded;
                    state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
            state.sleep = Sleep::Awake;
        }
        // A round for something else does not tear apart what is to share a sync.
        let is_due = state.sync_due(&shared.options).is_some_and(|due| state.closing || due <= Instant::now());
        if !is_due {
            return Round { pending: Vec::new(), closing: state.closing };
        }
        (state.expected, state.pending_bytes) = (state.pending.len(), 0);
        state.sync_from = Some(Instant::now() + shared.options.sync_interval);
        // As many are likely to come again.
        let next = Vec::with_capacity(state.expected);
        Round { pending: std::mem::replace(&mut state.pending, next), closing: state.closing }
    }

    /// When the next round is due, if nothing else happens.
    fn due(&self, state: &State, now: Instant) -> Option<Instant> {
        let options = &self.shared.options;
        if state.closing {
            return Some(now);
        }
        let mut due = state.sync_due(options);
        let mut at = |time: Instant| due = Some(due.map_or(time, |due| due.min(time)));
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
