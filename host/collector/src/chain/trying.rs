//! A candidate on one core.

use std::sync::Arc;

use sluice_sandbox::Instance;

use super::canary::OnCore;
use super::{Beside, Shadow, Slot};

/// See the module.
pub(super) enum Trying {
    Canary(Box<OnCore>),
    Shadow(Arc<Shadow>),
}

impl Trying {
    /// Served by `instance`, or by that which was `before` if it is the same candidate.
    pub(super) fn on_core(beside: &Beside, instance: Option<Instance>, before: Option<&Self>) -> Option<Self> {
        match beside {
            Beside::Canary(shared) => {
                let before = match before {
                    Some(Self::Canary(before)) => Some(&**before),
                    _ => None,
                };
                Some(Self::Canary(Box::new(OnCore::new(shared, instance, before)?)))
            }
            Beside::Shadow(shadow) => Some(Self::Shadow(Arc::clone(shadow))),
        }
    }

    /// The candidate, if it serves.
    pub(super) fn serves(&self) -> Option<&Slot> {
        match self {
            Self::Canary(canary) => Some(canary.slot()),
            Self::Shadow(_) => None,
        }
    }
}
