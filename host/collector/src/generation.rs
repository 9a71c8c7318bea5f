//! A generation: one configuration with everything that serves it.
//!
//! The next one is prepared aside, with the present one serving: modules are read, verified,
//! compiled and configured, an instance for every core is made, exporters are started. What did not
//! change is taken over. Only when all of it has succeeded do the cores get the new routes. A
//! failure anywhere drops what was prepared and leaves the present generation as it is.

mod candidate;
mod columns;
mod files;
mod first;
mod refused;
mod served;
mod settings;
mod unfit;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use sluice_sandbox::{Instance, PrepareError, Prepared, Sandbox, Source, Trust, Verified};

use crate::chain::{Care, Guard, PluginMetrics};
use crate::config::processor::{self, OnFailure};
use crate::config::{Component, Config, with_nearest};
use crate::swap::event::{Step, Steps};
use crate::swap::self_test::{self, Report};
use crate::swap::trial::Phase;
use crate::swap::versions::Versions;
use crate::tables::Shelf;

pub use candidate::{Candidate, Waits};
pub(crate) use files::watched;
pub use served::Served;
use settings::{quarantine_is_there, store_folder};
pub use settings::{sandbox_settings, trust};
use unfit::Problem;
pub use unfit::Unfit;

/// First-party plugins by their config type.
pub type Bundle = HashMap<&'static str, Source>;

