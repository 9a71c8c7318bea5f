//! A reload: the next generation, prepared aside and put in place, or not.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::alone::{self, Judged};
use super::{Collector, preparing};
use crate::cli::ConfigArgs;
use crate::config::{self, Config, Loaded};
use crate::extension::admin::{Asked, Done, Order, Plugin};
use crate::generation::{Fresh, Look, Processors, Served, Unfit, watched};
use crate::plugin::Inspection;
use crate::swap::Trigger;
use crate::swap::event::{Step, Swap};
use crate::telemetry::logs::rfc3339;

impl Collector {
    /// Does what the admin API was asked for, and tells whoever asked.
    pub async fn carry_out(&mut self, args: &ConfigArgs, order: Order) {
        let done = match &order.asked {
            Asked::Reload => self.reload(args, Trigger::Admin).await,
            Asked::Swap { plugin, force } => self.look_again(plugin, *force).await,
            Asked::Rollback(plugin) => self.roll_back(plugin, Trigger::Rollback).await,
            Asked::Promote(plugin) => self.promote(plugin, Trigger::Promote).await,
            Asked::Abort(plugin) => self.abort(plugin, Trigger::Abort, None).await,
        };
        order.done(done);
    }

    /// Reads the configuration and the modules again and puts what changed in place. Whatever is
    /// wrong is logged, and what it is about serves on: a plugin, or the present generation if the configuration
    /// has changed. Nothing changed: nothing happens.
    pub async fn reload(&mut self, args: &ConfigArgs, trigger: Trigger) -> Done {
        let (workshop, present, sources) = (self.workshop.clone(), self.served.clone(), args.sources());
        let (serving, watch, refused) = (self.config.clone(), self.files.clone(), self.refused.clone());
        let prepare = move || {
            let mut files = watched(&serving, &present);
            let loaded = config::load(&sources);
            // Those of a configuration that is refused as well: what it lacks may come.
            let read = loaded.as_ref().map_or_else(|broken| &broken.config, |loaded| &loaded.config);
            files.extend(read.files().map(Path::to_owned));
            watch.files(files.iter().map(PathBuf::as_path));
            // Tables are data: they are current whatever becomes of the configuration.
            workshop.tables.refresh();
            let loaded = loaded.map_err(|broken| {
                let unfit = workshop.refused(&broken.config, &present);
                Problem::Config(broken.problems, unfit)
            })?;
            if loaded.config == serving {
                let (processors, judged) = alone::judge(&workshop, &serving, present, &refused, trigger);
                return Ok(Next { loaded, processors, judged: Some(judged) });
            }
            let processors = workshop.processors(&loaded.config, &present, Look::All).map_err(Problem::Processors)?;
            Ok(Next { loaded, processors, judged: None })
        };
        self.put_in_place(prepare, trigger).await
    }

    /// Reads the module of one plugin again. Everything else stays as it is, in the files as here.
    /// With `force` even a version that was rolled back is tried again; others that were stay so.
    async fn look_again(&mut self, plugin: &str, force: bool) -> Done {
        let versions = Arc::clone(&self.workshop.versions);
        let rolled_back = versions.rolled_back(plugin).filter(|_| force);
        if rolled_back.is_some()
            && let Err(error) = versions.allow(plugin)
        {
            return tell_failed(&format!("cannot forget what was rolled back: {error}"), Trigger::Admin);
        }
        let done = self.look_at(plugin, Which::Module, Trigger::Admin).await;
        if let Some(mut rolled_back) = rolled_back {
            if let Some(served) = self.served.get(plugin).filter(|_| done.is_ok()) {
                // It serves now, or is tried, or waits for its turn.
                let waits = self.waiting.iter().find(|waits| waits.plugin == plugin).map(|waits| waits.to.as_str());
                let tried = served.candidate.as_ref().map(|candidate| candidate.digest());
                let allowed = [Some(served.prepared.digest()), tried, waits];
                rolled_back.digests.retain(|digest| !allowed.contains(&Some(digest.as_str())));
                served.prepared.digest().clone_into(&mut rolled_back.instead);
            }
            if !rolled_back.digests.is_empty() {
                self.tell_remembered(plugin, versions.write_down(plugin, &rolled_back));
            }
        }
        done
    }

