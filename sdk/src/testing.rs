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
//! Access is not checked here: that is the host's, and needs the component.

use sluice_spans as host;

use crate::backend::Backend;
use crate::batch::Batch;
use crate::lifecycle::{Access, ConfigError, Failure, Plugin};

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
    /// The bytes are no OTLP request.
    Malformed(String),
    /// The plugin failed.
    Failed(Failure),
}

/// Configures a plugin with JSON and passes one OTLP request through it.
///
/// # Errors
/// When the configuration or the bytes are refused, or the plugin fails.
pub fn run<P: Plugin>(config_json: &str, otlp: &[u8]) -> Result<Outcome, Problem> {
    let configured = crate::export::configure::<P>(config_json).map_err(Problem::Config)?;
    let access = configured.access.unwrap_or_else(|| P::describe().access);
    let mut plugin = configured.plugin;
    let wire = bytes::Bytes::copy_from_slice(otlp);
    let batch = host::Batch::parse(wire).map_err(|error| Problem::Malformed(error.to_string()))?;
    let backend = Backend::new(batch);
    let view = Batch::new(&backend);
    plugin.process(&view).map_err(Problem::Failed)?;
    view.push_pending().map_err(|refusal| Problem::Failed(refusal.into()))?;
    let (mut batch, committed) = backend.finish();
    let (dropped, edited) = (committed.dropped_spans, committed.edited_spans);
    Ok(Outcome { wire: batch.encode().to_vec(), dropped, edited, access })
}
