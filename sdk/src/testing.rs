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
//! edit of anything else is refused. Limits are not enforced, and log lines and metrics go nowhere.

mod grants;

use sluice_spans as host;

use crate::backend::Backend;
use crate::batch::Batch;
use crate::lifecycle::{Access, ConfigError, Failure, Plugin};

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
    /// The configuration asks for more access than the plugin describes.
    Access(String),
    /// The bytes are no OTLP request.
    Malformed(String),
    /// The plugin failed.
    Failed(Failure),
}

/// A configured plugin that takes one batch after the other: what the sandbox is measured against.
#[doc(hidden)]
pub struct Running<P> {
    plugin: P,
    grants: Grants,
}

impl<P: Plugin> Running<P> {
    /// Configures the plugin; gives also what it asked for with this configuration.
    ///
    /// # Errors
    /// When the configuration is refused.
    pub fn new(config_json: &str) -> Result<(Self, Access), Problem> {
        let configured = crate::export::configure::<P>(config_json).map_err(Problem::Config)?;
        let described = P::describe().access;
        let access = configured.access.unwrap_or_else(|| described.clone());
        let grants = Grants::new(&described, &access).map_err(|refusal| Problem::Access(refusal.message))?;
        Ok((Self { plugin: configured.plugin, grants }, access))
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

/// Configures a plugin with JSON and passes one OTLP request through it.
///
/// # Errors
/// When the configuration or the bytes are refused, or the plugin fails.
pub fn run<P: Plugin>(config_json: &str, otlp: &[u8]) -> Result<Outcome, Problem> {
    let (mut running, access) = Running::<P>::new(config_json)?;
    let wire = bytes::Bytes::copy_from_slice(otlp);
    let batch = host::Batch::parse(wire).map_err(|error| Problem::Malformed(error.to_string()))?;
    let (mut batch, committed) = running.process(batch).map_err(Problem::Failed)?;
    let (dropped, edited) = (committed.dropped_spans, committed.edited_spans);
    Ok(Outcome { wire: batch.encode().to_vec(), dropped, edited, access })
}
