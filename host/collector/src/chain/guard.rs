//! What becomes of spans that a plugin fails on: the search for the guilty ones, the policies, the
//! breaker. One guard a version of a plugin, shared by all cores.
//!
//! What enters is a slice on which a call has failed, as it entered the plugin; what leaves is what
//! the plugin made of the rest, or the failure. Everything here but [`Guard::admission`] and
//! [`Guard::succeeded`] runs on the side thread, or costs no more than a lock.

mod serving;
#[cfg(test)]
mod tests;
mod trials;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sluice_sandbox::{CallError, Effects, FailureKind, Instance, Prepared};
use sluice_spans::Batch;

use super::aside::Aside;
use super::breaker::{Admission, Breaker, State};
use super::isolate::{Trial, isolate};
use super::patient::{Allowance, Fate, Patient, Served, Treated};
use super::stats::PluginStats;
use crate::config::processor::{OnFailure, OnPoison, Settings};
use crate::extension::Readiness;
use crate::quarantine::{Case, Kept, Quarantine};

/// CPU time of the search, in time limits of the plugin; one of them is for the rest.
const TIME_FACTOR: u32 = 4;

/// What a part gets of the time limit beside its share by its spans: a call costs something whatever
/// it is given.
const TIME_FLOOR: u32 = 16;

/// How long after a timeout the side thread's instance is kept at most: longer than it is used.
const SPARE: Duration = Duration::from_secs(2);

/// What guards are made with.
#[derive(Clone)]
pub struct Care {
    /// Where calls are made that may take long.
    pub aside: Aside,
    /// Who is told that a plugin that must not be passed by is not called.
    pub readiness: Readiness,
    /// Where spans are set aside, if anywhere.
    pub quarantine: Option<Arc<Quarantine>>,
}

/// See the module.
pub struct Guard {
    id: String,
    prepared: Prepared,
    stats: Arc<PluginStats>,
    pub(super) on_failure: OnFailure,
    on_poison: OnPoison,
    breaker: Breaker,
    care: Care,
    /// The side thread's instance, while calls are made there.
    spare: Mutex<Option<Instance>>,
    /// Whether this version serves.
    serves: Mutex<bool>,
    /// The plugin is about to be tried with a copy.
    is_to_be_tried: AtomicBool,
    /// A probe was due while this version did not serve, or not yet.
    has_missed_probe: AtomicBool,
    /// That the version before does what this one fails on was told.
    is_told: AtomicBool,
    /// Calls of `flush` that have failed since the last one that went well.
    failed_flushes: AtomicU32,
    me: Weak<Self>,
}

impl Guard {
    /// The guard of a plugin that was prepared with these settings.
    pub fn new(id: &str, settings: &Settings, prepared: &Prepared, stats: &Arc<PluginStats>, care: &Care) -> Arc<Self> {
        let default = if care.quarantine.is_some() { OnPoison::Quarantine } else { OnPoison::Drop };
        Arc::new_cyclic(|me| Self {
            id: id.to_owned(),
            prepared: prepared.clone(),
            stats: Arc::clone(stats),
            on_failure: settings.on_failure,
            on_poison: settings.on_poison.unwrap_or(default),
            breaker: Breaker::new(settings.restart),
            care: care.clone(),
            spare: Mutex::default(),
            serves: Mutex::default(),
            is_to_be_tried: AtomicBool::new(false),
            has_missed_probe: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            failed_flushes: AtomicU32::new(0),
            me: Weak::clone(me),
        })
    }

