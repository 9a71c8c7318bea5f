//! Preparing: a module describes itself, takes its configuration, and its access is settled.

mod config_error;
mod description;
mod files;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use crate::abi::{BindingsPre, Host};
use sluice_state::{LiveTable, NamedFile, NotItsFile, NotSaved, OwnFile, Store};

use crate::access::{Access, BadGrant, Grants, beyond, named_tables};
use crate::capability::{Capability, Provided};
use crate::effects::{LogLevel, LogLine};
use crate::engine::{Sandbox, Shared};
use crate::failure::{CallError, FailureKind};
use crate::instance::Instance;
use crate::limits::Limits;
use crate::load::Module;
use crate::log_budget::LogBudget;

pub use config_error::ConfigError;
use description::check_access;
pub use description::{BadDescription, Description};

/// How a plugin is to be prepared.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The component id of the processor, for the log.
    pub plugin: String,
    /// Its configuration, as JSON.
    pub config_json: String,
    /// Its limits.
    pub limits: Limits,
    /// What the operator allows; all that the plugin asks for if absent.
    pub access: Option<Access>,
    /// The capabilities that the operator allows; all if absent.
    pub capabilities: Option<Vec<String>>,
    /// The seed of the random numbers of every instance, for tests; each has its own without it.
    pub seed: Option<u64>,
    /// The look-up tables that it may have, by name.
    pub tables: Vec<(String, Arc<LiveTable>)>,
    /// Where its store is kept; it is in memory only without it.
    pub store_folder: Option<PathBuf>,
}

/// Grants that a plugin must not have are told up to so many.
const MOST_TOLD: usize = 10;

/// What a plugin needs with its configuration.
pub(crate) struct Configured {
    pub(crate) access: Access,
    /// The files that it names.
    pub(crate) files: Vec<NamedFile>,
}

