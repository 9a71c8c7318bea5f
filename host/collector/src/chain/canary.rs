//! The canary: a candidate serves a share of the traces.
//!
//! What enters is a slice; what leaves is the slice with the spans of some traces worked on by the
//! candidate and all others by the version that serves. Which traces these are is told by their ids alone,
//! so that all cores say the same of all requests. As much of the other traces goes through the present
//! version by itself, so that both are compared by parts of one kind. These two parts come before the rest, and by
//! turns before each other: a call that comes right after another of the same version takes less than half of the
//! time. Where the candidate fails, the present version takes over.

use std::cell::Cell;
use std::sync::Arc;

use sluice_sandbox::Instance;
use sluice_spans::{Batch, Table};

use super::{Done, Place, Slot, SlotPlan, Stop};
use crate::swap::trial::Trial;

/// Length of a trace id.
const ID: usize = 16;

/// Whose a span is: the parts into which a slice is dealt.
const REST: u8 = 0;
const COMPARED: u8 = 1;
const CANDIDATE: u8 = 2;

/// What all cores share of it.
pub struct Canary {
    /// The candidate.
    plan: SlotPlan,
    /// Hashes below this are the candidate's.
    below: u64,
    trial: Arc<Trial>,
}

impl Canary {
    /// The candidate `plan` for a share of the traces, at most a half.
    pub fn new(plan: SlotPlan, share: f64, trial: &Arc<Trial>) -> Self {
        Self { plan, below: (share * 2f64.powi(64)) as u64, trial: Arc::clone(trial) }
    }

    /// Whose a span of this trace is.
    fn side(&self, trace_id: &[u8]) -> u8 {
        let Ok(id) = <[u8; ID]>::try_from(trace_id) else { return REST };
        if id == [0; ID] {
            return REST;
        }
        match hash(u128::from_be_bytes(id)) {
            hash if hash < self.below => CANDIDATE,
            hash if hash >= self.below.wrapping_neg() => COMPARED,
            _ => REST,
        }
    }
}

/// Spreads trace ids evenly, whatever their bits are made of and whatever samplers look at.
fn hash(id: u128) -> u64 {
    let mut hash = (id >> 64) as u64;
    for more in [0, id as u64] {
        // The steps of splitmix64.
        hash = (hash ^ more).wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
    }
    hash
}

/// A canary on one core.
pub(super) struct OnCore {
    shared: Arc<Canary>,
    slot: Slot,
    /// The candidate comes before the present version in the next slice.
    is_first: Cell<bool>,
}

impl OnCore {
    /// Served by `instance`, or by that which was `before` if it is the same candidate.
    pub(super) fn new(shared: &Arc<Canary>, instance: Option<Instance>, before: Option<&Self>) -> Option<Self> {
        let plan = shared.plan.clone();
        let slot = match instance {
            Some(instance) => Slot::new(plan, instance),
            None => before.filter(|before| Arc::ptr_eq(&before.shared, shared))?.slot.under(plan),
        };
        Some(Self { shared: Arc::clone(shared), slot, is_first: Cell::default() })
    }

    /// The candidate.
    pub(super) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Passes a slice through both versions.
    pub(super) async fn serve(
        &self,
        present: &Slot,
        at: Place<'_>,
        batch: &mut Batch,
        done: &mut Done,
    ) -> Result<(), Stop> {
        let mut parts = self.deal(std::mem::take(batch));
        let mut result = Ok(());
        let is_first = self.is_first.replace(!self.is_first.get());
        let order = if is_first { [CANDIDATE, COMPARED, REST] } else { [COMPARED, CANDIDATE, REST] };
        for side in order {
            let Some(part) = parts.get_mut(usize::from(side)) else { continue };
            if part.spans() == 0 || side == CANDIDATE && self.call(part, done) {
                continue;
            }
            let counts = (side == COMPARED).then_some(&self.shared.trial.current);
            result = present.serve(at, part, done, counts).await;
            if result.is_err() {
                break;
            }
        }
        *batch = Batch::joined(parts);
        result
    }

    /// The parts of a slice by whose they are.
    fn deal(&self, mut batch: Batch) -> Vec<Batch> {
        // Whose trace is not known stays with the present version.
        let sides: Vec<u8> = match batch.trace_ids(Table::Spans) {
            Ok(ids) => ids.chunks(ID).map(|id| self.shared.side(id)).collect(),
            Err(_) => vec![REST; batch.spans() as usize],
        };
        match sides.first() {
            // Most requests are of few traces.
            Some(&all) if sides.iter().all(|&side| side == all) => {
                let mut parts: Vec<Batch> = (REST..all).map(|_| Batch::default()).collect();
                parts.push(batch);
                parts
            }
            _ => batch.divide(&sides, usize::from(CANDIDATE) + 1),
        }
    }

    /// Calls the candidate; tells whether that went well.
    fn call(&self, part: &mut Batch, done: &mut Done) -> bool {
        let trial = &self.shared.trial;
        if trial.is_halted() {
            return false;
        }
        let done = done.candidate.get_or_insert_default();
        let went_well = self.slot.call(part, done, Some(&trial.candidate)).is_ok();
        if !went_well {
            trial.check();
        }
        went_well
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_id_is_spread_evenly() {
        let counters = (1..=100_000u128).collect::<Vec<_>>();
        let high = counters.iter().map(|id| id << 100);
        let both = counters.iter().map(|id| id << 64 | 7);
        let kinds: [Vec<u128>; 3] = [counters.clone(), high.collect(), both.collect()];
        for kind in kinds {
            let below = kind.iter().filter(|id| hash(**id) < u64::MAX / 10).count();
            // Of 100,000 a tenth, and six times the standard deviation, 95.
            assert!((9_430..=10_570).contains(&below), "{below}");
        }
    }

    #[test]
    fn a_hash_is_the_same_in_every_version_of_this_program() {
        // Worked out elsewhere; splitmix64 goes from 0 to 0xe220_a839_7b1d_cdaf, and from there to the first.
        assert_eq!(hash(0), 0xa706_dd2f_4d19_7e6f);
        assert_eq!(hash(0xdead_beef_cafe_babe_0123_4567_89ab_cdef), 0x42fd_83ca_5360_7ad3);
    }
}
