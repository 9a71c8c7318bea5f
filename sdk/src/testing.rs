//! Unit tests of plugins, without wasm: the plugin's own code on the host's own batch.
//!
//! ```
//! # use sluice_sdk::prelude::*;
//! # #[derive(Deserialize)] struct Config {}
//! # struct Nothing;
//! # impl Plugin for Nothing {
//! #     type Config = Config;
//! #     fn describe() -> Description { Description::new("nothing", "0.1.0") }
//! #     fn configure(_: Config) -> Result<Configured<Self>, Vec<ConfigError>> { Ok(Configured::new(Self)) }
//! #     fn process(&mut self, _: &Batch) -> Result<(), Failure> { Ok(()) }
//! # }
//! let outcome = sluice_sdk::testing::run::<Nothing>("{}", b"").expect("it is configured and processes");
//! assert_eq!(outcome.wire, b"");
//! ```
//!
//! As in the host, the plugin may touch only what it asked for with its configuration: a pull or an
//! edit of anything else is refused. Limits are not enforced, and log lines go nowhere.

pub(crate) mod environment;
mod grants;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sluice_spans as host;
use sluice_state::{Format, NamedFile, OwnFile, Random, Staged, Store, Table};

use crate::backend::Backend;
use crate::batch::Batch;
use crate::lifecycle::{Access, ConfigError, Failure, Plugin, TableFile};

use environment::Environment;
pub(crate) use grants::Grants;

/// What a plugin did to a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What is left, as an OTLP request.
    pub wire: Vec<u8>,
    /// Spans dropped.
    pub dropped: u32,
    /// Spans changed.
    pub edited: u32,
    /// What the plugin asked for with this configuration.
    pub access: Access,
}

/// Why there is no outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The plugin refuses its configuration.
    Config(Vec<ConfigError>),
    /// The configuration asks for more access than the plugin describes, or the plugin names a file as it must
    /// not: one that does not stand in its configuration, or without the capability `tables`.
    Access(String),
    /// The bytes are no OTLP request.
    Malformed(String),
    /// The plugin failed.
    Failed(Failure),
}

/// A value that a plugin has recorded in one of its metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The metric's name.
    pub metric: String,
    /// The labels and their values.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

/// The store's limit unless a test sets another: the host's default.
const STORE_BYTES: usize = 16 << 20;

/// What the clock shows in a test that does not set it: the start of 2026.
const TEST_TIME: u64 = 1_767_225_600_000_000_000;

/// A configured plugin that takes one batch after the other: what the sandbox is measured against.
#[doc(hidden)]
pub struct Running<P> {
    plugin: P,
    grants: Grants,
    files: Vec<TableFile>,
}

impl<P: Plugin> Running<P> {
    /// Configures the plugin; gives also what it asked for with this configuration.
    ///
    /// # Errors
    /// When the configuration is refused.
    pub fn new(config_json: &str) -> Result<(Self, Access), Problem> {
        let configured = crate::export::configure::<P>(config_json).map_err(Problem::Config)?;
        let described = P::describe().access;
        let mut access = configured.access.unwrap_or_else(|| described.clone());
        let mut grants = Grants::new(&described, &access).map_err(|refusal| Problem::Access(refusal.message))?;
        check_files::<P>(&configured.files, config_json)?;
        for file in &configured.files {
            let grant = format!("tables:{}", file.name);
            grants.add(&grant);
            access.read.push(grant);
        }
        Ok((Self { plugin: configured.plugin, grants, files: configured.files }, access))
    }

    /// Passes one batch through and commits the edits.
    ///
    /// # Errors
    /// When the plugin fails.
    pub fn process(&mut self, batch: host::Batch) -> Result<(host::Batch, host::Committed), Failure> {
        let backend = Backend::new(batch, self.grants.clone());
        let view = Batch::new(&backend);
        self.plugin.process(&view)?;
        view.push_pending()?;
        Ok(backend.finish())
    }
}

