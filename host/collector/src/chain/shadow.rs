//! The shadow: a candidate works on copies of batches, and nothing of what it does counts.
//!
//! What enters is a batch as the plugin got it, after the live one was handed on; what leaves is figures.
//! It happens on the side thread. Both versions work on the copy there, each with an instance and a view of
//! the store of its own, so that they are compared under the same conditions. When the side thread is behind,
//! copies are shed and counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sluice_sandbox::{CallError, Effects, Instance, Prepared};
use sluice_spans::Batch;

use super::aside::Aside;
use super::guard::thread_cpu_time;
use crate::swap::counts::Counts;
use crate::swap::differences;
use crate::swap::trial::Trial;

/// Bytes of copies that may wait for the side thread: some 16,000 spans. One that is larger alone is shed: whoever needs
/// that thread waits for what is done with it.
const MAX_WAITING: usize = 8 << 20;

/// Keys in the view of a store after which it is taken anew.
const MAX_KEYS: usize = 10_000;

/// What all cores share of it.
pub struct Shadow {
    id: String,
    /// The present version and the candidate.
    versions: [Prepared; 2],
    /// The share of batches that is copied.
    share: f64,
    trial: Arc<Trial>,
    aside: Aside,
    batches: AtomicU64,
    waiting: Mutex<Waiting>,
    /// The instances of both, used by the side thread alone.
    bench: Mutex<Option<[Side; 2]>>,
}

/// Copies that wait for the side thread.
#[derive(Default)]
struct Waiting {
    copies: VecDeque<Bytes>,
    bytes: usize,
    /// The side thread has been told that there are some. It takes one at a time: others need it, too.
    is_posted: bool,
}

/// A version on the side thread.
struct Side {
    prepared: Prepared,
    instance: Instance,
}

impl Side {
    fn new(prepared: &Prepared) -> Result<Self, CallError> {
        let prepared = prepared.on_a_view();
        let instance = prepared.instantiate()?;
        Ok(Self { prepared, instance })
    }

    /// Lets it work; gives what it makes of the batch and what it says beside that.
    fn work(&mut self, wire: &Bytes, counts: &Counts) -> Result<(Bytes, Effects), CallError> {
        // It is a copy of a batch of ours.
        let mut batch = Batch::parse(wire.clone()).unwrap_or_default();
        let (entered, mut effects, before) = (batch.spans(), Effects::default(), thread_cpu_time());
        let result = self.instance.process(&mut batch, &mut effects);
        let took = thread_cpu_time().saturating_sub(before);
        match result {
            Ok(processed) => {
                counts.called(entered, processed.dropped, took, self.instance.memory_bytes());
                Ok((batch.encode(), effects))
            }
            Err(error) => {
                counts.failed();
                Err(error)
            }
        }
    }
}

impl Shadow {
    /// The candidate of the plugin `id` beside the present version.
    pub fn new(
        id: &str,
        present: &Prepared,
        candidate: &Prepared,
        share: f64,
        trial: &Arc<Trial>,
        aside: &Aside,
    ) -> Self {
        Self {
            id: id.to_owned(),
            versions: [present.clone(), candidate.clone()],
            share,
            trial: Arc::clone(trial),
            aside: aside.clone(),
            batches: AtomicU64::new(0),
            waiting: Mutex::default(),
            bench: Mutex::default(),
        }
    }

    /// A copy of this batch, if it is one of those that the candidate works on.
    pub(super) fn copy(&self, batch: &mut Batch) -> Option<Bytes> {
        if self.trial.is_halted() {
            return None;
        }
        let number = self.batches.fetch_add(1, Ordering::Relaxed) as f64;
        if ((number + 1.0) * self.share).floor() <= (number * self.share).floor() {
            return None;
        }
        if self.waiting().bytes + batch.wire_len() > MAX_WAITING {
            self.trial.shed();
            return None;
        }
        Some(batch.encode())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has both versions work on a copy, when there is time.
    pub(super) fn post(self: &Arc<Self>, wire: Bytes) {
        let mut waiting = self.waiting();
        waiting.bytes += wire.len();
        waiting.copies.push_back(wire);
        self.tell(&mut waiting);
    }

    /// Tells the side thread that there is a copy. If there is no room for that now, the next one tells.
    fn tell(self: &Arc<Self>, waiting: &mut Waiting) {
        if waiting.is_posted || waiting.copies.is_empty() {
            return;
        }
        let me = Arc::clone(self);
        waiting.is_posted = self.aside.post(move || {
            let next = me.waiting().copies.pop_front();
            if let Some(wire) = next {
                me.compare(&wire);
                me.waiting().bytes -= wire.len();
            }
            let mut waiting = me.waiting();
            waiting.is_posted = false;
            me.tell(&mut waiting);
        });
    }

    fn compare(&self, wire: &Bytes) {
        if self.trial.is_halted() {
            return;
        }
        let mut bench = self.bench.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.work(&mut bench, wire) {
            self.trial.candidate.failed();
            self.failed(&error);
        }
    }

    /// Has both work; an error is the candidate's, and not counted yet.
    fn work(&self, bench: &mut Option<[Side; 2]>, wire: &Bytes) -> Result<(), CallError> {
        let is_large = |side: &Side| side.prepared.keys_in_view() > MAX_KEYS;
        if bench.as_ref().is_some_and(|sides| sides.iter().any(is_large)) {
            *bench = None;
        }
        let [present, candidate] = match bench {
            Some(sides) => sides,
            none => {
                let Ok(present) = Side::new(&self.versions[0]) else { return Ok(()) };
                none.insert([present, Side::new(&self.versions[1])?])
            }
        };
        // What the present version fails on says nothing of the next one.
        let Ok((before, effects)) = present.work(wire, &self.trial.current) else { return Ok(()) };
        effects.store.commit();
        match candidate.work(wire, &self.trial.candidate) {
            Ok((after, effects)) => {
                let changed = differences::between(&before, &after);
                self.trial.said(changed, &effects.logs, &effects.metrics);
                effects.store.commit();
            }
            Err(error) => self.failed(&error),
        }
        Ok(())
    }

    fn failed(&self, error: &CallError) {
        self.trial.check();
        if self.trial.is_first_failure() {
            let (plugin, version) = (&self.id, &self.versions[1].description().version);
            let (kind, reason) = (error.kind.as_str(), &error.message);
            let backtrace = error.backtrace.as_deref().unwrap_or_default();
            tracing::warn!(event = "plugin.failure", plugin, version, kind, reason, backtrace, "as a shadow");
        }
    }
}