/// Why a plugin cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The plugin refuses its configuration.
    #[error("the plugin refuses its configuration: {}", .0.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect::<Vec<_>>().join("; "))]
    Configure(Vec<ConfigError>),
    /// A grant that is none, in the plugin's lists.
    #[error("the plugin's access: {0}")]
    Grant(#[from] BadGrant),
    /// A grant that is none, in the operator's list.
    #[error("access: {0}")]
    Allowed(BadGrant),
    /// The plugin's configuration needs more than its description admits.
    #[error("the plugin asks for access that it does not describe: {}", .0.join(", "))]
    Beyond(Vec<String>),
    /// What it says of itself cannot be taken.
    #[error(transparent)]
    Description(#[from] BadDescription),
    /// It uses a capability that is not allowed, or that does not exist.
    #[error("the plugin uses the capability `{0}`, which {1}")]
    Capability(String, &'static str),
    /// It asks for a look-up table that it is not given.
    #[error("the plugin needs the look-up table `{0}`: name its file under `tables`")]
    Table(String),
    /// It names files as it must not.
    #[error(transparent)]
    NotItsFile(#[from] NotItsFile),
    /// Files that it names cannot be had: where its configuration names them, and why.
    #[error("files of the plugin: {}", .0.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect::<Vec<_>>().join("; "))]
    Files(Vec<ConfigError>),
    /// It failed while it was set up.
    #[error("the plugin failed while it was set up: {0}")]
    Call(#[from] CallError),
}

impl PrepareError {
    /// The word in metrics: what it wants and may not have, or how it failed.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Configure(_) => "config",
            Self::Grant(_) | Self::Allowed(_) | Self::Beyond(_) => "access",
            Self::Description(_) => "description",
            Self::Capability(..) => "capability",
            Self::Table(_) | Self::NotItsFile(_) | Self::Files(_) => "table",
            Self::Call(error) => error.kind.as_str(),
        }
    }
}

/// Why an instance cannot be made of what was prepared.
#[derive(Debug, thiserror::Error)]
pub enum InstantiateError {
    /// It failed while it was set up.
    #[error("the plugin failed while it was set up: {0}")]
    Call(#[from] CallError),
    /// It did not take its configuration as it did when it was prepared, by an instance that had described itself
    /// before: it refuses it, or names other files. Cores must not differ in what they know.
    #[error("the plugin refuses the configuration that it took before, or names other files in it")]
    Fickle,
}

impl InstantiateError {
    /// The word in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Call(error) => error.kind.as_str(),
            Self::Fickle => FailureKind::Configure.as_str(),
        }
    }
}

/// A plugin that has taken its configuration. Cheap to clone.
#[derive(Clone)]
pub struct Prepared {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pre: BindingsPre<Host>,
    pub(crate) config_json: String,
    pub(crate) limits: Limits,
    pub(crate) grants: Arc<Grants>,
    pub(crate) provided: Arc<Provided>,
    pub(crate) log_budget: Arc<LogBudget>,
    module: Module,
    description: Description,
    access: Access,
    pub(crate) files: Vec<OwnFile>,
    plugin: String,
    /// Where its store is to be kept once it serves.
    store_folder: Option<PathBuf>,
}

impl Sandbox {
    /// What a module says of itself.
    ///
    /// # Errors
    /// When it fails, or says what cannot be taken.
    pub fn describe(&self, module: &Module, limits: &Limits) -> Result<Description, PrepareError> {
        let description = Instance::bare(&self.shared, &module.pre, limits, &Arc::default())?.describe()?;
        description.check()?;
        Ok(description)
    }

    /// [`Sandbox::prepare_with_files`] where no file is opened: those that the plugin names must be tables of
    /// the settings.
    ///
    /// # Errors
    /// As there.
    pub fn prepare(&self, module: &Module, settings: Settings) -> Result<Prepared, PrepareError> {
        self.prepare_with_files(module, settings, &|_| Err("files are not opened here".to_owned()))
    }

    /// Lets a module describe itself and take its configuration, and settles its access. `open` opens the
    /// files that it names, but for those whose tables are in the settings.
    ///
    /// # Errors
    /// When the plugin refuses the configuration, fails, or wants what it may not have or what is not there.
    pub fn prepare_with_files(
        &self,
        module: &Module,
        settings: Settings,
        open: &dyn Fn(&OwnFile) -> Result<Arc<LiveTable>, String>,
    ) -> Result<Prepared, PrepareError> {
        let Settings { plugin, config_json, limits, access: allowed, capabilities, seed, mut tables, store_folder } =
            settings;
        let mut first = Instance::bare(&self.shared, &module.pre, &limits, &Arc::default())?;
        let description = first.describe()?;
        description.check()?;
        let mut provided = Provided::new(seed);
        check_capabilities(&description, &module.imports().capabilities, capabilities.as_deref(), &mut provided)?;
        let configured = first.configure(&config_json);
        first.take_logs().into_iter().for_each(|line| say(&plugin, &line));
        let Configured { mut access, files } = configured?.map_err(PrepareError::Configure)?;
        check_access(&access)?;
        let mut beyond = beyond(&description.access, &access)?;
        if !beyond.is_empty() {
            beyond.truncate(MOST_TOLD);
            return Err(PrepareError::Beyond(beyond));
        }
        let files = OwnFile::check(files, &config_json)?;
        files::give(&files, &provided, &mut access, &mut tables, open)?;
        let missing = |name: &&str| !tables.iter().any(|(known, _)| known == name);
        if let Some(name) = named_tables(&access).find(missing) {
            return Err(PrepareError::Table(name.to_owned()));
        }
        provided.tables = tables;
        let mut grants = Grants::default();
        grants.narrow(&access)?;
        if let Some(allowed) = &allowed {
            grants.narrow(allowed).map_err(PrepareError::Allowed)?;
        }
        if provided.grants(Capability::Store) {
            let stores = &self.shared.stores;
            let folder = store_folder.as_deref();
            let (store, unread) = stores.open(&plugin, description.schema, limits.store_bytes, folder);
            if let Some(reason) = unread {
                tracing::error!(event = "plugin.store", plugin, %reason, "the store that was kept is not there; it begins empty");
            }
            provided.store = Some(store);
        }
        let inner = Inner {
            shared: Arc::clone(&self.shared),
            pre: module.pre.clone(),
            config_json,
            log_budget: Arc::new(LogBudget::new(Some(&plugin), &limits)),
            limits,
            grants: Arc::new(grants),
            provided: Arc::new(provided),
            module: module.clone(),
            description,
            access,
            files,
            plugin,
            store_folder,
        };
        Ok(Prepared { inner: Arc::new(inner) })
    }
}

impl Sandbox {
    /// Writes the stores that are kept and have changed since the last time. Blocking.
    pub fn save_stores(&self) {
        for NotSaved { plugin, file, error } in self.shared.stores.save() {
            tracing::error!(event = "plugin.store", plugin, file = %file.display(), %error, "the store cannot be written");
        }
    }
}

/// Log lines of the set-up belong to no request, so they are not staged.
fn say(plugin: &str, line: &LogLine) {
    let message = &line.message;
    match line.level {
        LogLevel::Error => tracing::error!(event = "plugin.log", plugin, "{message}"),
        LogLevel::Warn => tracing::warn!(event = "plugin.log", plugin, "{message}"),
        LogLevel::Info => tracing::info!(event = "plugin.log", plugin, "{message}"),
        LogLevel::Debug => tracing::debug!(event = "plugin.log", plugin, "{message}"),
    }
}

/// Grants what the plugin declares, if all of it is there to be had.
fn check_capabilities(
    description: &Description,
    imported: &[String],
    allowed: Option<&[String]>,
    provided: &mut Provided,
) -> Result<(), PrepareError> {
    for capability in imported {
        if !description.capabilities.contains(capability) {
            return Err(PrepareError::Capability(capability.clone(), "it imports but does not declare"));
        }
    }
    for capability in &description.capabilities {
        let Some(known) = Capability::named(capability) else {
            return Err(PrepareError::Capability(capability.clone(), "this version of Sluice does not have"));
        };
        if allowed.is_some_and(|allowed| !allowed.contains(capability)) {
            return Err(PrepareError::Capability(capability.clone(), "`capabilities` does not allow"));
        }
        provided.grant(known);
    }
    Ok(())
}

impl Prepared {
    /// What the plugin says of itself.
    pub fn description(&self) -> &Description {
        &self.inner.description
    }

    /// SHA-256 of the component, in hex.
    pub fn digest(&self) -> &str {
        self.inner.module.digest()
    }

    /// The module that it was made of.
    pub fn module(&self) -> &Module {
        &self.inner.module
    }

    /// What it has: what it described, this configuration asked for, and the operator allows.
    pub fn granted(&self) -> Access {
        self.inner.grants.granted()
    }

    /// What it may use.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// What this configuration asked for, the tables of its own files included.
    pub fn access(&self) -> &Access {
        &self.inner.access
    }

    /// The files that it has named as tables of its own.
    pub fn files(&self) -> &[OwnFile] {
        &self.inner.files
    }

    /// Says that this one serves from now on: its limit holds for the store that it shares with those
    /// before it, which is kept where this one wants it. One that is prepared and never serves changes nothing for them.
    pub fn serves(&self) {
        let Inner { shared, provided, limits, plugin, description, store_folder, .. } = &*self.inner;
        if let Some(store) = &provided.store {
            store.set_limit(limits.store_bytes);
            shared.stores.keep(plugin, description.schema, store_folder.as_deref());
        }
    }

    /// The same plugin on a view of its store: what its instances write stays among them, and takes nothing of
    /// what it may log.
    #[must_use]
    pub fn on_a_view(&self) -> Self {
        let Inner {
            shared,
            pre,
            config_json,
            limits,
            grants,
            provided,
            module,
            description,
            access,
            files,
            plugin,
            store_folder,
            log_budget: _,
        } = &*self.inner;
        let mut provided = Provided::clone(provided);
        provided.store = provided.store.as_ref().map(|store| Arc::new(Store::over(store)));
        let inner = Inner {
            shared: Arc::clone(shared),
            pre: pre.clone(),
            config_json: config_json.clone(),
            limits: limits.clone(),
            grants: Arc::clone(grants),
            provided: Arc::new(provided),
            log_budget: Arc::new(LogBudget::new(Some(plugin), limits)),
            module: module.clone(),
            description: description.clone(),
            access: access.clone(),
            files: files.clone(),
            plugin: plugin.clone(),
            store_folder: store_folder.clone(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// How many keys it has in a view of its own; see [`Prepared::on_a_view`].
    pub fn keys_in_view(&self) -> usize {
        self.inner.provided.store.as_ref().map_or(0, |store| store.copied())
    }

    /// Makes an instance, configured.
    ///
    /// # Errors
    /// When the plugin fails or has changed its mind.
    pub fn instantiate(&self) -> Result<Instance, InstantiateError> {
        Instance::serving(&self.inner)
    }
}

impl From<InstantiateError> for CallError {
    fn from(error: InstantiateError) -> Self {
        match error {
            InstantiateError::Call(call) => Self { kind: FailureKind::Configure, ..call },
            InstantiateError::Fickle => {
                Self { kind: FailureKind::Configure, message: error.to_string(), backtrace: None }
            }
        }
    }
}
