//! Several requests that go through a chain in one go.

use sluice_spans::Batch;

use super::breaker::Admission;
use super::{Done, Passed, Slot};
use crate::route::{PipelinePlan, Routes};

/// Passes requests that one batch was put together from through the chain of one pipeline, if every
/// plugin is well and takes them at once, and none has a candidate beside it. `None` otherwise: then none of
/// what the plugins did counts, but that a call has failed.
pub fn together(routes: &Routes, pipeline: &PipelinePlan, mut batch: Batch) -> Option<Passed> {
    let slot = |&processor: &usize| routes.slots.get(processor)?.as_ref();
    let slots = pipeline.processors.iter().map(slot).collect::<Option<Vec<_>>>()?;
    let is_plain = |slot: &&Slot| slot.beside.is_none() && matches!(slot.plan.guard.admission(), Admission::Here);
    if !slots.iter().all(is_plain) {
        return None;
    }
    let mut done: Vec<Done> = slots.iter().map(|_| Done::default()).collect();
    for (slot, done) in slots.into_iter().zip(&mut done) {
        if batch.spans() > 0 {
            slot.call(&mut batch, done, None).ok()?;
        }
    }
    Some(Passed { left: batch.encode_requests(), done })
}
