//! The chain: the plugins of one pipeline, in order, over one request.
//!
//! A request enters as validated bytes and leaves as bytes. It is worked on in bounded slices with
//! a yield between them, so that a large request does not keep a core from its other connections.
//! A plugin that fails leaves the slice as it found it. The slice then goes to the side thread, where
//! the spans that the plugin fails on are searched for (`chain/guard.rs`): if they are few, the rest
//! goes on without them, otherwise the plugin's policy decides for the whole request. Nothing that a plugin
//! did counts before [`Passed::count`] is called, which is after every destination has taken the request: a refusal and the sender's retry count once.

mod aside;
mod breaker;
mod canary;
mod count;
mod custom;
mod effects;
mod guard;
mod isolate;
mod patient;
mod shadow;
mod slot;
mod standby;
mod stats;
mod together;
mod trying;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_sandbox::{CallError, Effects, FailureKind, Instance};
use sluice_spans::Batch;

use crate::config::processor::OnFailure;
use crate::intake::Refused;
use crate::route::{PipelinePlan, Routes};
use crate::swap::counts::Counts;
use crate::swap::recent::{Call, Recent};

pub use aside::Aside;
pub use canary::Canary;
pub use custom::{CustomMetrics, OwnSeries};
pub use guard::{Care, Guard, thread_cpu_time};
pub use shadow::Shadow;
pub use stats::{PluginMetrics, PluginStats, Totals};
pub use together::together;

use crate::quarantine::Kept;
use breaker::Admission;
use patient::{Allowance, Fate, Patient, Served, Treated};
use standby::{Relief, Relieved};
use stats::CoreStats;
use trying::Trying;

/// Spans that a chain works on before it lets others run. Four plugins take some 0.3 ms for it.
pub const SLICE_SPANS: usize = 512;

/// When a sender whose request a closed plugin has refused should come back.
const CLOSED_RETRY: Duration = Duration::from_secs(1);

/// What all cores share of a processor.
#[derive(Clone)]
pub struct SlotPlan {
    /// The component id, `type[/name]`.
    pub id: String,
    /// What becomes of what it fails on.
    pub guard: Arc<Guard>,
    /// The plugin's figures.
    pub stats: Arc<PluginStats>,
    /// Where batches are kept for trying the next version.
    pub recent: Arc<Recent>,
    /// The next version, if it is tried.
    pub beside: Option<Beside>,
}

/// A candidate for a processor's next version and how it is tried; what all cores share of it.
#[derive(Clone)]
pub enum Beside {
    /// It serves a share of the traces.
    Canary(Arc<Canary>),
    /// It works on copies of a share of the batches.
    Shadow(Arc<Shadow>),
}

/// A processor on one core.
pub struct Slot {
    /// What all cores share of it.
    pub plan: SlotPlan,
    stats: Arc<CoreStats>,
    instance: Rc<RefCell<Instance>>,
    beside: Option<Trying>,
    /// The version before, while this one is on probation.
    standby: RefCell<Option<Rc<Slot>>>,
}

/// A request that has passed a chain, or several that went together.
pub struct Passed {
    /// What is left of each, empty if nothing is, and how many spans it should hold; the queue counts what
    /// it does hold.
    pub left: Vec<(Bytes, u32)>,
    done: Vec<Done>,
}

