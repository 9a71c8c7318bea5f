//! What is tried: candidates are watched, promoted, and let go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_sandbox::Prepared;

use super::jobs::{Job, Then};
use super::reload::{Which, Work};
use super::{Collector, preparing};
use crate::extension::admin::Asked;
use crate::generation::{Candidate, Fresh, Processors, Served, Waits};
use crate::swap::Trigger;
use crate::swap::bounds::Times;
use crate::swap::event::{Step, Swap};
use crate::swap::probation::Verdict;
use crate::swap::side_by_side;
use crate::swap::trial::Shown;

impl Collector {
    /// Whether there is anything to watch.
    pub fn is_watching(&self) -> bool {
        !self.probations.is_empty()
            || !self.waiting.is_empty()
            || self.served.values().any(|served| served.candidate.is_some())
    }

    /// Whether the turn of a version that waits has come: then its module is to be looked at again. It does not
    /// wait any more, whatever comes of that.
    pub fn take_turn(&mut self) -> bool {
        let before = self.waiting.len();
        let served = &self.served;
        self.waiting.retain(|waits| served.get(&waits.behind).is_some_and(Served::has_canary));
        self.waiting.len() < before
    }

    /// Takes note of the versions that wait; tells of those that have not waited before.
    pub(super) fn tell_waiting(&mut self, processors: &mut Processors, trigger: Option<Trigger>) {
        let goes_back = trigger.is_some_and(Trigger::goes_back);
        let (trigger, mut waiting) =
            (trigger.map_or("start", Trigger::as_str), std::mem::take(&mut processors.waiting));
        for waits in waiting.iter().filter(|waits| !self.waiting.contains(waits)) {
            let Waits { plugin, from, to, behind } = waits;
            self.workshop.metrics.waits(plugin);
            tracing::info!(
                event = "plugin.waits",
                plugin,
                from,
                to,
                trigger,
                behind,
                "one plugin of a chain has a canary at a time"
            );
        }
        // What was not looked at waits as before: who goes back does not look at the file.
        let is_left = |only: &String, waits: &Waits| goes_back || *only != waits.plugin;
        let others =
            self.waiting.iter().filter(|waits| processors.only.as_ref().is_some_and(|only| is_left(only, waits)));
        waiting.extend(others.cloned());
        self.waiting = waiting;
    }

    /// Sees how candidates and new versions do, and gives what is to be done, one job at most for each plugin. To be
    /// called now and then, when what was given before is done.
    pub(super) async fn watch(&mut self) -> Vec<Job> {
        let tried = |(id, served): (&String, &Served)| Some((id.clone(), served.candidate.clone()?));
        let candidates: Vec<_> = self.served.iter().filter_map(tried).collect();
        let mut jobs = Vec::new();
        for (plugin, candidate) in candidates {
            let trigger = Trigger::Trial(candidate.trial.phase);
            if let Some(live) = candidate.trial.is_to_be_compared() {
                self.compare_both(&plugin, &candidate, live).await;
            }
            match candidate.trial.verdict() {
                Verdict::Watch => {}
                Verdict::Failed(reason) => jobs.push(Job::of_itself(trigger, Asked::Abort(plugin)).because(reason)),
                Verdict::Passed => jobs.push(Job::of_itself(trigger, Asked::Promote(plugin))),
            }
        }
        self.watch_probations(&mut jobs).await;
        jobs
    }

    /// Compares what calls of a candidate and of the version that serves take. If there is no batch that could be
    /// kept, what they took on live traffic decides.
    async fn compare_both(&self, plugin: &str, candidate: &Arc<Candidate>, live: Times) {
        let Some(served) = self.served.get(plugin) else { return };
        let batches = served.recent.batches();
        let live = batches.is_empty().then_some(live);
        let (times, cost) = compare(plugin, [&served.prepared, &candidate.served.prepared], batches).await;
        candidate.trial.compared(times.or(live), cost);
    }

