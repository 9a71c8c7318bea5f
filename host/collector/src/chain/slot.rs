//! How slots are made, and what they hand over to those of another version.

use std::cell::RefCell;
use std::rc::Rc;

use sluice_sandbox::{Effects, Instance};

use super::breaker::Admission;
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

    /// Tells the instance here the time, unless the plugin is not well. What it says counts at once; a failure is
    /// counted, and the plugin goes on being called with spans.
    pub fn flush(&self, now_unix_nano: u64) {
        let SlotPlan { id, stats, guard, .. } = &self.plan;
        if guard.admission() != Admission::Here {
            return;
        }
        let (mut instance, mut effects) = (self.instance.borrow_mut(), Effects::default());
        let restarts = instance.restarts();
        let flushed = instance.flush(now_unix_nano, &mut effects);
        stats.restarted(instance.restarts() - restarts);
        guard.flushed(flushed.is_ok());
        match flushed {
            Ok(()) => stats.commit(id, effects),
            Err(error) => stats.failed(id, &error),
        }
    }

    /// With the candidate of its plan: served by `instance`, or by that of the slot before.
    #[must_use]
    pub fn trying(self, instance: Option<Instance>, before: Option<&Self>) -> Self {
        let before = before.and_then(|before| before.beside.as_ref());
        let beside = self.plan.beside.as_ref().and_then(|beside| Trying::on_core(beside, instance, before));
        Self { beside, ..self }
    }
}
