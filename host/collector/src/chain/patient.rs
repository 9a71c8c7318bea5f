//! What goes to the side thread when a plugin fails on a slice, and what comes back.

use std::time::Duration;

use sluice_sandbox::{CallError, Effects};
use sluice_spans::Batch;

use super::isolate::{CALLS, POISON};
use crate::quarantine::Kept;

/// What the search may still cost for one request and plugin.
#[derive(Clone, Copy)]
pub(super) struct Allowance {
    /// Calls of the plugin.
    pub(super) calls: u32,
    /// CPU time that it has cost.
    pub(super) spent: Duration,
    /// Spans that may still be blamed.
    pub(super) blame: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { calls: CALLS, spent: Duration::ZERO, blame: POISON }
    }
}

/// A slice for the side thread.
pub(super) struct Patient {
    pub(super) pipeline: String,
    pub(super) batch: Batch,
    pub(super) effects: Effects,
    pub(super) allowance: Allowance,
    /// How it failed; it was not tried yet if absent.
    pub(super) error: Option<CallError>,
}

/// What became of a slice on the side thread.
pub(super) struct Treated {
    pub(super) batch: Batch,
    pub(super) effects: Effects,
    pub(super) allowance: Allowance,
    pub(super) fate: Fate,
}

/// How the treatment ended.
pub(super) enum Fate {
    /// The batch is what the plugin left.
    Served(Served),
    /// The batch is as it came, and has to be refused.
    Refused(CallError),
    /// The batch is as it came; the policy for failures decides.
    Failed(CallError),
    /// All of it is in the quarantine; the batch is empty.
    Quarantined(Kept),
}

/// What a plugin did on the side thread.
#[derive(Default)]
pub(super) struct Served {
    pub(super) entered: u32,
    pub(super) dropped: u32,
    pub(super) edited: u32,
    /// Spans that it failed on and that are dropped.
    pub(super) poison: u32,
    /// Spans that it failed on and that are in the quarantine.
    pub(super) kept: Option<Kept>,
}
