//! Which way a receiver's requests go: through which plugins, into which queues.
//!
//! A [`Plan`] is what all cores share of it; [`Routes`] are one core's own, with the plugin
//! instances that live there. Both are made anew for every generation of the configuration and
//! replaced whole, so that a request sees one generation from start to end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sluice_sandbox::Instance;

use crate::account::{DestinationAccount, PipelineAccount, ReceiverAccount};
use crate::chain::{Slot, SlotPlan};
use crate::queue::AnyQueue;

/// One generation, shared by all cores.
pub struct Plan {
    /// By the numbers that their dealers carry.
    pub receivers: Vec<ReceiverPlan>,
    /// All pipelines.
    pub pipelines: Vec<PipelinePlan>,
    /// All processors that a pipeline names.
    pub processors: Vec<SlotPlan>,
}

/// A receiver and its pipelines.
pub struct ReceiverPlan {
    /// The receiver's account.
    pub account: ReceiverAccount,
    /// Indexes into [`Plan::pipelines`]. Empty: nothing takes its spans any more.
    pub pipelines: Vec<usize>,
}

/// A pipeline.
pub struct PipelinePlan {
    /// `traces[/name]`.
    pub id: String,
    /// The pipeline's account.
    pub account: PipelineAccount,
    /// Indexes into [`Plan::processors`], in order.
    pub processors: Vec<usize>,
    /// Those of them that are connectors, which are destinations, too: index into [`Plan::processors`], account.
    pub connectors: Vec<(usize, Arc<DestinationAccount>)>,
    /// Where what passed goes.
    pub destinations: Vec<Destination>,
}

/// A queue and the account of what this pipeline puts in.
pub struct Destination {
    /// The exporter's queue.
    pub queue: AnyQueue,
    /// What becomes of this pipeline's spans there.
    pub account: Arc<DestinationAccount>,
}

/// New instances for one core, by component id.
#[derive(Default)]
pub struct Instances {
    /// Those that are to serve.
    pub serving: HashMap<String, Instance>,
    /// Those that are to be tried.
    pub candidates: HashMap<String, Instance>,
    /// The processors whose version before stands by.
    pub standbys: HashSet<String>,
}

/// One core's way for every receiver.
#[derive(Default)]
pub struct Routes {
    /// The generation; none before the first.
    pub plan: Option<Arc<Plan>>,
    /// This core's slots, by the index of [`Plan::processors`].
    pub slots: Vec<Option<Slot>>,
}

impl Routes {
    /// The routes of the next generation: a processor in `fresh` is served by the given instance, any
    /// other by the instance that serves it now; and so are candidates.
    #[must_use]
    pub fn next(&self, plan: &Arc<Plan>, mut fresh: Instances) -> Self {
        let serving = |id: &str| self.slots.iter().flatten().find(|slot| slot.plan.id == id);
        let slot = |processor: &SlotPlan| {
            let before = serving(&processor.id);
            let slot = if let Some(instance) = fresh.serving.remove(&processor.id) {
                let standby = before.filter(|_| fresh.standbys.contains(&processor.id));
                Slot::new(processor.clone(), instance).relieved_by(standby)
            } else {
                let before = before?;
                // Each core is given one of what is new. If not, it is better served by what is old than not at all.
                if !Arc::ptr_eq(&before.plan.guard, &processor.guard) {
                    let (plugin, why) = (&processor.id, "a core has got no instance of the new version");
                    tracing::error!(
                        event = "internal",
                        plugin,
                        "{why}, the one before serves on there: please report it"
                    );
                }
                before.under(processor.clone())
            };
            Some(slot.trying(fresh.candidates.remove(&processor.id), before))
        };
        Self { slots: plan.processors.iter().map(slot).collect(), plan: Some(Arc::clone(plan)) }
    }
}