/// As the host checks the files that a plugin names.
fn check_files<P: Plugin>(files: &[TableFile], config_json: &str) -> Result<(), Problem> {
    if !files.is_empty() && !P::describe().capabilities.iter().any(|capability| capability == "tables") {
        let message = "the plugin names files but does not declare the capability `tables`";
        return Err(Problem::Access(message.to_owned()));
    }
    let named = |file: &TableFile| {
        let TableFile { name, path, format, key } = file.clone();
        NamedFile { name, path, format, key }
    };
    let checked = OwnFile::check(files.iter().map(named).collect(), config_json);
    checked.map(drop).map_err(|error| Problem::Access(error.to_string()))
}

/// Configures a plugin with JSON and passes one OTLP request through it.
///
/// # Errors
/// When the configuration or the bytes are refused, or the plugin fails.
pub fn run<P: Plugin>(config_json: &str, otlp: &[u8]) -> Result<Outcome, Problem> {
    Stage::<P>::new(config_json)?.process(otlp)
}

/// A configured plugin, and what the host would provide for it. For tests of more than one request,
/// and of what depends on time, chance or state.
///
/// ```
/// # use sluice_sdk::prelude::*;
/// # #[derive(Deserialize)] struct Config {}
/// # struct Nothing;
/// # impl Plugin for Nothing {
/// #     type Config = Config;
/// #     fn describe() -> Description { Description::new("nothing", "0.1.0") }
/// #     fn configure(_: Config) -> Result<Configured<Self>, Vec<ConfigError>> { Ok(Configured::new(Self)) }
/// #     fn process(&mut self, _: &Batch) -> Result<(), Failure> { Ok(()) }
/// # }
/// use sluice_sdk::testing::Stage;
///
/// let mut stage = Stage::<Nothing>::new("{}").expect("it is configured").at(1_800_000_000_000_000_000).seed(7);
/// stage.process(b"").expect("it is processed");
/// stage.advance(std::time::Duration::from_secs(60));
/// stage.process(b"").expect("a minute later");
/// ```
pub struct Stage<P> {
    running: Running<P>,
    access: Access,
    /// Not here only while the plugin is called.
    environment: Option<Environment>,
}

impl<P: Plugin> Stage<P> {
    /// Configures a plugin with JSON.
    ///
    /// # Errors
    /// When the configuration is refused.
    pub fn new(config_json: &str) -> Result<Self, Problem> {
        let (running, access) = Running::new(config_json)?;
        let environment = Environment {
            capabilities: P::describe().capabilities,
            now_unix_nano: TEST_TIME,
            random: Random::seeded(0),
            store: Arc::new(Store::timed_by_hand(STORE_BYTES)),
            staged: Staged::default(),
            tables: HashMap::new(),
            grants: running.grants.clone(),
            metrics: Vec::new(),
            staged_records: Vec::new(),
            recorded: Vec::new(),
        };
        Ok(Self { running, access, environment: Some(environment) })
    }

    /// Sets the clock.
    #[must_use]
    pub fn at(mut self, unix_nano: u64) -> Self {
        self.change(|environment| environment.now_unix_nano = unix_nano);
        self
    }

