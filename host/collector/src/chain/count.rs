//! What counts when a request has been accepted: drops in the pipeline's account, the plugins' figures,
//! their log lines and metrics.

use super::trying::Trying;
use super::{Done, Passed, Slot, SlotPlan};
use crate::route::{PipelinePlan, Routes};

impl Passed {
    /// Counts what the plugins did: their drops in the pipeline's account, their figures, their
    /// log lines and metrics.
    pub fn count(self, routes: &Routes, pipeline: &PipelinePlan) {
        for (&processor, done) in pipeline.processors.iter().zip(self.done) {
            if let Some(Some(slot)) = routes.slots.get(processor) {
                slot.count(done, pipeline);
            }
        }
    }
}

impl Slot {
    /// Counts what the plugin did to a request that was accepted.
    fn count(&self, done: Done, pipeline: &PipelinePlan) {
        let SlotPlan { id, stats, .. } = &self.plan;
        self.stats.count(done.entered, done.dropped, done.edited);
        let dropped = |why: &'static str, spans: u64| {
            if spans > 0 {
                pipeline.account.dropped(id, why).add(spans as i64);
            }
        };
        dropped("plugin", done.dropped);
        if let Some((spans, kind)) = done.gave_up {
            dropped(kind, spans);
        }
        dropped("poison", done.poison);
        for kept in done.kept {
            pipeline.account.quarantined(id).add(i64::from(kept.accepted()));
        }
        stats.commit(id, done.effects);
        if let Some((candidate, done)) = self.beside.as_ref().and_then(Trying::serves).zip(done.candidate) {
            candidate.count(*done, pipeline);
        }
    }
}
