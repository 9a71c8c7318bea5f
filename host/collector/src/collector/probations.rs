//! New versions on probation are watched, and sent away when they go beyond a bound.

use std::collections::HashMap;

use super::Collector;
use super::jobs::Job;
use super::rollout::compare;
use crate::chain::Slot;
use crate::extension::admin::Asked;
use crate::generation::{Fresh, Served};
use crate::route::Routes;
use crate::swap::Trigger;
use crate::swap::probation::Verdict;

impl Collector {
    /// Whether what was made is to be watched when it serves: another version, unless it comes back and has proved
    /// itself. A restart does not end a probation.
    pub(super) fn is_on_probation(
        &self,
        fresh: &Fresh,
        served: &HashMap<String, Served>,
        trigger: Option<Trigger>,
    ) -> bool {
        let Some(now) = served.get(&fresh.id).filter(|_| !fresh.is_candidate) else { return false };
        let (versions, plugin, digest) = (&self.workshop.versions, &fresh.id, now.prepared.digest());
        let is_to_be_watched = match &fresh.from {
            None => versions.has_to_prove(plugin, digest),
            Some(from) => {
                let comes_back = trigger.is_some_and(Trigger::goes_back);
                from != digest && !(comes_back && versions.has_proved(plugin, digest))
            }
        };
        is_to_be_watched && !now.settings.rollout.probation.is_zero()
    }

    /// Finds the new versions that go beyond a bound and have to go.
    pub(super) async fn watch_probations(&mut self, jobs: &mut Vec<Job>) {
        for mut probation in std::mem::take(&mut self.probations) {
            let Some(served) = self.served.get(&probation.plugin).filter(|served| probation.is_of(&served.stats))
            else {
                continue;
            };
            if jobs.iter().any(|job| job.is_about(&probation.plugin)) {
                // Another version may serve when that is done.
                self.probations.push(probation);
                continue;
            }
            if let Some(before) = probation.is_to_be_compared() {
                let versions = [before, &served.prepared];
                let (times, cost) = compare(&probation.plugin, versions, served.recent.batches()).await;
                probation.compared(times, cost);
            }
            let (plugin, digest) = (probation.plugin.clone(), probation.digest.clone());
            match probation.judge(served.guard.has_done_well(), served.guard.is_open()) {
                Verdict::Watch => self.probations.push(probation),
                Verdict::Passed => {
                    tracing::info!(event = "plugin.probation", plugin, digest, outcome = "passed");
                    self.workshop.versions.prove(&plugin, &digest);
                    self.dismiss(plugin).await;
                }
                Verdict::Failed(reason) => {
                    tracing::error!(event = "plugin.probation", plugin, digest, outcome = "failed", reason);
                    let rollback = Job::of_itself(Trigger::Probation, Asked::Rollback(plugin));
                    jobs.push(rollback.because(reason));
                }
            }
        }
    }

    /// A version that has to go serves on, as there is no way back.
    pub(super) async fn serves_on(&self, plugin: &str, reason: &str) {
        let digest = self.served.get(plugin).map(|served| served.prepared.digest());
        tracing::error!(event = "plugin.probation", plugin, digest, outcome = "serves_on", reason);
        self.dismiss(plugin.to_owned()).await;
    }

    /// Has no version before stand by any more for a plugin.
    async fn dismiss(&self, plugin: String) {
        let dismiss = move |routes: &Routes| {
            let slots = routes.slots.iter().flatten().filter(|slot| slot.plan.id == plugin);
            slots.for_each(Slot::dismiss);
        };
        // Cores that have stopped have none; the process is ending.
        let _ = self.cores.ask(dismiss).await;
    }
}
