//! A reload: the next generation, prepared aside and put in place, or not.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::Collector;
use super::alone::{self, Judged};
use super::jobs::Then;
use super::pins::{self, Pin};
use super::preparing::Lost;
use crate::config::{self, Config, Loaded, Source};
use crate::extension::admin::{Done, Plugin};
use crate::generation::{Fresh, Look, Processors, Served, Unfit, watched};
use crate::plugin::Inspection;
use crate::swap::Trigger;
use crate::swap::event::{Step, Swap};
use crate::swap::versions::RolledBack;
use crate::telemetry::logs::rfc3339;

impl Collector {
    /// Reads the configuration and the modules again, to put what changed in place. Whatever is
    /// wrong is logged, and what it is about serves on: a plugin, or the present generation if the configuration
    /// has changed. Nothing changed: nothing happens. An earlier attempt, if there was one, has refused something.
    pub(super) fn reload(&self, sources: &[Source], trigger: Trigger, earlier: Option<Judged>) -> Work {
        let (workshop, present, sources) = (self.workshop.clone(), self.served.clone(), sources.to_owned());
        let (serving, watch, refused) = (self.config.clone(), self.files.clone(), self.refused.clone());
        Box::new(move || {
            let mut files = watched(&serving, &present);
            let loaded = config::load_again(&sources);
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
                let (processors, judged) = alone::judge(&workshop, &serving, present, (&refused, earlier), trigger);
                return Ok(Next { loaded, processors, judged: Some(judged), pins: Vec::new() });
            }
            let pins = pins::new(&serving, &loaded.config);
            let look = Look::All { pinned: &pins };
            let processors = workshop.processors(&loaded.config, &present, look).map_err(Problem::Processors)?;
            Ok(Next { loaded, processors, judged: None, pins })
        })
    }

    /// To go back to the version of a module that served before, under the present configuration. The reason is
    /// there if it was not an operator who wanted that.
    ///
    /// # Errors
    /// With the reason, when there is no way back.
    pub(super) fn roll_back(
        &self,
        plugin: &str,
        trigger: Trigger,
        reason: Option<String>,
    ) -> Result<(Work, Then), String> {
        let refused = |reason: &str| Err(format!("{plugin}: {reason}"));
        let Some(served) = self.served.get(plugin) else { return refused("it serves no more") };
        if served.candidate.is_some() && trigger == Trigger::Rollback {
            return self.abort(plugin);
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
        Ok((self.look_at(plugin, Which::Kept(instead.clone(), reason)), Then::Remember { digest, instead }))
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
            tracing::error!(event = "plugin.versions", plugin, %error, "it is not written down which versions were rolled back: the next reload goes by what was written before");
        }
        self.show_versions(plugin);
    }

    pub(super) fn show_versions(&self, plugin: &str) {
        let versions = &self.workshop.versions;
        self.desk.versions(
            plugin,
            versions.kept(plugin),
            versions.rolled_back(plugin).and_then(|one| one.digests.last().cloned()),
        );
    }

    /// A version must serve although it was rolled back; others that were stay so.
    pub(super) fn allow(&self, plugin: &str, mut rolled_back: RolledBack) {
        let Some(served) = self.served.get(plugin) else { return };
        // It serves now, or is tried, or waits for its turn.
        let waits = self.waiting.iter().find(|waits| waits.plugin == plugin).map(|waits| waits.to.as_str());
        let tried = served.candidate.as_ref().map(|candidate| candidate.digest());
        let allowed = [Some(served.prepared.digest()), tried, waits];
        rolled_back.digests.retain(|digest| !allowed.contains(&Some(digest.as_str())));
        served.prepared.digest().clone_into(&mut rolled_back.instead);
        let versions = &self.workshop.versions;
        let written = match &*rolled_back.digests {
            [] => versions.allow(plugin),
            _ => versions.write_down(plugin, &rolled_back),
        };
        self.tell_remembered(plugin, written);
    }

    /// To look at one plugin alone.
    pub(super) fn look_at(&self, plugin: &str, which: Which) -> Work {
        let (workshop, present, config) = (self.workshop.clone(), self.served.clone(), self.config.clone());
        let plugin = plugin.to_owned();
        Box::new(move || {
            let look = match &which {
                Which::Module { force: false } => Look::Only(&plugin),
                Which::Module { force: true } => Look::Forced(&plugin),
                Which::Kept(digest, _) => Look::Kept(&plugin, digest),
                Which::Candidate => Look::Promote(&plugin),
                Which::Present => Look::Abort(&plugin),
            };
            let mut processors = workshop.processors(&config, &present, look).map_err(Problem::Processors)?;
            if let Which::Kept(digest, reason) = which {
                let serves = processors.served.get(&plugin).map(|served| served.prepared.digest());
                if serves != Some(digest.as_str()) {
                    let reason = "the version before this one must not serve either, as it was rolled back";
                    let reason = format!("{plugin}: {reason}: put another one in its file");
                    return Err(Problem::Order(reason));
                }
                processors.fresh.iter_mut().for_each(|fresh| fresh.reason.clone_from(&reason));
            }
            let loaded = Loaded { config, warnings: config::Diagnostics::default() };
            Ok(Next { loaded, processors, judged: None, pins: Vec::new() })
        })
    }

    /// Puts in place what was prepared on the generation that serves.
    pub(super) async fn put_in_place(
        &mut self,
        prepared: Result<Result<Next, Problem>, Lost>,
        trigger: Trigger,
    ) -> Done {
        let Next { loaded: Loaded { config, warnings }, mut processors, mut judged, pins } = match prepared {
            Ok(Ok(next)) => next,
            Ok(Err(problem)) => return self.tell_refused(problem, trigger),
            Err(error) => return tell_failed(&error.to_string(), trigger),
        };
        let (waits, is_about_one) = (!processors.waiting.is_empty(), processors.only.is_some());
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
                // Not before: of a configuration that is refused nothing stays.
                pins::forgive(&self.workshop.versions, &pins);
                for (plugin, _) in &pins {
                    self.show_versions(plugin);
                }
                // What plugins name is known only now.
                let files = watched(&self.config, &self.served);
                if is_about_one {
                    // The files of a configuration that is being prepared, or was refused, are others.
                    self.files.also(files);
                } else {
                    self.files.files(files.iter().map(PathBuf::as_path));
                }
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
            Problem::Order(reason) => return failed(&reason, Vec::new()),
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
        let tried = self.served.get(&fresh.id).and_then(|before| before.candidate.as_ref());
        let trial = tried.filter(|tried| Arc::ptr_eq(&tried.served.stats, &now.stats)).map(|tried| tried.report());
        let (metrics, digest) = (&self.workshop.metrics, now.prepared.digest());
        metrics.serves(&fresh.id, &now.prepared.description().version, digest);
        now.guard.begin_to_serve();
        now.prepared.serves();
        let outcome = if trigger.is_some_and(Trigger::goes_back) { "rolled_back" } else { "swapped" };
        let swap = Swap {
            from: fresh.from,
            to: Some(digest.to_owned()),
            trigger: trigger.map_or("start", Trigger::as_str),
            step: Step::Swap.as_str(),
            ms: fresh.steps,
            outcome,
            self_test: fresh.self_test,
            trial,
            reason: fresh.reason,
            plugin: fresh.id,
        };
        metrics.swapped(&swap);
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

fn failed(reason: &str, swaps: Vec<Swap>) -> Done {
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
    /// Its module; with `force` even a version that was rolled back.
    Module {
        /// See there.
        force: bool,
    },
    /// A version that is kept, by its digest; and why, if it was not an operator who wanted that.
    Kept(String, Option<String>),
    /// Its candidate.
    Candidate,
    /// What serves now, without the candidate.
    Present,
}

/// What prepares a generation.
pub(super) type Work = Box<dyn FnOnce() -> Result<Next, Problem> + Send>;

/// What is to be put in place.
pub(super) struct Next {
    loaded: Loaded,
    processors: Processors,
    /// There if each processor was judged alone.
    pub(super) judged: Option<Judged>,
    /// What processors are pinned to anew.
    pins: Vec<Pin>,
}

/// Why there is no next generation.
pub(super) enum Problem {
    /// The configuration is wrong; and what its plugins refuse.
    Config(config::Diagnostics, Vec<Unfit>),
    /// Plugins cannot serve.
    Processors(Vec<Unfit>),
    /// What was asked for cannot be done.
    Order(String),
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
