//! What is tried: candidates are watched, promoted, and let go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::reload::{Which, failed};
use super::{Collector, preparing};
use crate::extension::admin::Done;
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
        // What was not looked at waits as before.
        let others =
            self.waiting.iter().filter(|waits| processors.only.as_ref().is_some_and(|only| *only != waits.plugin));
        waiting.extend(others.cloned());
        self.waiting = waiting;
    }

    /// Sees how candidates and new versions do, and does what follows. To be called now and then.
    pub async fn watch(&mut self) {
        let tried = |(id, served): (&String, &Served)| Some((id.clone(), served.candidate.clone()?));
        let candidates: Vec<_> = self.served.iter().filter_map(tried).collect();
        for (plugin, candidate) in candidates {
            let trigger = Trigger::Trial(candidate.trial.phase);
            if let Some(live) = candidate.trial.is_to_be_compared() {
                self.compare_both(&plugin, &candidate, live).await;
            }
            let done = match candidate.trial.verdict() {
                Verdict::Watch => continue,
                Verdict::Failed(reason) => self.abort(&plugin, trigger, Some(reason)).await,
                Verdict::Passed => self.promote(&plugin, trigger).await,
            };
            if let Some(reason) = done.error {
                // It would be tried for ever.
                self.abort(&plugin, trigger, Some(reason)).await;
            }
        }
        self.watch_probations().await;
    }

    /// Compares what calls of a candidate and of the version that serves take. If there is no batch that could be
    /// kept, what they took on live traffic decides.
    async fn compare_both(&self, plugin: &str, candidate: &Arc<Candidate>, live: Times) {
        let Some(served) = self.served.get(plugin) else { return };
        let (present, next) = (served.prepared.clone(), candidate.served.prepared.clone());
        let (batches, began) = (served.recent.batches(), Instant::now());
        let live = batches.is_empty().then_some(live);
        let work = move || side_by_side::run(&present, &next, &batches);
        let times = match preparing::aside(Trigger::Trial(candidate.trial.phase), work).await {
            Ok(times) => times.or(live),
            Err(error) => {
                tracing::error!(event = "internal", plugin, %error, "a candidate was not compared side by side");
                live
            }
        };
        candidate.trial.compared(times, began.elapsed());
    }

    /// Has the candidate of a plugin serve.
    pub(super) async fn promote(&mut self, plugin: &str, trigger: Trigger) -> Done {
        match self.candidate(plugin) {
            Some(_) => self.look_at(plugin, Which::Candidate, trigger).await,
            None => nothing_is_tried(plugin),
        }
    }

    /// Lets go of the candidate of a plugin, and remembers it: it is not tried again by itself. The reason is
    /// there if it was not an operator who wanted that.
    pub(super) async fn abort(&mut self, plugin: &str, trigger: Trigger, reason: Option<String>) -> Done {
        let Some((present, candidate)) = self.candidate(plugin) else { return nothing_is_tried(plugin) };
        let mut done = self.look_at(plugin, Which::Present, trigger).await;
        if !done.is_ok() {
            return done;
        }
        let swap = Swap {
            from: Some(candidate.digest().to_owned()),
            to: Some(present.clone()),
            trigger: trigger.as_str(),
            outcome: "rolled_back",
            reason,
            ..ended(plugin, &candidate)
        };
        self.tell_ended(&swap, &candidate);
        self.remember(plugin, candidate.digest(), &present);
        done.swaps.push(swap);
        done
    }

    /// The digest of what serves, and the candidate beside it.
    fn candidate(&self, plugin: &str) -> Option<(String, Arc<Candidate>)> {
        let served = self.served.get(plugin)?;
        Some((served.prepared.digest().to_owned(), served.candidate.clone()?))
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
        Some(swap)
    }

    /// Tells of candidates that `next` does not have and that it was not asked to let go of.
    pub(super) fn tell_superseded(&self, next: &HashMap<String, Served>, trigger: Option<Trigger>) {
        let is_told =
            matches!(trigger, Some(Trigger::Trial(_) | Trigger::Promote | Trigger::Abort | Trigger::Rollback));
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
            let swap = Swap {
                from: Some(candidate.digest().to_owned()),
                to: instead.map(|instead| instead.digest().to_owned()),
                trigger: trigger.map_or("start", Trigger::as_str),
                outcome: "superseded",
                ..ended(plugin, candidate)
            };
            let serves_on = |next: &Served| next.candidate.is_none() && Arc::ptr_eq(&next.stats, &served.stats);
            if next.get(plugin).is_some_and(serves_on) {
                self.desk.tries(&swap, None);
            }
            swap.log(&[]);
            self.retire(&swap, candidate);
        }
    }

    fn tell_ended(&self, swap: &Swap, candidate: &Candidate) {
        swap.log(&[]);
        self.desk.tries(swap, None);
        self.retire(swap, candidate);
    }

    /// Counts the end of a candidate, which is no longer shown.
    fn retire(&self, swap: &Swap, candidate: &Candidate) {
        let metrics = &self.workshop.metrics;
        metrics.swapped(swap);
        metrics.retire(&swap.plugin, &candidate.served.prepared.description().version, candidate.digest());
    }
}

fn nothing_is_tried(plugin: &str) -> Done {
    failed(&format!("{plugin}: no candidate is tried; `rollout: {{ strategy }}` says whether one is"), Vec::new())
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