    /// Goes back to the version of a module that served before, under the present configuration.
    pub(super) async fn roll_back(&mut self, plugin: &str, trigger: Trigger) -> Done {
        let refused = |reason: &str| failed(&format!("{plugin}: {reason}"), Vec::new());
        let Some(served) = self.served.get(plugin) else { return refused("it serves no more") };
        if served.candidate.is_some() && trigger == Trigger::Rollback {
            return self.abort(plugin, trigger, None).await;
        }
        if served.settings.sha256.is_some() {
            return refused("`sha256` says which version is meant: change it in the configuration");
        }
        let digest = served.prepared.digest().to_owned();
        let versions = &self.workshop.versions;
        // What nobody asks for goes back to what is known to be good.
        let by_itself = trigger == Trigger::Probation;
        let instead =
            if by_itself { versions.proved_before(plugin, &digest) } else { versions.before(plugin, &digest) };
        let Some(instead) = instead else {
            return refused("no version before this one is kept");
        };
        let done = self.look_at(plugin, Which::Kept(instead.clone()), trigger).await;
        if done.is_ok() {
            self.remember(plugin, &digest, &instead);
        }
        done
    }

    /// Keeps the modules of what serves now. Writing blocks; the control thread keeps accepting meanwhile.
    pub(super) async fn keep(&self, modules: Vec<Module>) {
        let versions = Arc::clone(&self.workshop.versions);
        let plugins: Vec<_> = modules.iter().map(|module| module.plugin.clone()).collect();
        let kept = tokio::task::spawn_blocking(move || {
            for Module { plugin, digest, bytes, file, has_proved } in &modules {
                versions.keep(plugin, digest, bytes, file);
                if *has_proved {
                    versions.prove(plugin, digest);
                }
            }
        });
        if let Err(error) = kept.await {
            tracing::error!(event = "internal", %error, "keeping versions of plugins has failed");
        }
        for plugin in &plugins {
            self.show_versions(plugin);
        }
    }

    /// A version must not serve again, `instead` does.
    pub(super) fn remember(&self, plugin: &str, digest: &str, instead: &str) {
        self.tell_remembered(plugin, self.workshop.versions.roll_back(plugin, digest, instead));
    }

    fn tell_remembered(&self, plugin: &str, remembered: io::Result<()>) {
        if let Err(error) = remembered {
            tracing::error!(event = "plugin.versions", plugin, %error, "the next reload will try again what was rolled back");
        }
        self.show_versions(plugin);
    }

    fn show_versions(&self, plugin: &str) {
        let versions = &self.workshop.versions;
        self.desk.versions(
            plugin,
            versions.kept(plugin),
            versions.rolled_back(plugin).and_then(|one| one.digests.last().cloned()),
        );
    }

    /// Looks at one plugin alone.
    pub(super) async fn look_at(&mut self, plugin: &str, which: Which, trigger: Trigger) -> Done {
        let (workshop, present, config) = (self.workshop.clone(), self.served.clone(), self.config.clone());
        let plugin = plugin.to_owned();
        let prepare = move || {
            let look = match &which {
                Which::Module => Look::Only(&plugin),
                Which::Kept(digest) => Look::Kept(&plugin, digest),
                Which::Candidate => Look::Promote(&plugin),
                Which::Present => Look::Abort(&plugin),
            };
            let processors = workshop.processors(&config, &present, look).map_err(Problem::Processors)?;
            let loaded = Loaded { config, warnings: config::Diagnostics::default() };
            Ok(Next { loaded, processors, judged: None })
        };
        self.put_in_place(prepare, trigger).await
    }