/// What one processor did to the request.
#[derive(Default)]
struct Done {
    entered: u64,
    edited: u64,
    dropped: u64,
    /// Dropped by policy, because the plugin failed, and how it failed.
    gave_up: Option<(u64, &'static str)>,
    /// Dropped, because the plugin fails on them.
    poison: u64,
    /// In the quarantine, from when the request is accepted.
    kept: Vec<Kept>,
    allowance: Allowance,
    effects: Effects,
    /// What the candidate did that serves a share of the traces.
    candidate: Option<Box<Done>>,
    /// The version before that does this request, and what it did.
    relief: Option<Box<Relief>>,
}

/// How a call of a plugin ended that has no result.
enum Failed {
    /// The request has to be refused.
    Refused(CallError),
    /// The policy for failures decides.
    ByPolicy(CallError),
    /// The plugin is not called for a while; the policy decides.
    Away(CallError),
}

enum Stop {
    Refused(Refused),
    /// The request is dropped by the policy of the processor with this index in the chain.
    Dropped(usize, &'static str),
}

impl Slot {
    fn call(&self, batch: &mut Batch, done: &mut Done, counts: Option<&Counts>) -> Result<(), CallError> {
        let mut instance = self.instance.borrow_mut();
        let (entered, restarts, started) = (batch.spans(), instance.restarts(), Instant::now());
        let kept = self.plan.recent.is_due(started, batch.wire_len()).then(|| batch.encode());
        // Asking for it is a system call.
        let cpu_time = (kept.is_some() || counts.is_some()).then(thread_cpu_time);
        // Who waits for a call that does not come back is to wait for no longer than for its time.
        instance.watch(self.can_be_relieved(done));
        let result = instance.process(batch, &mut done.effects);
        let cpu_time = cpu_time.map(|before| thread_cpu_time().saturating_sub(before));
        self.stats.called(started.elapsed(), &instance);
        self.plan.stats.restarted(instance.restarts() - restarts);
        match result {
            Ok(processed) => {
                self.plan.guard.succeeded();
                if let Some(kept) = &kept {
                    self.plan.recent.keep(kept);
                }
                match (cpu_time, counts, &kept) {
                    (Some(took), Some(counts), _) => {
                        counts.called(entered, processed.dropped, took, instance.memory_bytes());
                    }
                    // Beside a candidate, it gets only parts of what is usual.
                    (Some(took), None, Some(kept)) if self.beside.is_none() => {
                        self.plan.recent.note(Call { at: started, took, spans: entered, bytes: kept.len() });
                    }
                    _ => {}
                }
                done.entered += u64::from(entered);
                done.dropped += u64::from(processed.dropped);
                done.edited += u64::from(processed.edited);
                Ok(())
            }
            Err(error) => {
                self.plan.guard.call_failed(&error);
                if let Some(counts) = counts.filter(|_| error.kind != FailureKind::Overdue) {
                    counts.failed();
                }
                Err(error)
            }
        }
    }

    /// Passes a slice through the plugin, here or on the side thread. What it does here is counted in
    /// `counts`, too.
    async fn pass(
        &self,
        pipeline: &str,
        batch: &mut Batch,
        done: &mut Done,
        counts: Option<&Counts>,
    ) -> Result<(), Failed> {
        let guard = &self.plan.guard;
        let admission = guard.admission();
        let error = match admission {
            Admission::Here if done.relief.is_none() => match self.call(batch, done, counts) {
                Ok(()) => return Ok(()),
                Err(error) => Some(error),
            },
            _ => None,
        };
        let is_overdue = error.as_ref().is_some_and(|error| error.kind == FailureKind::Overdue);
        match (self.relieve(is_overdue || admission == Admission::Aside, batch, done), &mut done.relief) {
            (Relieved::Done, _) => return Ok(()),
            (Relieved::Failed(error), Some(relief)) => {
                let Relief { by, done } = &mut **relief;
                return by.see_to(pipeline, batch, done, Some(error)).await;
            }
            _ => {}
        }
        if admission == Admission::Away {
            return Err(Failed::Away(guard.turned_away(batch)));
        }
        // If even the version before fails, this one gets its time aside.
        self.see_to(pipeline, batch, done, error.filter(|_| !is_overdue)).await
    }

    /// Has the side thread see to a slice that this version has failed on so, or was not called for.
    async fn see_to(
        &self,
        pipeline: &str,
        batch: &mut Batch,
        done: &mut Done,
        error: Option<CallError>,
    ) -> Result<(), Failed> {
        let guard = &self.plan.guard;
        let Ok(room) = guard.aside().room().await else {
            if error.is_some() {
                guard.failed();
            }
            return Err(Failed::ByPolicy(error.unwrap_or_else(|| busy("has no time"))));
        };
        let patient = Patient {
            pipeline: pipeline.to_owned(),
            batch: std::mem::take(batch),
            effects: std::mem::take(&mut done.effects),
            allowance: done.allowance,
            error,
        };
        let treating = Arc::clone(guard);
        let Ok(treated) = room.run(move || treating.treat(patient)).await else {
            return Err(Failed::Refused(busy("has ended")));
        };
        let Treated { batch: left, effects, allowance, fate } = treated;
        (*batch, done.effects, done.allowance) = (left, effects, allowance);
        match fate {
            Fate::Served(Served { entered, dropped, edited, poison, kept }) => {
                done.entered += u64::from(entered);
                done.dropped += u64::from(dropped);
                done.edited += u64::from(edited);
                done.poison += u64::from(poison);
                done.kept.extend(kept);
                Ok(())
            }
            Fate::Quarantined(kept) => {
                done.kept.push(kept);
                Ok(())
            }
            Fate::Refused(error) => Err(Failed::Refused(error)),
            Fate::Failed(error) => Err(Failed::ByPolicy(error)),
        }
    }

