//! How slots are made, and what they hand over to those of another version.

use std::cell::RefCell;
use std::rc::Rc;

use sluice_sandbox::Instance;

use super::trying::Trying;
use super::{Slot, SlotPlan};

impl Slot {
    /// A slot served by `instance`.
    pub fn new(plan: SlotPlan, instance: Instance) -> Self {
        Self::of(plan, Rc::new(RefCell::new(instance)))
    }

    /// The same instance under another plan.
    #[must_use]
    pub fn under(&self, plan: SlotPlan) -> Self {
        Self { standby: self.standby.clone(), ..Self::of(plan, Rc::clone(&self.instance)) }
    }

    pub(super) fn of(plan: SlotPlan, instance: Rc<RefCell<Instance>>) -> Self {
        Self { stats: plan.stats.on_core(), plan, instance, beside: None, standby: RefCell::default() }
    }

    /// What the instance here hands over to those of another version, if anything. One that fails to is
    /// counted as any call that fails.
    pub fn snapshot(&self) -> Option<Vec<u8>> {
        let snapshot = self.instance.borrow_mut().snapshot();
        let snapshot = snapshot.inspect_err(|error| self.plan.stats.failed(&self.plan.id, error));
        snapshot.ok().filter(|snapshot| !snapshot.is_empty())
    }

    /// With the candidate of its plan: served by `instance`, or by that of the slot before.
    #[must_use]
    pub fn trying(self, instance: Option<Instance>, before: Option<&Self>) -> Self {
        let before = before.and_then(|before| before.beside.as_ref());
        let beside = self.plan.beside.as_ref().and_then(|beside| Trying::on_core(beside, instance, before));
        Self { beside, ..self }
    }
}
