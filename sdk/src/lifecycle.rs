//! What a plugin is: who it says it is, how it is configured, what it does.

use serde::de::DeserializeOwned;

use crate::batch::Batch;

/// A plugin that sees every batch.
pub trait Plugin: Sized + 'static {
    /// Its configuration, from the processor's own keys. `#[serde(deny_unknown_fields)]` makes a
    /// misspelt key an error that names its line.
    type Config: DeserializeOwned;

    /// Who the plugin is, and the most that any configuration of it needs.
    fn describe() -> Description;

    /// Makes the plugin, or says everything that is wrong with the configuration.
    ///
    /// # Errors
    /// One error for each problem.
    fn configure(config: Self::Config) -> Result<Configured<Self>, Vec<ConfigError>>;

    /// Works on one batch.
    ///
    /// # Errors
    /// When the batch could not be worked on: its edits vanish, and the failure policy of the
    /// processor applies.
    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure>;

    /// Called on one instance in each flush interval, with the time.
    ///
    /// # Errors
    /// As for `process`.
    fn flush(&mut self, now_unix_nano: u64) -> Result<(), Failure> {
        let _ = now_unix_nano;
        Ok(())
    }

    /// What the instances of the next version should know: called on every healthy instance right before
    /// another version takes over. Nothing hands over nothing. What is learned between this and the swap
    /// is not handed over; what must not be lost is kept in [`store`](crate::store).
    ///
    /// # Errors
    /// When there is something to hand over that cannot be. The swap goes on without it.
    fn snapshot(&mut self) -> Result<Vec<u8>, Failure> {
        Ok(Vec::new())
    }

    /// The snapshots of all instances of the version before, if it has described the same
    /// [`schema`](Description::schema). Every new instance gets all of them: what is added up of them is there
    /// once an instance.
    ///
    /// # Errors
    /// When they cannot be read: this version does not serve, then, or starts empty if it comes back by a
    /// rollback.
    fn restore(&mut self, snapshots: Vec<Vec<u8>>) -> Result<(), Failure> {
        let _ = snapshots;
        Ok(())
    }
}

/// Grants to read and to write: `spans.attributes:http.*`, `spans.name`, `spans.drop`, `*`. The
/// whole grammar is in the contract, `lifecycle.access`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// What is pulled.
    pub read: Vec<String>,
    /// What is edited.
    pub write: Vec<String>,
}

impl Access {
    /// Adds a grant to read.
    #[must_use]
    pub fn read(mut self, grant: impl Into<String>) -> Self {
        self.read.push(grant.into());
        self
    }

    /// Adds a grant to write.
    #[must_use]
    pub fn write(mut self, grant: impl Into<String>) -> Self {
        self.write.push(grant.into());
        self
    }
}

/// Who a plugin is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) capabilities: Vec<String>,
    pub(crate) access: Access,
    pub(crate) redactor: bool,
    pub(crate) schema: u32,
}

impl Description {
    /// A plugin without access or capabilities.
    pub fn new(name: &str, version: &str) -> Self {
        let (name, version) = (name.to_owned(), version.to_owned());
        Self { name, version, capabilities: Vec::new(), access: Access::default(), redactor: false, schema: 0 }
    }

    /// Adds a grant to read.
    #[must_use]
    pub fn read(mut self, grant: &str) -> Self {
        self.access = self.access.read(grant);
        self
    }

    /// Adds a grant to write.
    #[must_use]
    pub fn write(mut self, grant: &str) -> Self {
        self.access = self.access.write(grant);
        self
    }

    /// Adds a capability: `log`, `metrics`, `clock`, `random`, `store` or `tables`.
    #[must_use]
    pub fn capability(mut self, name: &str) -> Self {
        self.capabilities.push(name.to_owned());
        self
    }

    /// Says that spans must not pass by this plugin when it fails.
    #[must_use]
    pub fn redactor(mut self) -> Self {
        self.redactor = true;
        self
    }

    /// The layout of snapshots and of what is in the store; a version that cannot read older ones takes another number.
    #[must_use]
    pub fn schema(mut self, schema: u32) -> Self {
        self.schema = schema;
        self
    }
}

/// A file that the host opens as a look-up table of the plugin (see [`tables`](crate::tables)), and opens again
/// when it changes. The plugin needs no access to the table besides, but the capability `tables`.
///
/// The path must be a text somewhere in the plugin's configuration, just as it stands there: only what the
/// operator has written is opened. A relative one is meant beside the file of the configuration. A table of
/// the same name in the operator's `tables` is used instead of the file.
///
/// ```
/// use sluice_sdk::prelude::*;
///
/// #[derive(Deserialize)]
/// struct Config {
///     stations: String,
/// }
/// # struct Stations;
/// # impl Plugin for Stations {
/// #     type Config = Config;
/// #     fn describe() -> Description { Description::new("stations", "0.1.0").capability("tables") }
///
/// fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
///     Ok(Configured::new(Self).file(TableFile::csv("stations", config.stations, "id")))
/// }
/// #     fn process(&mut self, _: &Batch) -> Result<(), Failure> { Ok(()) }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFile {
    pub(crate) name: String,
    pub(crate) path: String,
    /// As the contract numbers it.
    pub(crate) format: u32,
    pub(crate) key: String,
}

impl TableFile {
    /// Comma-separated values, whose first line names the columns; `key` is the one by which rows are found.
    pub fn csv(name: impl Into<String>, path: impl Into<String>, key: impl Into<String>) -> Self {
        Self { name: name.into(), path: path.into(), format: 1, key: key.into() }
    }

    /// A JSON object a line; `key` is the member by which rows are found.
    pub fn json_lines(name: impl Into<String>, path: impl Into<String>, key: impl Into<String>) -> Self {
        Self { name: name.into(), path: path.into(), format: 2, key: key.into() }
    }

    /// A `MaxMind` database. Its keys are IP addresses.
    pub fn mmdb(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self { name: name.into(), path: path.into(), format: 3, key: String::new() }
    }
}

/// A plugin that has taken its configuration, and what it needs with it.
#[derive(Debug)]
pub struct Configured<P> {
    pub(crate) plugin: P,
    pub(crate) access: Option<Access>,
    pub(crate) files: Vec<TableFile>,
}

impl<P> Configured<P> {
    /// With all the access that was described.
    pub fn new(plugin: P) -> Self {
        Self { plugin, access: None, files: Vec::new() }
    }

    /// With just this access. It must lie within what was described.
    pub fn with_access(plugin: P, access: Access) -> Self {
        Self { plugin, access: Some(access), files: Vec::new() }
    }

    /// Adds a file that the configuration names; at most 16. What cannot be opened keeps the plugin from being
    /// loaded, with a message at the place of its path.
    #[must_use]
    pub fn file(mut self, file: TableFile) -> Self {
        self.files.push(file);
        self
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where, like `actions[2].key`.
    pub path: String,
    /// What, and what to do.
    pub message: String,
}

impl ConfigError {
    /// A problem at a place.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// The plugin could not do its work on a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// 0.
    pub code: u32,
    /// For the operator.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: 0, message: message.into() }
    }
}
