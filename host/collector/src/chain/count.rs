//! What counts when a request has been accepted: what became of its spans in the pipeline's account, the
//! plugins' figures, their log lines and metrics.

use super::trying::Trying;
use super::{Done, Passed, Slot, SlotPlan};
use crate::account::Settled;
use crate::route::{PipelinePlan, Routes};

impl Passed {
    /// Counts what became of a request of `entered` spans in the pipeline's account, and what the plugins
    /// did: their figures, their log lines and metrics.
    pub fn count(self, routes: &Routes, pipeline: &PipelinePlan, entered: u32) {
        let mut settled = Settled { accepted: entered, passed: self.spans, ..Settled::default() };
        for (&processor, done) in pipeline.processors.iter().zip(self.done) {
            if let Some(Some(slot)) = routes.slots.get(processor) {
                slot.count(done, &mut settled);
            }
        }
        pipeline.account.settled(&settled);
    }
}

impl Slot {
    /// Counts what the plugin did to a request that was accepted.
    fn count<'s>(&'s self, done: Done, settled: &mut Settled<'s>) {
        let SlotPlan { id, stats, .. } = &self.plan;
        self.stats.count(done.entered, done.dropped, done.edited);
        if done.dropped > 0 {
            settled.dropped.push((id, "plugin", done.dropped));
        }
        if let Some((spans, kind)) = done.gave_up {
            settled.dropped.push((id, kind, spans));
        }
        if done.poison > 0 {
            settled.dropped.push((id, "poison", done.poison));
        }
        for kept in done.kept {
            settled.quarantined.push((id, u64::from(kept.accepted())));
        }
        stats.commit(id, done.effects);
        if let Some((candidate, done)) = self.beside.as_ref().and_then(Trying::serves).zip(done.candidate) {
            candidate.count(*done, settled);
        }
    }
}