    async fn put_in_place(
        &mut self,
        prepare: impl FnOnce() -> Result<Next, Problem> + Send + 'static,
        trigger: Trigger,
    ) -> Done {
        let Next { loaded: Loaded { config, warnings }, mut processors, mut judged } =
            match preparing::aside(trigger, prepare).await {
                Ok(Ok(next)) => next,
                Ok(Err(problem)) => return self.tell_refused(problem, trigger),
                Err(error) => return tell_failed(&error.to_string(), trigger),
            };
        let waits = !processors.waiting.is_empty();
        self.tell_waiting(&mut processors, Some(trigger));
        if let Some(reason) = fixed_at_start(&self.config, &config) {
            return tell_failed(&reason, trigger);
        }
        match (self.hand_over(&mut processors, trigger).await, &mut judged) {
            (Ok(Ok(())), _) => {}
            (Ok(Err(unfit)), Some(judged)) => judged.leave_out(unfit, &mut processors.served, &self.served),
            (Ok(Err(unfit)), None) => return self.tell_refused(Problem::Processors(unfit), trigger),
            (Err(error), _) => return tell_failed(&error.to_string(), trigger),
        }
        let refused = judged.map(|judged| judged.end(&mut self.refused)).filter(|unfit| !unfit.is_empty());
        let refused = refused.map(|unfit| self.tell_refused(Problem::Processors(unfit), trigger));
        let tries_the_same =
            |(id, served): (&String, &Served)| processors.served.get(id).is_none_or(|next| next.tries_the_same(served));
        let is_same = processors.fresh.is_empty() && self.served.iter().all(tries_the_same);
        if is_same && config == self.config {
            let outcome = if waits { "waits" } else { "unchanged" };
            return refused.unwrap_or(Done { outcome, ..Done::default() });
        }
        config::print(&warnings);
        let mut done = match self.apply(config, processors, Some(trigger)).await {
            Ok(swaps) => {
                // What plugins name is known only now.
                self.files.files(watched(&self.config, &self.served).iter().map(PathBuf::as_path));
                tracing::info!(event = "reload", trigger = trigger.as_str(), outcome = "applied");
                Done { outcome: "applied", error: None, swaps }
            }
            Err(error) => tell_failed(&error.to_string(), trigger),
        };
        if let Some(Done { error, swaps, .. }) = refused {
            done.swaps.extend(swaps);
            done.error = Some(done.error.into_iter().chain(error).collect::<Vec<_>>().join("; "));
        }
        done
    }

    fn tell_refused(&self, problem: Problem, trigger: Trigger) -> Done {
        let (problems, unfit) = match problem {
            Problem::Config(problems, unfit) => (problems, unfit),
            Problem::Processors(unfit) => (config::Diagnostics::default(), unfit),
        };
        for problem in problems.iter() {
            let trigger = trigger.as_str();
            tracing::error!(event = "reload", trigger, outcome = "failed", reason = %problem);
        }
        let mut swaps = Vec::new();
        for Unfit { id, step, reason, word, config, from, to, steps } in unfit {
            let details: Vec<_> = config.iter().map(|(path, message)| format!("{path}: {message}")).collect();
            let reason = if details.is_empty() { reason } else { format!("{reason}: {}", details.join("; ")) };
            self.workshop.metrics.refused(&id, word);
            let swap = Swap {
                plugin: id,
                from,
                to,
                trigger: trigger.as_str(),
                step: step.as_str(),
                ms: steps,
                outcome: "failed",
                self_test: None,
                trial: None,
                reason: Some(reason),
            };
            self.workshop.metrics.swapped(&swap);
            swap.log(&[]);
            self.desk.failed(&swap);
            swaps.push(swap);
        }
        let reasons = swaps.iter().filter_map(|swap| Some(format!("{}: {}", swap.plugin, swap.reason.as_ref()?)));
        let reasons = format!("{problems}{}", reasons.collect::<Vec<_>>().join("; "));
        failed(reasons.trim_end(), swaps)
    }