/// At which modules to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look<'l> {
    /// All of them, for the first generation; those that are there already have served before the process began.
    Start,
    /// All of them.
    All {
        /// Processors and the digests that they are pinned to anew: those serve even if they were rolled back.
        pinned: &'l [(String, String)],
    },
    /// That of this processor alone; others stay as they are.
    Only(&'l str),
    /// The same, even if it is a version that was rolled back.
    Forced(&'l str),
    /// At a version of this processor, by its digest, that has served before and is kept.
    Kept(&'l str, &'l str),
    /// At the candidate of this processor, which is to serve from now on.
    Promote(&'l str),
    /// At none: this processor goes on without its candidate.
    Abort(&'l str),
}

impl<'l> Look<'l> {
    /// The one processor that it is about, if it is about one.
    fn only(self) -> Option<&'l str> {
        match self {
            Self::Start | Self::All { .. } => None,
            Self::Only(id) | Self::Forced(id) | Self::Kept(id, _) | Self::Promote(id) | Self::Abort(id) => Some(id),
        }
    }
}

/// What plugins are made with.
#[derive(Clone)]
pub struct Workshop {
    /// The sandbox of the process.
    pub sandbox: Sandbox,
    /// The plugins in the binary.
    pub bundle: Arc<Bundle>,
    /// Where the plugins' figures go.
    pub metrics: PluginMetrics,
    /// The look-up tables of the process.
    pub tables: Shelf,
    /// What guards of plugins are made with.
    pub care: Care,
    /// The last versions of modules.
    pub versions: Arc<Versions>,
    /// How many instances of each plugin are needed.
    pub cores: usize,
}

/// A processor that was made anew.
pub struct Fresh {
    /// The component id.
    pub id: String,
    /// The digest that served before, if any did.
    pub from: Option<String>,
    /// How long each step took.
    pub steps: Steps,
    /// How its self-test went, if there was one.
    pub self_test: Option<Report>,
    /// The module's bytes and where they were read, unless they are in the binary.
    pub module: Option<(Vec<u8>, PathBuf)>,
    /// One instance a core.
    pub instances: Vec<Instance>,
    /// It does not serve yet, but is tried.
    pub is_candidate: bool,
    /// It is to be watched when it serves.
    pub is_on_probation: bool,
    /// Why the version before has to go, if it is not for this one.
    pub reason: Option<String>,
}

/// An attempt to make a processor.
#[derive(Default)]
struct Attempt {
    /// Whether there is a self-test.
    tests: bool,
    /// The module's bytes and where they were read, unless they are in the binary.
    module: Option<(Vec<u8>, PathBuf)>,
    steps: Steps,
    /// The digest of its module, once that is read.
    to: Option<String>,
    self_test: Option<Report>,
    /// What was made is to be tried.
    is_candidate: bool,
    /// The processor whose canary has to be over before there is one of this.
    behind: Option<String>,
    /// Nothing was made, because of that.
    waits: bool,
}

impl Attempt {
    fn time<T>(&mut self, step: Step, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let made = work();
        self.steps.took(step, started);
        made
    }

    fn failed(self, id: String, problem: Problem, now: Option<&Served>) -> Unfit {
        let Problem { step, reason, word, config } = problem;
        let from = now.map(|now| now.prepared.digest().to_owned());
        Unfit { id, step, reason, word, config, from, to: self.to, steps: self.steps }
    }
}

/// All processors of a generation.
#[derive(Default)]
pub struct Processors {
    /// By id.
    pub served: HashMap<String, Served>,
    /// Those that the present generation does not have.
    pub fresh: Vec<Fresh>,
    /// Versions whose turn has not come, of those that were looked at.
    pub waiting: Vec<Waits>,
    /// The only one that was looked at, if it was one.
    pub only: Option<String>,
}

impl Workshop {
    /// Makes what the processors of `config` need that `present` does not have. Blocking, and slow
    /// when something has to be compiled: never called on a core.
    ///
    /// # Errors
    /// For every processor that cannot serve.
    pub fn processors(
        &self,
        config: &Config,
        present: &HashMap<String, Served>,
        look: Look<'_>,
    ) -> Result<Processors, Vec<Unfit>> {
        let mut all = Processors { only: look.only().map(str::to_owned), ..Processors::default() };
        let mut unfit = Vec::new();
        for component in config.used_processors() {
            let id = component.id.to_string();
            let now = present.get(&id);
            if let Some(now) = now.filter(|_| look.only().is_some_and(|only| only != id)) {
                all.served.insert(id, now.clone());
                continue;
            }
            let tests = match look {
                Look::All { .. } | Look::Only(_) | Look::Forced(_) => true,
                Look::Start => now.is_some(),
                // What goes back has proved itself, and must not be kept from it.
                Look::Kept(..) | Look::Promote(_) | Look::Abort(_) => false,
            };
            let behind = candidate::canary_beside(config, &id, present, &all.served);
            let mut attempt = Attempt { tests, behind, ..Attempt::default() };
            match self.processor(component, now, config, look, &mut attempt) {
                Ok((served, instances)) => {
                    all.waiting.extend(attempt.waits(&id, &served));
                    let from = now.map(|now| now.prepared.digest().to_owned());
                    all.served.insert(id.clone(), served);
                    all.fresh.extend(instances.map(|instances| Fresh {
                        id,
                        from,
                        steps: attempt.steps,
                        self_test: attempt.self_test,
                        module: attempt.module,
                        is_candidate: attempt.is_candidate,
                        is_on_probation: false,
                        reason: None,
                        instances,
                    }));
                }
                Err(problem) => unfit.push(attempt.failed(id, problem, now)),
            }
        }
        if unfit.is_empty() { Ok(all) } else { Err(unfit) }
    }

    /// Prepares one processor, for a look at it.
    ///
    /// # Errors
    /// When it could not serve.
    pub fn prepared(
        &self,
        component: &Component<processor::Settings>,
        config: &Config,
    ) -> Result<Prepared, Box<Unfit>> {
        let mut attempt = Attempt::default();
        let verified = self.verify(component, config, Look::Start, &mut attempt);
        let prepared = verified.and_then(|verified| self.prepare(component, config, verified, &mut attempt));
        prepared.map_err(|problem| Box::new(attempt.failed(component.id.to_string(), problem, None)))
    }

    /// A processor, and instances of it if it is not the present one.
    fn processor(
        &self,
        component: &Component<processor::Settings>,
        present: Option<&Served>,
        config: &Config,
        look: Look<'_>,
        attempt: &mut Attempt,
    ) -> Result<(Served, Option<Vec<Instance>>), Problem> {
        let settings = &component.settings;
        match (look, present) {
            (Look::Promote(_), Some(now)) => return self.promoted(now, attempt),
            (Look::Abort(_), Some(now)) => return Ok((now.alone(), None)),
            _ => {}
        }
        let verified = self.verify(component, config, look, attempt)?;
        if let Some(now) = present.filter(|now| now.goes_on_under(settings, verified.digest())) {
            return Ok((now.alone(), None));
        }
        let is_it = |served: &&Served| served.is_under(settings) && served.prepared.digest() == verified.digest();
        if let Some(now) = present.filter(is_it) {
            return Ok((now.alone(), None));
        }
        // Even one that is being tried, if another chain was joined to this one.
        if let Some(now) = present.filter(|now| attempt.has_to_wait(now, settings, verified.digest())) {
            return Ok((now.alone(), None));
        }
        // Who goes back to a version that is being tried wants it to serve now.
        let tries_it = |now: &&Served| attempt.tests && now.candidate.iter().any(|candidate| is_it(&&candidate.served));
        if let Some(now) = present.filter(tries_it) {
            return Ok((now.clone(), None));
        }
        let prepared = self.prepare(component, config, verified, attempt)?;
        let recent = present.map(|now| Arc::clone(&now.recent)).unwrap_or_default();
        if attempt.tests {
            let report = attempt.time(Step::SelfTest, || self_test::run(&prepared, recent.batches()));
            attempt.self_test = Some(report.map_err(Problem::at(Step::SelfTest))?);
        }
        let tried = present.filter(|_| attempt.tests);
        let tried = tried.and_then(|now| Some((now, candidate::phase(now, settings, prepared.digest())?)));
        // The cores have nothing to do with a shadow.
        let is_shadow = matches!(tried, Some((_, Phase::Shadow)));
        let instances = if is_shadow { Vec::new() } else { self.instances(&prepared, attempt)? };
        let (id, version) = (component.id.to_string(), &prepared.description().version);
        let (series, most) = (self.metrics.series(&id, settings), settings.limits.metric_series);
        let stats = Arc::new(self.metrics.plugin(&id, version, series, most));
        let guard = Guard::new(&id, settings, &prepared, &stats, &self.care);
        let next = Served { settings: settings.clone(), prepared, stats, guard, recent, candidate: None };
        let served = match tried {
            Some((now, phase)) => candidate::beside(now, next, phase, &id, &self.care.aside, attempt),
            None => next,
        };
        Ok((served, Some(instances)))
    }

    /// An instance for every core.
    fn instances(&self, prepared: &Prepared, attempt: &mut Attempt) -> Result<Vec<Instance>, Problem> {
        let instances = attempt
            .time(Step::Instantiate, || (0..self.cores).map(|_| prepared.instantiate()).collect::<Result<Vec<_>, _>>());
        instances.map_err(Problem::at(Step::Instantiate))
    }

    fn verify(
        &self,
        component: &Component<processor::Settings>,
        config: &Config,
        look: Look<'_>,
        attempt: &mut Attempt,
    ) -> Result<Verified, Problem> {
        let (id, settings) = (component.id.to_string(), &component.settings);
        let trust = trust(Some(settings), config);
        let kept = |digest: &str| {
            let trust = Trust { sha256: Some(digest.to_owned()), ..trust.clone() };
            (Source::File(self.versions.file(&id, digest)), trust)
        };
        let (mut source, trust) = match look {
            Look::Kept(_, digest) => kept(digest),
            _ => (self.source(settings).map_err(Problem::called("not_bundled", Step::Read))?, trust.clone()),
        };
        let verify = |source: &Source, trust: &Trust| self.sandbox.verify(source, &settings.limits, trust);
        let verified = attempt.time(Step::Verify, || {
            let verified = verify(&source, &trust)?;
            // Who forces it means this version, whatever was before; so does a pin that is new, or there at the start.
            let is_asked_for = match look {
                Look::Forced(_) => true,
                Look::Start => trust.sha256.is_some(),
                Look::All { pinned } => pinned.iter().any(|(plugin, _)| *plugin == id),
                _ => false,
            };
            let is_meant = settings.module.is_none() || is_asked_for;
            let rolled_back = if is_meant { None } else { self.versions.rolled_back(&id) };
            let Some(rolled_back) = rolled_back.filter(|one| one.has(verified.digest())) else {
                return Ok(verified);
            };
            let instead = kept(&rolled_back.instead);
            source = instead.0;
            verify(&source, &instead.1)
        });
        let verified = verified.map_err(Problem::at(Step::Verify))?;
        if let Source::File(path) = source {
            attempt.module = Some((verified.component().to_vec(), path));
        }
        attempt.to = Some(verified.digest().to_owned());
        Ok(verified)
    }

    fn prepare(
        &self,
        component: &Component<processor::Settings>,
        config: &Config,
        verified: Verified,
        attempt: &mut Attempt,
    ) -> Result<Prepared, Problem> {
        let (id, settings) = (component.id.to_string(), &component.settings);
        let module = attempt.time(Step::Compile, || self.sandbox.compile(verified, &settings.limits));
        let module = module.map_err(Problem::at(Step::Compile))?;
        let store_folder =
            store_folder(settings, config.state_dir()).map_err(Problem::called("config", Step::Configure))?;
        quarantine_is_there(settings, config.state_dir()).map_err(Problem::called("config", Step::Configure))?;
        let tables = attempt.time(Step::Read, || self.tables.open(&id, &settings.tables));
        let tables = tables.map_err(Problem::called("table", Step::Read))?;
        let config = columns::missing(settings, &tables);
        if !config.is_empty() {
            let reason = "the configuration names columns that its tables do not have".to_owned();
            return Err(Problem { step: Step::Configure, reason, word: "config", config });
        }
        let prepared = attempt.time(Step::Configure, || {
            let given = sandbox_settings(&id, settings, tables, store_folder);
            self.sandbox.prepare_with_files(&module, given, &|file| {
                self.tables.open_file(&id, &file.named.name, &settings.own_table(file))
            })
        });
        let prepared = prepared.map_err(|error| {
            let word = error.as_str();
            let (reason, problems) = match error {
                PrepareError::Configure(problems) => ("the plugin refuses its configuration", problems),
                PrepareError::Files(problems) => ("files that the configuration names do not serve", problems),
                other => return Problem::at(Step::Configure)(other),
            };
            let config = problems.into_iter().map(|problem| (problem.path, with_nearest(problem.message))).collect();
            Problem { step: Step::Configure, reason: reason.to_owned(), word, config }
        })?;
        if prepared.description().redactor && settings.on_failure == OnFailure::Open && !settings.unsafe_fail_open {
            let reason = "a redactor with `on_failure: open` would let spans out unredacted; set `unsafe_fail_open: true` if that is meant";
            return Err(Problem::called("config", Step::Configure)(reason));
        }
        Ok(prepared)
    }

    fn source(&self, settings: &processor::Settings) -> Result<Source, String> {
        if let Some(module) = &settings.module {
            return Ok(Source::File(module.clone()));
        }
        self.bundle.get(settings.kind.as_str()).cloned().ok_or_else(|| {
            format!(
                "this binary was built without the bundled plugin `{}`: build it with `cargo xtask build`",
                settings.kind
            )
        })
    }
}
