//! What is shown of a breaker: the gauge, readiness and the log are of the plugin, whichever version of it serves.
//!
//! So only the guard of the version that serves writes them. One that is replaced may live on for long, as the
//! version that stands by or with requests that are under way, and shows nothing any more.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::super::breaker::State;
use super::Guard;
use crate::config::processor::OnFailure;

impl Guard {
    pub(super) fn serves(&self) -> MutexGuard<'_, bool> {
        self.serves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This version serves from now on: its breaker is the one that is shown.
    pub fn begin_to_serve(&self) {
        let mut serves = self.serves();
        *serves = true;
        // The cores may have called it for a while already.
        self.show(if self.breaker.is_open() { State::Open } else { State::Closed });
        if self.has_missed_probe.swap(false, Ordering::Relaxed) {
            self.schedule(Duration::ZERO);
        }
    }

    /// Whether a call of this version has ever gone well.
    pub fn has_done_well(&self) -> bool {
        self.breaker.has_done_well()
    }

    /// Whether this version is not called until a probe goes well.
    pub fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Another version serves, or none: nothing is held, shown or probed for this one any more.
    pub fn retire(&self) {
        if std::mem::take(&mut *self.serves()) {
            self.care.readiness.release(&self.who());
        }
    }

    /// Tells of its breaker, if this version serves.
    pub(super) fn tell(&self, state: State, pause: Duration) {
        let serves = self.serves();
        if !*serves {
            return;
        }
        self.show(state);
        match state {
            State::Closed => tracing::info!(event = "plugin.breaker", plugin = self.id, state = "closed"),
            State::Probing => tracing::debug!(event = "plugin.breaker", plugin = self.id, state = "probing"),
            State::Open => {
                let probe_ms = pause.as_millis() as u64;
                tracing::warn!(event = "plugin.breaker", plugin = self.id, state = "open", probe_ms);
            }
        }
    }

    /// Tells that its breaker is open again after a probe; that it has opened was told before.
    pub(super) fn tell_open_still(&self) {
        let serves = self.serves();
        if *serves {
            self.show(State::Open);
        }
    }

    /// Shows the state of its breaker. To be called by who knows that this version serves.
    fn show(&self, state: State) {
        self.stats.breaker(state);
        match state {
            State::Closed => self.care.readiness.release(&self.who()),
            State::Open if self.on_failure == OnFailure::Closed => {
                self.care.readiness.hold(&self.who(), "the plugin fails and must not be passed by");
            }
            State::Open | State::Probing => {}
        }
    }

    fn who(&self) -> String {
        format!("processor {}", self.id)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.retire();
    }
}
