//! A candidate: a version that is tried beside the one that serves, before it takes its place.
//!
//! It is made as any next version is, self-test included. What differs is where it goes: beside the
//! present one, which stays what serves, until it is promoted or let go.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use sluice_sandbox::Instance;

use super::{Attempt, Problem, Served, Workshop};
use crate::chain::{Aside, Beside, Canary, Shadow};
use crate::config::Config;
use crate::config::processor::{Settings, Strategy};
use crate::swap::event::{Step, Steps};
use crate::swap::self_test;
use crate::swap::trial::{self, Phase, Trial};

/// See the module.
pub struct Candidate {
    /// What is to serve.
    pub served: Served,
    /// How it does.
    pub trial: Arc<Trial>,
    /// How the cores are to try it.
    pub beside: Beside,
    /// How long each step took so far.
    pub steps: Steps,
    /// How its self-test went.
    pub self_test: Option<self_test::Report>,
    /// The module's bytes and where they were read.
    module: Option<(Vec<u8>, PathBuf)>,
}

/// How a version, by its digest, is to be tried before it takes the place of `now`: another version of the
/// module, if one can be gone back to. The same version with other settings is wanted as it is.
pub(super) fn phase(now: &Served, settings: &Settings, next: &str) -> Option<Phase> {
    let is_another = next != now.prepared.digest() && now.settings.module.is_some();
    match settings.rollout.strategy {
        Strategy::Shadow if is_another => Some(Phase::Shadow),
        Strategy::Canary if is_another => Some(Phase::Canary),
        _ => None,
    }
}

/// A version whose trial has to wait: for the canary of another one in the same chain to be over, or for the version
/// beside which it was tried to be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// The component id.
    pub plugin: String,
    /// The digest that serves.
    pub from: String,
    /// The digest that waits.
    pub to: String,
    /// The processor that it waits for.
    pub behind: String,
}

impl Waits {
    /// What waits until the trial of this very processor is over.
    pub fn for_itself(plugin: &str, from: String, to: &str) -> Self {
        Self { plugin: plugin.to_owned(), from, to: to.to_owned(), behind: plugin.to_owned() }
    }
}

/// A processor in a chain with `id` that has a canary. Of two at a time each would be judged for what the other
/// does: the same traces go through both.
pub(super) fn canary_beside(
    config: &Config,
    id: &str,
    present: &HashMap<String, Served>,
    decided: &HashMap<String, Served>,
) -> Option<String> {
    let chains = config.service.pipelines.iter().map(|pipeline| {
        let names: Vec<_> = pipeline.processors.iter().map(ToString::to_string).collect();
        names
    });
    let ours = chains.filter(|chain| chain.iter().any(|other| other == id));
    let mut others = ours.flatten().filter(|other| other != id);
    others.find(|other| decided.get(other).or_else(|| present.get(other)).is_some_and(Served::has_canary))
}

impl Attempt {
    /// Whether this version is to have a canary and its turn has not come; notes that.
    pub(super) fn has_to_wait(&mut self, now: &Served, settings: &Settings, next: &str) -> bool {
        let is_canary = self.tests && phase(now, settings, next) == Some(Phase::Canary);
        self.waits = is_canary && self.behind.is_some();
        self.waits
    }

    /// What waits, if anything does.
    pub(super) fn waits(&self, id: &str, now: &Served) -> Option<Waits> {
        let behind = self.behind.clone().filter(|_| self.waits)?;
        Some(Waits { plugin: id.to_owned(), from: now.prepared.digest().to_owned(), to: self.to.clone()?, behind })
    }
}

/// The present version of the plugin `id` with `next` tried beside it.
pub(super) fn beside(
    now: &Served,
    next: Served,
    phase: Phase,
    id: &str,
    aside: &Aside,
    attempt: &mut Attempt,
) -> Served {
    attempt.is_candidate = true;
    let rollout = &next.settings.rollout;
    let trial = Arc::new(Trial::begin(phase, rollout));
    let beside = match phase {
        Phase::Canary => Beside::Canary(Arc::new(Canary::new(next.slot(id), rollout.share, &trial))),
        Phase::Shadow => {
            let shadow = Shadow::new(id, &now.prepared, &next.prepared, rollout.share, &trial, aside);
            Beside::Shadow(Arc::new(shadow))
        }
    };
    let candidate = Candidate {
        trial,
        beside,
        steps: attempt.steps.clone(),
        self_test: attempt.self_test.clone(),
        module: attempt.module.take(),
        served: next,
    };
    Served { candidate: Some(Arc::new(candidate)), ..now.clone() }
}

impl Candidate {
    /// Its digest.
    pub fn digest(&self) -> &str {
        self.served.prepared.digest()
    }

    /// How its trial goes.
    pub fn report(&self) -> trial::Report {
        self.trial.report(self.digest())
    }
}

impl Served {
    /// Whether another version serves a share of the traces beside it.
    pub fn has_canary(&self) -> bool {
        self.candidate.as_ref().is_some_and(|candidate| candidate.trial.phase == Phase::Canary)
    }

    /// Whether the same candidate, or none, is tried beside both.
    pub fn tries_the_same(&self, other: &Self) -> bool {
        match (&self.candidate, &other.candidate) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Workshop {
    /// The candidate in the place of the version that it was tried beside.
    pub(super) fn promoted(
        &self,
        now: &Served,
        attempt: &mut Attempt,
    ) -> Result<(Served, Option<Vec<Instance>>), Problem> {
        let Some(candidate) = &now.candidate else { return Ok((now.clone(), None)) };
        attempt.steps = candidate.steps.clone();
        attempt.steps.took(Step::Trial(candidate.trial.phase), candidate.trial.began());
        attempt.self_test.clone_from(&candidate.self_test);
        attempt.module.clone_from(&candidate.module);
        let instances = self.instances(&candidate.served.prepared, attempt)?;
        Ok((candidate.served.clone(), Some(instances)))
    }
}