    /// Tells of a processor that the cores have just taken over, and shows it as serving.
    pub(super) fn tell_swapped(
        &self,
        fresh: Fresh,
        served: &HashMap<String, Served>,
        trigger: Option<Trigger>,
    ) -> Option<Swap> {
        let now = served.get(&fresh.id)?;
        // The same code under another configuration goes on being shown.
        let other = |before: &&Served| before.prepared.digest() != now.prepared.digest();
        if let Some(before) = self.served.get(&fresh.id).filter(other) {
            let version = &before.prepared.description().version;
            self.workshop.metrics.retire(&fresh.id, version, before.prepared.digest());
        }
        let tried = self.served.get(&fresh.id).and_then(|before| before.candidate.as_ref());
        let trial = tried.filter(|tried| Arc::ptr_eq(&tried.served.stats, &now.stats)).map(|tried| tried.report());
        now.stats.serves();
        now.guard.begin_to_serve();
        now.prepared.serves();
        let outcome = if trigger.is_some_and(Trigger::goes_back) { "rolled_back" } else { "swapped" };
        let swap = Swap {
            from: fresh.from,
            to: Some(now.prepared.digest().to_owned()),
            trigger: trigger.map_or("start", Trigger::as_str),
            step: Step::Swap.as_str(),
            ms: fresh.steps,
            outcome,
            self_test: fresh.self_test,
            trial,
            reason: None,
            plugin: fresh.id,
        };
        self.workshop.metrics.swapped(&swap);
        swap.log(&now.prepared.description().capabilities);
        let inspection = Inspection::of_plugin(&swap.plugin, now.settings.module.as_deref(), &now.prepared);
        let (since, last_swap) = (rfc3339(SystemTime::now()), swap.clone());
        let plugin = Plugin { inspection, since, last_swap, candidate: None, kept: Vec::new(), rolled_back: None };
        self.desk.serves(&swap.plugin, plugin);
        Some(swap)
    }
}

fn tell_failed(reason: &str, trigger: Trigger) -> Done {
    tracing::error!(event = "reload", trigger = trigger.as_str(), outcome = "failed", reason);
    failed(reason, Vec::new())
}

pub(super) fn failed(reason: &str, swaps: Vec<Swap>) -> Done {
    Done { outcome: "failed", error: Some(reason.to_owned()), swaps }
}

/// A module that serves from now on.
pub(super) struct Module {
    pub(super) plugin: String,
    pub(super) digest: String,
    pub(super) bytes: Vec<u8>,
    /// Where it was read.
    pub(super) file: PathBuf,
    /// It is not on probation.
    pub(super) has_proved: bool,
}

/// What of a plugin is to serve.
pub(super) enum Which {
    /// Its module.
    Module,
    /// A version that is kept, by its digest.
    Kept(String),
    /// Its candidate.
    Candidate,
    /// What serves now, without the candidate.
    Present,
}

/// What is to be put in place.
struct Next {
    loaded: Loaded,
    processors: Processors,
    /// There if each processor was judged alone.
    judged: Option<Judged>,
}

/// Why there is no next generation.
enum Problem {
    /// The configuration is wrong; and what its plugins refuse.
    Config(config::Diagnostics, Vec<Unfit>),
    /// Plugins cannot serve.
    Processors(Vec<Unfit>),
}

/// What a reload would have to change but cannot: compiled code is loaded from the cache that the
/// process was started with.
fn fixed_at_start(present: &Config, next: &Config) -> Option<String> {
    let state_dir = |config: &Config| config.sluice().and_then(|sluice| sluice.state_dir.clone());
    if state_dir(present) == state_dir(next) {
        return None;
    }
    let place = next.sluice().map(|sluice| format!("{}: error: ", sluice.state_dir_mark)).unwrap_or_default();
    Some(format!("{place}`state_dir` of the `sluice` extension cannot change while the process runs; restart it"))
}