    /// Sets a slice aside that the plugin was not called for.
    async fn quarantine(
        &self,
        pipeline: &str,
        batch: &mut Batch,
        error: CallError,
        kind: &'static str,
    ) -> Option<Kept> {
        let room = self.plan.guard.aside().room().await.ok()?;
        let (guard, pipeline) = (Arc::clone(&self.plan.guard), pipeline.to_owned());
        let (spans, wire) = (batch.spans(), batch.encode());
        let kept = room.run(move || guard.keep(&pipeline, kind, &error, spans, &wire)).await.ok()??;
        *batch = Batch::default();
        Some(kept)
    }
}

fn busy(what: &str) -> CallError {
    let message = format!("the thread for calls that may take long {what}");
    CallError { kind: FailureKind::Timeout, message, backtrace: None }
}

/// Passes a request through the chain of one pipeline, beginning with its processor `from`.
///
/// # Errors
/// When a plugin that must not be passed by has failed: the sender keeps the request.
pub async fn run(routes: &Routes, pipeline: &PipelinePlan, mut batch: Batch, from: usize) -> Result<Passed, Refused> {
    if pipeline.processors.is_empty() {
        return Ok(Passed { left: batch.encode_requests(), done: Vec::new() });
    }
    let mut done: Vec<Done> = pipeline.processors.iter().map(|_| Done::default()).collect();
    let mut parts: Vec<Bytes> = Vec::new();
    let mut spans = 0;
    let mut slices = batch.slices(SLICE_SPANS).into_iter();
    while let Some(mut batch) = slices.next() {
        if !parts.is_empty() {
            tokio::task::yield_now().await;
        }
        match slice(routes, pipeline, &mut batch, &mut done, from).await {
            Ok(()) => {
                spans += batch.spans();
                parts.push(batch.encode());
            }
            Err(Stop::Refused(refused)) => return Err(refused),
            Err(Stop::Dropped(index, kind)) => {
                let rest = spans + batch.spans() + slices.map(|rest| rest.spans()).sum::<u32>();
                if let Some(done) = done.get_mut(index) {
                    done.gave_up = Some((u64::from(rest), kind));
                }
                parts.clear();
                spans = 0;
                break;
            }
        }
    }
    Ok(Passed { left: vec![(sluice_spans::join(parts), spans)], done })
}

async fn slice(
    routes: &Routes,
    pipeline: &PipelinePlan,
    batch: &mut Batch,
    done: &mut [Done],
    from: usize,
) -> Result<(), Stop> {
    for (index, (&processor, done)) in pipeline.processors.iter().zip(done).enumerate().skip(from) {
        if batch.spans() == 0 {
            break;
        }
        let Some(Some(slot)) = routes.slots.get(processor) else {
            return Err(Stop::Refused(unavailable("a processor is not there yet".to_owned())));
        };
        let at = Place { pipeline: &pipeline.id, index };
        match &slot.beside {
            None => slot.serve(at, batch, done, None).await?,
            Some(Trying::Canary(canary)) => canary.serve(slot, at, batch, done).await?,
            Some(Trying::Shadow(shadow)) => {
                let copy = shadow.copy(batch);
                slot.serve(at, batch, done, None).await?;
                if let Some(copy) = copy {
                    shadow.post(copy);
                }
            }
        }
    }
    Ok(())
}

/// Where in which chain a processor is.
#[derive(Clone, Copy)]
struct Place<'p> {
    pipeline: &'p str,
    index: usize,
}

impl Slot {
    /// Passes a slice through the plugin, and does as its policy says if it fails.
    async fn serve(
        &self,
        at: Place<'_>,
        batch: &mut Batch,
        done: &mut Done,
        counts: Option<&Counts>,
    ) -> Result<(), Stop> {
        let Err(failed) = self.pass(at.pipeline, batch, done, counts).await else { return Ok(()) };
        let (error, word) = match failed {
            Failed::Refused(error) => return Err(refused(self, error.kind.as_str())),
            Failed::ByPolicy(error) => {
                let word = error.kind.as_str();
                (error, word)
            }
            Failed::Away(error) => (error, "breaker"),
        };
        match self.plan.guard.on_failure {
            OnFailure::Open => Ok(()),
            OnFailure::Drop => Err(Stop::Dropped(at.index, word)),
            OnFailure::Closed => Err(refused(self, word)),
            OnFailure::Quarantine => match self.quarantine(at.pipeline, batch, error, word).await {
                Some(kept) => {
                    done.kept.push(kept);
                    Ok(())
                }
                None => Err(refused(self, word)),
            },
        }
    }
}

fn refused(slot: &Slot, word: &str) -> Stop {
    Stop::Refused(unavailable(format!("processor {} has failed ({word})", slot.plan.id)))
}

fn unavailable(reason: String) -> Refused {
    Refused::Unavailable { reason, retry_after: CLOSED_RETRY }
}