    /// Seeds the random numbers.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.change(|environment| environment.random = Random::seeded(seed));
        self
    }

    /// Lets time pass.
    pub fn advance(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.change(|environment| environment.now_unix_nano = environment.now_unix_nano.saturating_add(nanos));
    }

    /// Gives the store another limit than the host's default of 16 MiB.
    #[must_use]
    pub fn store_bytes(mut self, limit: usize) -> Self {
        self.change(|environment| environment.store.set_limit(limit));
        self
    }

    /// The files that the plugin has named with its configuration. None is opened here: give their tables by
    /// [`Stage::table`] or [`Stage::database`], under the same names.
    pub fn files(&self) -> &[TableFile] {
        &self.running.files
    }

    /// Gives the plugin a look-up table: CSV, whose rows are known by the column `key`. Another one of
    /// the same name takes its place.
    ///
    /// # Errors
    /// What is wrong with the CSV.
    pub fn table(self, name: &str, csv: &str, key: &str) -> Result<Self, String> {
        let table = Table::read(Format::Csv, csv.as_bytes(), key, usize::MAX).map_err(|error| error.to_string())?;
        Ok(self.given(name, table))
    }

    /// Gives the plugin a `MaxMind` database as a look-up table. Another one of the same name takes its place.
    ///
    /// # Errors
    /// What is wrong with the database.
    pub fn database(self, name: &str, bytes: &[u8]) -> Result<Self, String> {
        let table = Table::read(Format::MaxMind, bytes, "", usize::MAX).map_err(|error| error.to_string())?;
        Ok(self.given(name, table))
    }

    /// Gives the plugin a look-up table of the host's.
    #[doc(hidden)]
    #[must_use]
    pub fn given(mut self, name: &str, table: Table) -> Self {
        self.change(|environment| {
            environment.tables.insert(name.to_owned(), table);
        });
        self
    }

    /// Passes an OTLP request through the plugin, and through all that comes after it: what was
    /// written to the store is there for the next one.
    ///
    /// # Errors
    /// When the bytes are refused, or the plugin fails.
    pub fn process(&mut self, otlp: &[u8]) -> Result<Outcome, Problem> {
        let outcome = self.pass(otlp);
        self.end_request(outcome.is_ok());
        outcome
    }

    /// Passes an OTLP request through the plugin, and has it refused after that, as when a queue is
    /// full: the sender will come again with it, and nothing must count twice.
    ///
    /// # Errors
    /// As for [`Stage::process`].
    pub fn process_refused(&mut self, otlp: &[u8]) -> Result<Outcome, Problem> {
        let outcome = self.pass(otlp);
        self.end_request(false);
        outcome
    }

    fn pass(&mut self, otlp: &[u8]) -> Result<Outcome, Problem> {
        let wire = bytes::Bytes::copy_from_slice(otlp);
        let batch = host::Batch::parse(wire).map_err(|error| Problem::Malformed(error.to_string()))?;
        let (mut batch, committed) = self.call(|running| running.process(batch))?;
        let (dropped, edited) = (committed.dropped_spans, committed.edited_spans);
        Ok(Outcome { wire: batch.encode().to_vec(), dropped, edited, access: self.access.clone() })
    }

    /// Tells the plugin that its flush interval has passed, at the time that the clock shows.
    ///
    /// # Errors
    /// When the plugin fails.
    pub fn flush(&mut self) -> Result<(), Problem> {
        let now = self.environment.as_ref().map_or(TEST_TIME, |environment| environment.now_unix_nano);
        let flushed = self.call(|running| running.plugin.flush(now));
        self.end_request(flushed.is_ok());
        flushed
    }

    /// Passes a batch through the plugin and commits the edits: what a plugin with capabilities is measured by.
    ///
    /// # Errors
    /// When the plugin fails.
    #[doc(hidden)]
    pub fn process_batch(&mut self, batch: host::Batch) -> Result<host::Batch, Problem> {
        self.call(|running| running.process(batch)).map(|(batch, _)| batch)
    }

    /// All that the requests that have passed have recorded in metrics, in order.
    pub fn recorded(&self) -> &[Recorded] {
        self.environment.as_ref().map_or(&[], |environment| &environment.recorded)
    }

    fn end_request(&mut self, passed: bool) {
        self.change(|environment| {
            let staged = std::mem::take(&mut environment.staged);
            let records = std::mem::take(&mut environment.staged_records);
            if passed {
                staged.commit();
                environment.recorded.extend(records);
            }
        });
    }

    fn change(&mut self, change: impl FnOnce(&mut Environment)) {
        if let Some(environment) = &mut self.environment {
            change(environment);
        }
    }

    fn call<T>(&mut self, work: impl FnOnce(&mut Running<P>) -> Result<T, Failure>) -> Result<T, Problem> {
        let Some(mut environment) = self.environment.take() else {
            return Err(Problem::Failed(Failure::new("the plugin has panicked in an earlier call")));
        };
        environment.store.set_time(environment.now_unix_nano);
        environment.staged.on(&environment.store);
        let running = &mut self.running;
        let (environment, result) = environment::during(environment, || work(running));
        self.environment = environment;
        result.map_err(Problem::Failed)
    }
}
