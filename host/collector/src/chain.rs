//! The chain: the plugins of one pipeline, in order, over one request.
//!
//! A request enters as validated bytes and leaves as bytes. It is worked on in bounded slices with
//! a yield between them, so that a large request does not keep a core from its other connections.
//! A plugin that fails leaves the slice as it found it; then its policy decides for the whole
//! request. Nothing that a plugin did counts before [`Passed::count`] is called, which is after
//! every destination has taken the request: a refusal and the sender's retry count once.

mod effects;
mod stats;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_sandbox::{CallError, Effects, Instance};
use sluice_spans::Batch;

use crate::config::processor::OnFailure;
use crate::intake::Refused;
use crate::route::{PipelinePlan, Routes};
use crate::swap::recent::Recent;

pub use effects::CustomMetrics;
use stats::CoreStats;
pub use stats::{PluginMetrics, PluginStats};

/// Spans that a chain works on before it lets others run. Four plugins take some 0.3 ms for it.
const SLICE_SPANS: usize = 512;

/// When a sender whose request a closed plugin has refused should come back.
const CLOSED_RETRY: Duration = Duration::from_secs(1);

/// What all cores share of a processor.
#[derive(Clone)]
pub struct SlotPlan {
    /// The component id, `type[/name]`.
    pub id: String,
    /// What becomes of a request that the plugin failed on.
    pub on_failure: OnFailure,
    /// The plugin's figures.
    pub stats: Arc<PluginStats>,
    /// Where batches are kept for trying the next version.
    pub recent: Arc<Recent>,
}

/// A processor on one core.
pub struct Slot {
    /// What all cores share of it.
    pub plan: SlotPlan,
    stats: Arc<CoreStats>,
    instance: Rc<RefCell<Instance>>,
}

/// A request that has passed a chain.
pub struct Passed {
    /// What is left of it; empty if nothing is.
    pub wire: Bytes,
    /// How many spans `wire` should hold; the queue counts what it does hold.
    pub spans: u32,
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
    effects: Effects,
}

enum Stop {
    Refused(Refused),
    /// The request is dropped by the policy of the processor with this index in the chain.
    Dropped(usize, &'static str),
}

impl Slot {
    /// A slot served by `instance`.
    pub fn new(plan: SlotPlan, instance: Instance) -> Self {
        Self { stats: plan.stats.on_core(), plan, instance: Rc::new(RefCell::new(instance)) }
    }

    /// The same instance under another plan.
    #[must_use]
    pub fn under(&self, plan: SlotPlan) -> Self {
        Self { stats: plan.stats.on_core(), plan, instance: Rc::clone(&self.instance) }
    }

    fn call(&self, batch: &mut Batch, done: &mut Done) -> Result<(), CallError> {
        let mut instance = self.instance.borrow_mut();
        let (entered, restarts, started) = (batch.spans(), instance.restarts(), Instant::now());
        let kept = self.plan.recent.is_due(started, batch.wire_len()).then(|| batch.encode());
        let result = instance.process(batch, &mut done.effects);
        self.stats.called(started.elapsed(), &instance);
        let restarts = instance.restarts() - restarts;
        if restarts > 0 {
            self.plan.stats.restarted(restarts);
        }
        match result {
            Ok(processed) => {
                if let Some(kept) = &kept {
                    self.plan.recent.keep(kept);
                }
                done.entered += u64::from(entered);
                done.dropped += u64::from(processed.dropped);
                done.edited += u64::from(processed.edited);
                Ok(())
            }
            Err(error) => {
                self.plan.stats.failed(&self.plan.id, &error);
                Err(error)
            }
        }
    }
}

/// Passes a request through the chain of one pipeline.
///
/// # Errors
/// When a plugin that must not be passed by has failed: the sender keeps the request.
pub async fn run(routes: &Routes, pipeline: &PipelinePlan, mut batch: Batch) -> Result<Passed, Refused> {
    let done = pipeline.processors.iter().map(|_| Done::default()).collect();
    let mut passed = Passed { wire: batch.encode(), spans: batch.spans(), done };
    if pipeline.processors.is_empty() {
        return Ok(passed);
    }
    let mut parts: Vec<Bytes> = Vec::new();
    let mut spans = 0;
    let mut slices = batch.slices(SLICE_SPANS).into_iter();
    while let Some(mut batch) = slices.next() {
        if !parts.is_empty() {
            tokio::task::yield_now().await;
        }
        match slice(routes, pipeline, &mut batch, &mut passed.done) {
            Ok(()) => {
                spans += batch.spans();
                parts.push(batch.encode());
            }
            Err(Stop::Refused(refused)) => return Err(refused),
            Err(Stop::Dropped(index, kind)) => {
                let rest = spans + batch.spans() + slices.map(|rest| rest.spans()).sum::<u32>();
                if let Some(done) = passed.done.get_mut(index) {
                    done.gave_up = Some((u64::from(rest), kind));
                }
                parts.clear();
                spans = 0;
                break;
            }
        }
    }
    passed.wire = sluice_spans::join(parts);
    passed.spans = spans;
    Ok(passed)
}

fn slice(routes: &Routes, pipeline: &PipelinePlan, batch: &mut Batch, done: &mut [Done]) -> Result<(), Stop> {
    for (index, (&processor, done)) in pipeline.processors.iter().zip(done).enumerate() {
        if batch.spans() == 0 {
            break;
        }
        let Some(Some(slot)) = routes.slots.get(processor) else {
            return Err(Stop::Refused(unavailable("a processor is not there yet".to_owned())));
        };
        let Err(error) = slot.call(batch, done) else { continue };
        match slot.plan.on_failure {
            OnFailure::Open => {}
            OnFailure::Drop => return Err(Stop::Dropped(index, error.kind.as_str())),
            OnFailure::Closed => {
                let reason = format!("processor {} has failed ({})", slot.plan.id, error.kind.as_str());
                return Err(Stop::Refused(unavailable(reason)));
            }
        }
    }
    Ok(())
}

fn unavailable(reason: String) -> Refused {
    Refused::Unavailable { reason, retry_after: CLOSED_RETRY }
}

impl Passed {
    /// Counts what the plugins did: their drops in the pipeline's account, their figures, their
    /// log lines and metrics.
    pub fn count(self, routes: &Routes, pipeline: &PipelinePlan) {
        for (&processor, done) in pipeline.processors.iter().zip(self.done) {
            let Some(Some(slot)) = routes.slots.get(processor) else { continue };
            let SlotPlan { id, stats, .. } = &slot.plan;
            slot.stats.count(done.entered, done.dropped, done.edited);
            if done.dropped > 0 {
                pipeline.account.dropped(id, "plugin").add(done.dropped as i64);
            }
            if let Some((spans, kind)) = done.gave_up {
                pipeline.account.dropped(id, kind).add(spans as i64);
            }
            stats.commit(id, done.effects);
        }
    }
}
