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

use sluice_sandbox::CallError;
use sluice_spans::Batch;

use super::{Done, Slot, SlotPlan};

/// A request that the version before does.
pub(super) struct Relief {
    pub(super) by: Rc<Slot>,
    pub(super) done: Done,
}

/// What became of a slice that a version has failed on or is not called for.
pub(super) enum Relieved {
    /// Nobody has done it.
    No,
    /// The version before has.
    Done,
    /// The version before has begun the request, and fails on this slice.
    Failed(CallError),
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

    /// Has the version before do a slice that this one has failed on or is not called for. This
    /// one is to be tried with a copy of what it had no time for, or was not called for because it had none.
    pub(super) fn relieve(&self, is_to_be_tried: bool, batch: &mut Batch, done: &mut Done) -> Relieved {
        let standby = match &done.relief {
            Some(relief) => Some(Rc::clone(&relief.by)),
            None => self.standby.borrow().clone().filter(|_| done.entered == 0),
        };
        let Some(by) = standby else { return Relieved::No };
        if is_to_be_tried {
            self.plan.guard.try_soon(batch);
        }
        self.plan.guard.tell_relief();
        let mut relief = done.relief.take().unwrap_or_else(|| Box::new(Relief { by, done: Done::default() }));
        let result = Rc::clone(&relief.by).call(batch, &mut relief.done, None);
        let has_begun = relief.done.entered > 0;
        done.relief = has_begun.then_some(relief);
        match result {
            Ok(()) => Relieved::Done,
            Err(error) if has_begun => Relieved::Failed(error),
            Err(_) => Relieved::No,
        }
    }
}
