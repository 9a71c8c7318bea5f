//! Calls of a plugin that nobody waits for, on the side thread: whether it has recovered, or fails still.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_sandbox::Effects;
use sluice_spans::Batch;

use super::super::breaker::State;
use super::super::patient::Allowance;
use super::Guard;

/// How long after a slice was done by the version before this one is tried with a copy of it: often enough to
/// be found out soon, and seldom enough that cores have the machine for themselves most of the time.
const TRY_AFTER: Duration = Duration::from_millis(20);

impl Guard {
    /// Tries the plugin as a request would, but for its effects, which are thrown away. It counts as a call of this
    /// version, which may have no others; the breaker hears of it once, in the end.
    pub(super) fn probe(&self) {
        let slice = self.breaker.begin_probe().unwrap_or_default();
        self.tell(State::Probing, Duration::ZERO);
        let went_well = Batch::parse(slice).is_ok_and(|mut batch| {
            let (mut allowance, mut effects) = (Allowance::default(), Effects::default());
            let (mut instance, spans, most) = (None, batch.spans(), self.prepared.limits().timeout);
            let called = self.call(&mut instance, most, &mut batch, &mut effects, &mut Duration::default());
            let mut search = || self.search(&mut instance, &mut batch, &mut effects, &mut allowance);
            let went_well = called.is_ok() || search().is_some_and(|(_, served)| served.entered > 0);
            match called {
                Err(error) if !went_well => {
                    self.stats.tried();
                    self.stats.failed(&self.id, &error);
                }
                // That it does nothing well says nothing for it.
                _ if spans == 0 => {}
                _ => {
                    self.stats.tried();
                    self.breaker.did_well();
                }
            }
            went_well
        });
        match self.breaker.end_probe(went_well) {
            None => self.tell(State::Closed, Duration::ZERO),
            Some(pause) => {
                self.tell_open_still();
                self.schedule(pause);
            }
        }
    }

    /// Tries the plugin soon with a copy of this slice, aside, unless it is about to be tried anyway. What it makes of
    /// it is thrown away: what counts is whether it fails.
    pub(in crate::chain) fn try_soon(&self, batch: &mut Batch) {
        if self.is_to_be_tried.swap(true, Ordering::Relaxed) {
            return;
        }
        let (me, copy) = (Weak::clone(&self.me), batch.encode());
        self.care.aside.at(Instant::now() + TRY_AFTER, move || {
            // A version that has been replaced needs no trial.
            if let Some(guard) = me.upgrade() {
                guard.try_with(copy);
                guard.is_to_be_tried.store(false, Ordering::Relaxed);
            }
        });
    }

    fn try_with(&self, copy: Bytes) {
        // It is a copy of a batch of ours.
        let mut batch = Batch::parse(copy).unwrap_or_default();
        let (mut instance, most) = (self.spare().take(), self.prepared.limits().timeout);
        let result = self.call(&mut instance, most, &mut batch, &mut Effects::default(), &mut Duration::default());
        self.stats.tried();
        match result {
            Ok(_) => self.breaker.succeeded(),
            Err(error) => self.call_failed(&error),
        }
        if self.breaker.is_suspect() {
            *self.spare() = instance;
        }
    }
}
