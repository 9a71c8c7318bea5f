//! A generation: one configuration with everything that serves it.
//!
//! The next one is prepared aside, with the present one serving: modules are read, verified,
//! compiled and configured, an instance for every core is made, exporters are started. What did not
//! change is taken over. Only when all of it has succeeded do the cores get the new routes. A
//! failure anywhere drops what was prepared and leaves the present generation as it is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use sluice_sandbox::{Instance, LoadError, Prepared, Sandbox, Settings, Source, Trust};
use sluice_state::LiveTable;

use crate::chain::{PluginMetrics, PluginStats, SlotPlan};
use crate::config::processor::{self, OnFailure};
use crate::config::{Component, Config};
use crate::swap::event::{Step, Steps};
use crate::tables::Shelf;

/// First-party plugins by their config type.
pub type Bundle = HashMap<&'static str, Source>;

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
    /// How many instances of each plugin are needed.
    pub cores: usize,
}

/// A processor that serves, or is about to.
#[derive(Clone)]
pub struct Served {
    /// Its settings.
    pub settings: processor::Settings,
    /// The plugin, ready to be instantiated.
    pub prepared: Prepared,
    /// Its figures.
    pub stats: Arc<PluginStats>,
}

/// A processor that was made anew.
pub struct Fresh {
    /// The component id.
    pub id: String,
    /// The digest that served before, if any did.
    pub from: Option<String>,
    /// How long each step took.
    pub steps: Steps,
    /// One instance a core.
    pub instances: Vec<Instance>,
}

/// The step that failed, why, and the problems of the plugin's configuration.
type Problem = (Step, String, Vec<(String, String)>);

/// All processors of a generation.
#[derive(Default)]
pub struct Processors {
    /// By id.
    pub served: HashMap<String, Served>,
    /// Those that the present generation does not have.
    pub fresh: Vec<Fresh>,
}

/// Why a processor cannot serve.
#[derive(Debug, thiserror::Error)]
#[error("processor {id}: {reason}")]
pub struct Unfit {
    /// The component id.
    pub id: String,
    /// The step that failed.
    pub step: Step,
    /// What is wrong and what to do.
    pub reason: String,
    /// Problems of the plugin's own configuration: path in it, and message.
    pub config: Vec<(String, String)>,
    /// The digest that serves now, if any.
    pub from: Option<String>,
}

impl Workshop {
    /// Makes what the processors of `config` need that `present` does not have. Blocking, and
    /// slow when something has to be compiled: never called on a core.
    ///
    /// # Errors
    /// For every processor that cannot serve.
    pub fn processors(&self, config: &Config, present: &HashMap<String, Served>) -> Result<Processors, Vec<Unfit>> {
        let mut all = Processors::default();
        let mut unfit = Vec::new();
        for component in config.used_processors() {
            let id = component.id.to_string();
            let now = present.get(&id);
            match self.processor(component, now, config) {
                Ok((served, fresh)) => {
                    all.served.insert(id, served);
                    all.fresh.extend(fresh);
                }
                Err((step, reason, config)) => {
                    let from = now.map(|now| now.prepared.digest().to_owned());
                    unfit.push(Unfit { id, step, reason, config, from });
                }
            }
        }
        if unfit.is_empty() { Ok(all) } else { Err(unfit) }
    }

    fn processor(
        &self,
        component: &Component<processor::Settings>,
        present: Option<&Served>,
        config: &Config,
    ) -> Result<(Served, Option<Fresh>), Problem> {
        let id = component.id.to_string();
        let settings = &component.settings;
        let fail = |step: Step| move |reason: String| (step, reason, Vec::new());
        let mut steps = Steps::default();
        let source = self.source(settings).map_err(fail(Step::Read))?;
        let failed = |step: Step| move |error: LoadError| fail(step)(error.to_string());
        let started = Instant::now();
        let verified =
            self.sandbox.verify(&source, &settings.limits, &trust(settings, config)).map_err(failed(Step::Verify))?;
        steps.took(Step::Verify, started);
        if let Some(now) = present.filter(|now| now.settings == *settings && now.prepared.digest() == verified.digest())
        {
            return Ok((now.clone(), None));
        }
        let started = Instant::now();
        let module = self.sandbox.compile(verified, &settings.limits).map_err(failed(Step::Compile))?;
        steps.took(Step::Compile, started);
        let store_folder = store_folder(settings, config.state_dir()).map_err(fail(Step::Configure))?;
        let tables = self.tables.open(&id, &settings.tables).map_err(fail(Step::Read))?;
        let started = Instant::now();
        let prepared =
            self.sandbox.prepare(&module, sandbox_settings(&id, settings, tables, store_folder)).map_err(|error| {
                match error {
                    sluice_sandbox::PrepareError::Configure(problems) => {
                        let problems = problems.into_iter().map(|problem| (problem.path, problem.message)).collect();
                        (Step::Configure, "the plugin refuses its configuration".to_owned(), problems)
                    }
                    other => fail(Step::Configure)(other.to_string()),
                }
            })?;
        if prepared.description().redactor && settings.on_failure == OnFailure::Open && !settings.unsafe_fail_open {
            let reason = "a redactor with `on_failure: open` would let spans out unredacted; set `unsafe_fail_open: true` if that is meant";
            return Err(fail(Step::Configure)(reason.to_owned()));
        }
        steps.took(Step::Configure, started);
        let started = Instant::now();
        let instances = (0..self.cores).map(|_| prepared.instantiate()).collect::<Result<Vec<_>, _>>();
        let instances = instances.map_err(|error| fail(Step::Instantiate)(error.to_string()))?;
        steps.took(Step::Instantiate, started);
        let stats = Arc::new(self.metrics.plugin(&id, &prepared.description().version, prepared.digest()));
        let from = present.map(|now| now.prepared.digest().to_owned());
        let fresh = Fresh { id, from, steps, instances };
        Ok((Served { settings: settings.clone(), prepared, stats }, Some(fresh)))
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

/// What the plugin's module must prove.
fn trust(settings: &processor::Settings, config: &Config) -> Trust {
    let process = config.sluice();
    Trust {
        sha256: settings.sha256.clone(),
        public_key: settings.public_key.clone(),
        keys: process.map(|process| process.keys.clone()).unwrap_or_default(),
        require_signed: process.is_some_and(|process| process.require_signed),
    }
}

/// Where the plugin's store is kept, if it is.
fn store_folder(settings: &processor::Settings, state_dir: Option<&Path>) -> Result<Option<PathBuf>, String> {
    if !settings.persistent_store {
        return Ok(None);
    }
    let missing = || "`store: { persistent: true }` needs `state_dir` of the extension `sluice`".to_owned();
    Ok(Some(state_dir.ok_or_else(missing)?.join("stores")))
}

fn sandbox_settings(
    id: &str,
    settings: &processor::Settings,
    tables: Vec<(String, Arc<LiveTable>)>,
    store_folder: Option<PathBuf>,
) -> Settings {
    Settings {
        plugin: id.to_owned(),
        config_json: settings.config_json.clone(),
        limits: settings.limits.clone(),
        access: settings.access.clone(),
        capabilities: settings.capabilities.clone(),
        seed: None,
        tables,
        store_folder,
    }
}

impl Served {
    /// What the cores share of it.
    pub fn slot(&self, id: &str) -> SlotPlan {
        SlotPlan { id: id.to_owned(), on_failure: self.settings.on_failure, stats: Arc::clone(&self.stats) }
    }
}
