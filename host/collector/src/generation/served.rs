//! A processor that serves, or is about to.

use std::sync::Arc;

use sluice_sandbox::Prepared;

use super::Candidate;
use crate::chain::{Guard, PluginStats, SlotPlan};
use crate::config::processor;
use crate::swap::recent::Recent;

/// See the module.
#[derive(Clone)]
pub struct Served {
    /// Its settings.
    pub settings: processor::Settings,
    /// The plugin, ready to be instantiated.
    pub prepared: Prepared,
    /// Its figures.
    pub stats: Arc<PluginStats>,
    /// What becomes of what it fails on.
    pub guard: Arc<Guard>,
    /// The last batches that reached it, or a version of it before.
    pub recent: Arc<Recent>,
    /// The version that is tried beside it.
    pub candidate: Option<Arc<Candidate>>,
}

impl Served {
    /// What the cores share of it.
    pub fn slot(&self, id: &str) -> SlotPlan {
        SlotPlan {
            id: id.to_owned(),
            guard: Arc::clone(&self.guard),
            stats: Arc::clone(&self.stats),
            recent: Arc::clone(&self.recent),
            beside: self.candidate.as_ref().map(|candidate| candidate.beside.clone()),
        }
    }

    /// Whether it would be the same under these settings. What they call the same may stand in another folder,
    /// and then name other files.
    pub(super) fn is_under(&self, settings: &processor::Settings) -> bool {
        let mut own = self.prepared.files().iter();
        self.settings == *settings && own.all(|file| self.settings.own_table(file) == settings.own_table(file))
    }

    /// Whether it goes on as it is, because the version that is pinned in these settings must not serve, and this one,
    /// by its digest, does instead.
    pub(super) fn goes_on_under(&self, settings: &processor::Settings, instead: &str) -> bool {
        let is_instead = settings.sha256.as_deref().is_some_and(|pinned| pinned != instead);
        is_instead && self.prepared.digest() == instead && self.settings.is_same_but_for_module(settings)
    }

    /// The same without a candidate.
    pub(super) fn alone(&self) -> Self {
        Self { candidate: None, ..self.clone() }
    }
}