    fn spare(&self) -> MutexGuard<'_, Option<Instance>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn aside(&self) -> &Aside {
        &self.care.aside
    }

    pub(super) fn admission(&self) -> Admission {
        self.breaker.admission(Instant::now)
    }

    pub(super) fn succeeded(&self) {
        self.breaker.succeeded();
    }

    /// Keeps a slice that was turned away for the next probe.
    pub(super) fn turned_away(&self, batch: &mut Batch) -> CallError {
        self.breaker.turned_away(|| batch.encode());
        let message = "the plugin has failed and is not called for a while".to_owned();
        CallError { kind: FailureKind::Trap, message, backtrace: None }
    }

    /// Tells, once, that the version before does what this one fails on.
    pub(super) fn tell_relief(&self) {
        if !self.is_told.swap(true, Ordering::Relaxed) {
            let version = &self.prepared.description().version;
            let why = "the version before does what this one fails on or is late with";
            tracing::warn!(event = "plugin.standby", plugin = self.id, version, "{why}");
        }
    }

    /// Notes how a call of `flush` ended.
    pub(super) fn flushed(&self, went_well: bool) {
        let failures = if went_well { 0 } else { self.failed_flushes().saturating_add(1) };
        self.failed_flushes.store(failures, Ordering::Relaxed);
    }

    /// How many calls of `flush` have failed in a row.
    pub fn failed_flushes(&self) -> u32 {
        self.failed_flushes.load(Ordering::Relaxed)
    }

    /// Notes a failed call. One that is overdue counts as no failure; whether it is the plugin that is slow is found out
    /// aside, as after a timeout.
    pub(super) fn call_failed(&self, error: &CallError) {
        if error.kind != FailureKind::Overdue {
            self.stats.failed(&self.id, error);
        }
        if matches!(error.kind, FailureKind::Timeout | FailureKind::Overdue) {
            let now = Instant::now();
            self.breaker.timed_out(now);
            let me = Weak::clone(&self.me);
            self.care.aside.at(now + SPARE, move || {
                drop(me.upgrade().and_then(|guard| guard.spare().take()));
            });
        }
    }

    /// Notes a failure that is the plugin's own: it pauses, or its breaker opens.
    pub(super) fn failed(&self) {
        if let Some(pause) = self.breaker.failed(Instant::now()) {
            self.tell(State::Open, pause);
            self.schedule(pause);
        }
    }

    fn schedule(&self, pause: Duration) {
        let me = Weak::clone(&self.me);
        self.care.aside.at(Instant::now() + pause, move || {
            let Some(guard) = me.upgrade() else { return };
            let serves = guard.serves();
            if *serves {
                drop(serves);
                guard.probe();
            } else {
                // A version that has been replaced needs no probe, although it may stand by. One that begins to
                // serve does.
                guard.has_missed_probe.store(true, Ordering::Relaxed);
            }
        });
    }

    /// Sees to a slice, on the side thread.
    pub(super) fn treat(&self, patient: Patient) -> Treated {
        let Patient { pipeline, mut batch, mut effects, mut allowance, error } = patient;
        let mut instance = self.spare().take();
        let fate = self.fate(&mut instance, &pipeline, &mut batch, &mut effects, &mut allowance, error);
        if self.breaker.is_suspect() {
            *self.spare() = instance;
        }
        Treated { batch, effects, allowance, fate }
    }

    fn fate(
        &self,
        instance: &mut Option<Instance>,
        pipeline: &str,
        batch: &mut Batch,
        effects: &mut Effects,
        allowance: &mut Allowance,
        error: Option<CallError>,
    ) -> Fate {
        let error = match error {
            Some(error) => error,
            None => match self.call(instance, self.prepared.limits().timeout, batch, effects, &mut Duration::default())
            {
                Ok(served) => {
                    self.breaker.succeeded();
                    return Fate::Served(served);
                }
                Err(error) => {
                    self.call_failed(&error);
                    error
                }
            },
        };
        let mut whole = batch.part(|_| true);
        // A plugin that cannot be set up anew fails whatever it is given.
        let is_search = error.kind != FailureKind::Configure;
        let found = is_search.then(|| self.search(instance, batch, effects, allowance)).flatten();
        if let Some((poison, mut served)) = found {
            // Nothing of this slice speaks for the plugin if all of it is blamed; then an earlier
            // call must.
            if served.entered > 0 {
                self.breaker.succeeded();
            } else if !self.breaker.take_proof() {
                return self.failed_with(pipeline, whole, batch, error);
            }
            match self.on_poison {
                OnPoison::Pass => *batch = whole,
                OnPoison::Refuse => {
                    *batch = whole;
                    return Fate::Refused(error);
                }
                OnPoison::Drop => served.poison = poison.len() as u32,
                OnPoison::Quarantine => {
                    let wire = whole.part(|row| poison.contains(&row)).encode();
                    match self.keep(pipeline, error.kind.as_str(), &error, poison.len() as u32, &wire) {
                        Some(kept) => served.kept = Some(kept),
                        None => served.poison = poison.len() as u32,
                    }
                }
            }
            return Fate::Served(served);
        }
        self.failed_with(pipeline, whole, batch, error)
    }

    /// The failure is the plugin's.
    fn failed_with(&self, pipeline: &str, mut whole: Batch, batch: &mut Batch, error: CallError) -> Fate {
        self.failed();
        if self.on_failure == OnFailure::Quarantine
            && let Some(kept) = self.keep(pipeline, error.kind.as_str(), &error, whole.spans(), &whole.encode())
        {
            *batch = Batch::default();
            return Fate::Quarantined(kept);
        }
        *batch = whole;
        Fate::Failed(error)
    }

    /// Puts spans into the quarantine; `None`, with a line in the log, if that cannot be done.
    pub(super) fn keep(&self, pipeline: &str, kind: &str, error: &CallError, spans: u32, wire: &[u8]) -> Option<Kept> {
        let case = Case {
            pipeline: pipeline.to_owned(),
            plugin: self.id.clone(),
            version: self.prepared.description().version.clone(),
            digest: self.prepared.digest().to_owned(),
            kind: kind.to_owned(),
            reason: error.message.clone(),
            backtrace: error.backtrace.clone().unwrap_or_default(),
            spans,
        };
        let kept = self.care.quarantine.as_ref()?.keep(&case, wire);
        kept.inspect_err(|reason| tracing::error!(event = "quarantine", plugin = self.id, spans, %reason)).ok()
    }

    /// Finds the rows that the plugin fails on and calls it with the others, which `batch` holds
    /// afterwards. `None` if they are not found: `batch` is not to be used any more.
    fn search(
        &self,
        instance: &mut Option<Instance>,
        batch: &mut Batch,
        effects: &mut Effects,
        allowance: &mut Allowance,
    ) -> Option<(Vec<u32>, Served)> {
        let (rows, limit) = (batch.spans(), self.prepared.limits().timeout);
        let Allowance { mut calls, mut spent, blame } = *allowance;
        let mut served = Served::default();
        let mut rest = None;
        let poison = isolate(rows, &mut calls, blame, |trial| {
            let (mut part, most) = match &trial {
                Trial::Only(range) => {
                    let share =
                        limit.mul_f64(f64::from(range.end - range.start) / f64::from(rows)) + limit / TIME_FLOOR;
                    // The last limit's worth is for the rest.
                    (batch.part(|row| range.contains(&row)), share.min((limit * (TIME_FACTOR - 1)).checked_sub(spent)?))
                }
                Trial::AllBut(poison) => {
                    (batch.part(|row| !poison.contains(&row)), limit.min((limit * TIME_FACTOR).checked_sub(spent)?))
                }
            };
            let result = match trial {
                Trial::Only(_) => self.call(instance, most, &mut part, &mut Effects::default(), &mut spent).map(drop),
                Trial::AllBut(_) => self.call(instance, most, &mut part, effects, &mut spent).map(|done| {
                    served = done;
                    rest = Some(part);
                }),
            };
            Some(result.is_ok())
        });
        *allowance = Allowance { calls, spent, blame: blame - poison.as_ref().map_or(0, Vec::len) };
        *batch = rest.unwrap_or_default();
        Some((poison?, served))
    }

    /// One call on the side thread. Adds the CPU time that it took, without that of setting the plugin up.
    fn call(
        &self,
        instance: &mut Option<Instance>,
        most: Duration,
        batch: &mut Batch,
        effects: &mut Effects,
        spent: &mut Duration,
    ) -> Result<Served, CallError> {
        let instance = match instance {
            Some(instance) => instance,
            none => none.insert(self.prepared.instantiate()?),
        };
        let (entered, restarts) = (batch.spans(), instance.restarts());
        let revived = instance.revive();
        self.stats.restarted(instance.restarts() - restarts);
        revived?;
        instance.set_timeout(most);
        let began = thread_cpu_time();
        let result = instance.process(batch, effects);
        *spent += thread_cpu_time().saturating_sub(began);
        let done = result?;
        Ok(Served { entered, dropped: done.dropped, edited: done.edited, ..Served::default() })
    }
}

/// The CPU time that this thread has used.
pub fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
