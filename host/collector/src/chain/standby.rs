//! The version before, standing by.
//!
//! While a version is on probation, the instances of the one before stay where they were. What the new one
//! fails on, the one before does, so that no sender waits for longer than the call that failed, and nothing
//! is refused for it. After a timeout it does everything; the new one is tried aside with copies
//! meanwhile, so that it proves itself, or goes beyond its bounds and is rolled back.
//!
//! A request is one version's from its first slice to its last.

use std::rc::Rc;
use std::sync::Arc;

use sluice_spans::Batch;

use super::breaker::Admission;
use super::{Done, Slot, SlotPlan};

/// A request that the version before does.
pub(super) struct Relief {
    pub(super) by: Rc<Slot>,
    pub(super) done: Done,
}

impl Slot {
    /// With the version before standing by, if there is one.
    #[must_use]
    pub fn relieved_by(mut self, before: Option<&Self>) -> Self {
        self.standby = before.map(|before| Rc::new(before.standing_by())).into();
        self
    }

    fn standing_by(&self) -> Self {
        // What its calls take says nothing of the version that they are counted for.
        let plan = SlotPlan { recent: Arc::default(), beside: None, ..self.plan.clone() };
        Self::of(plan, Rc::clone(&self.instance))
    }

    /// Lets the version before go: this one has proved itself.
    pub fn dismiss(&self) {
        self.standby.take();
    }

    /// Whether the version before can do this request.
    pub(super) fn can_be_relieved(&self, done: &Done) -> bool {
        done.entered == 0 && self.standby.borrow().is_some()
    }

    /// Has the version before do a slice that this one has failed on or is not called for; tells whether it did.
    pub(super) fn relieve(&self, admission: Admission, batch: &mut Batch, done: &mut Done) -> bool {
        let standby = match &done.relief {
            Some(relief) => Some(Rc::clone(&relief.by)),
            None => self.standby.borrow().clone().filter(|_| done.entered == 0),
        };
        let Some(by) = standby else { return false };
        if admission == Admission::Aside {
            self.plan.guard.try_soon(batch);
        }
        self.plan.guard.tell_relief();
        let mut relief = done.relief.take().unwrap_or_else(|| Box::new(Relief { by, done: Done::default() }));
        let went_well = Rc::clone(&relief.by).call(batch, &mut relief.done, None).is_ok();
        done.relief = (went_well || relief.done.entered > 0).then_some(relief);
        went_well
    }
}
