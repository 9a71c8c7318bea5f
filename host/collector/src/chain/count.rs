//! What counts when a request has been accepted: what became of its spans in the pipeline's account, the
//! plugins' figures, their log lines and metrics.

use super::trying::Trying;
use super::{Done, Passed, Relief, Slot};
use crate::account::{Delivery, Settled};
use crate::route::{PipelinePlan, Routes};

impl Passed {
    /// Counts what became of requests of `entered` spans in the pipeline's account, and what the plugins
    /// did: their figures, their log lines and metrics.
    pub fn count(self, routes: &Routes, pipeline: &PipelinePlan, entered: u32) {
        let left = self.left.iter().map(|(_, spans)| spans).sum();
        let mut settled = Settled { accepted: entered, passed: left, ..Settled::default() };
        for (&processor, done) in pipeline.processors.iter().zip(self.done) {
            if let Some(Some(slot)) = routes.slots.get(processor) {
                let counted = done.counted();
                slot.count(done, &mut settled);
                pipeline.connected(processor, left, counted);
            }
        }
        pipeline.account.settled(&settled);
    }
}

impl PipelinePlan {
    /// Counts what a connector, if this processor is one, has made of the spans that have passed: those that its
    /// plugin has counted are delivered, those that it was passed by with have failed.
    fn connected(&self, processor: usize, passed: u32, counted: u64) {
        let Some((_, account)) = self.connectors.iter().find(|(connector, _)| *connector == processor) else { return };
        let delivered = counted.min(passed.into());
        account.passed(passed.into());
        account.delivered(&Delivery { held: delivered as u32, delivered, ..Delivery::default() });
        if delivered < passed.into() {
            account.failed("plugin", u64::from(passed) - delivered);
        }
    }
}

impl Done {
    /// Spans that some version has worked on.
    fn counted(&self) -> u64 {
        let candidate = self.candidate.as_ref().map_or(0, |candidate| candidate.entered);
        let standby = self.relief.as_ref().map_or(0, |relief| relief.done.entered);
        self.entered + candidate + standby
    }
}

impl Slot {
    /// Counts what the plugin did to a request that was accepted.
    fn count<'s>(&'s self, mut done: Done, settled: &mut Settled<'s>) {
        let (candidate, relief) = (done.candidate.take(), done.relief.take());
        self.settle(self, done, settled);
        if let Some((candidate, done)) = self.beside.as_ref().and_then(Trying::serves).zip(candidate) {
            candidate.settle(candidate, *done, settled);
        }
        if let Some(Relief { by, done }) = relief.map(|relief| *relief) {
            self.settle(&by, done, settled);
        }
    }

    /// Counts what this version of the plugin did.
    fn settle<'s>(&'s self, version: &Self, done: Done, settled: &mut Settled<'s>) {
        let (id, stats) = (&self.plan.id, &version.plan.stats);
        version.stats.count(done.entered, done.dropped, done.edited);
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
    }
}