    /// To have the candidate of a plugin serve.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn promote(&self, plugin: &str) -> Result<(Work, Then), String> {
        self.candidate(plugin)?;
        Ok((self.look_at(plugin, Which::Candidate), Then::Nothing))
    }

    /// To let go of the candidate of a plugin.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn abort(&self, plugin: &str) -> Result<(Work, Then), String> {
        let (present, candidate) = self.candidate(plugin)?;
        Ok((self.look_at(plugin, Which::Present), Then::End { present, candidate }))
    }

    /// Tells of the end of a candidate that is gone, and remembers it: it is not tried again by itself. The reason
    /// is there if it was not an operator who wanted that.
    pub(super) fn ended(
        &self,
        plugin: &str,
        (present, candidate): (&str, &Candidate),
        trigger: Trigger,
        reason: Option<String>,
    ) -> Swap {
        let swap = Swap {
            from: Some(candidate.digest().to_owned()),
            to: Some(present.to_owned()),
            trigger: trigger.as_str(),
            outcome: "rolled_back",
            reason,
            ..ended(plugin, candidate)
        };
        swap.log(&[]);
        self.desk.tries(&swap, None);
        self.workshop.metrics.swapped(&swap);
        self.remember(plugin, candidate.digest(), present);
        swap
    }

    /// The digest of what serves, and the candidate beside it.
    fn candidate(&self, plugin: &str) -> Result<(String, Arc<Candidate>), String> {
        let tried = |served: &Served| Some((served.prepared.digest().to_owned(), served.candidate.clone()?));
        let none = || format!("{plugin}: no candidate is tried; `rollout: {{ strategy }}` says whether one is");
        self.served.get(plugin).and_then(tried).ok_or_else(none)
    }

    /// Tells of a candidate that the cores have just begun to try.
    pub(super) fn tell_candidate(
        &self,
        fresh: Fresh,
        served: &HashMap<String, Served>,
        trigger: Option<Trigger>,
    ) -> Option<Swap> {
        let candidate = served.get(&fresh.id)?.candidate.as_ref()?;
        let swap = Swap {
            from: fresh.from,
            to: Some(candidate.digest().to_owned()),
            trigger: trigger.map_or("start", Trigger::as_str),
            ms: fresh.steps,
            outcome: "candidate",
            trial: None,
            ..ended(&fresh.id, candidate)
        };
        self.workshop.metrics.swapped(&swap);
        swap.log(&candidate.served.prepared.description().capabilities);
        let shown = Shown { digest: candidate.digest().to_owned(), trial: Arc::clone(&candidate.trial) };
        self.desk.tries(&swap, Some(shown));
        // It is not shown as rolled back while it is tried again.
        self.show_versions(&swap.plugin);
        Some(swap)
    }

    /// Tells of candidates that `next` does not have and that it was not asked to let go of. One that ends because the
    /// version beside it had to go has its turn again, beside the one that comes back.
    pub(super) fn tell_superseded(&mut self, next: &HashMap<String, Served>, trigger: Option<Trigger>) {
        let is_told =
            matches!(trigger, Some(Trigger::Trial(_) | Trigger::Promote | Trigger::Abort | Trigger::Rollback));
        let goes_back = trigger.is_some_and(Trigger::goes_back);
        for (plugin, served) in self.served.iter().filter(|_| !is_told) {
            let Some(candidate) = &served.candidate else { continue };
            let goes_on =
                |next: &Served| next.tries_the_same(served) || Arc::ptr_eq(&next.stats, &candidate.served.stats);
            if next.get(plugin).is_some_and(goes_on) {
                continue;
            }
            let instead = next
                .get(plugin)
                .map(|next| next.candidate.as_ref().map_or(&next.prepared, |next| &next.served.prepared));
            let to = instead.map(|instead| instead.digest().to_owned());
            let beside = to.clone().filter(|back| goes_back && back != candidate.digest());
            self.waiting.extend(beside.map(|from| Waits::for_itself(plugin, from, candidate.digest())));
            let swap = Swap {
                from: Some(candidate.digest().to_owned()),
                to,
                trigger: trigger.map_or("start", Trigger::as_str),
                outcome: "superseded",
                ..ended(plugin, candidate)
            };
            let serves_on = |next: &Served| next.candidate.is_none() && Arc::ptr_eq(&next.stats, &served.stats);
            if next.get(plugin).is_some_and(serves_on) {
                self.desk.tries(&swap, None);
            }
            swap.log(&[]);
            self.workshop.metrics.swapped(&swap);
        }
    }
}

/// What calls of two versions take side by side, if that can be told; and how long it took to find out.
pub(super) async fn compare(
    plugin: &str,
    [present, next]: [&Prepared; 2],
    batches: Vec<Bytes>,
) -> (Option<Times>, Duration) {
    let (present, next, began) = (present.clone(), next.clone(), Instant::now());
    let times = match preparing::aside(true, move || side_by_side::run(&present, &next, &batches)).await {
        Ok(times) => times,
        Err(error) => {
            tracing::error!(event = "internal", plugin, %error, "versions were not compared side by side");
            None
        }
    };
    (times, began.elapsed())
}

/// What is told of the end of a candidate.
fn ended(plugin: &str, candidate: &Candidate) -> Swap {
    let step = Step::Trial(candidate.trial.phase);
    let mut ms = candidate.steps.clone();
    ms.took(step, candidate.trial.began());
    Swap {
        plugin: plugin.to_owned(),
        from: None,
        to: None,
        trigger: "",
        step: step.as_str(),
        ms,
        outcome: "",
        self_test: candidate.self_test.clone(),
        trial: Some(candidate.report()),
        reason: None,
    }
}
