//! Runs Sluice plugins: WebAssembly components under limits, with checked access to a batch.
//!
//! `Sandbox::load` turns a file (or embedded bytes) into a [`Module`], `Sandbox::prepare` describes
//! and configures it into a [`Prepared`], which makes an [`Instance`] for every core. An instance
//! works on one batch at a time. A call that fails leaves the batch as it was, whatever the guest
//! did; the next call finds a fresh instance.

mod abi;
mod access;
mod cache;
mod call;
mod capability;
mod compile;
mod effects;
mod engine;
mod failure;
mod inspect;
mod instance;
mod limits;
mod load;
mod log_budget;
mod prepare;
mod trust;

/// For the fuzz target in `fuzz/`.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    pub use crate::abi::fuzzing::run;
}

pub use access::{Access, BadGrant};
pub use capability::CAPABILITIES;
pub use compile::compile_child_main;
pub use effects::{Effects, Labels, LogLevel, LogLine, Metric, MetricKind, MetricUpdate};
pub use engine::{Compiler, Error, Options, Sandbox, precompile};
pub use failure::{CallError, FailureKind};
pub use inspect::Imports;
pub use instance::{Instance, Processed};
pub use limits::Limits;
pub use load::{LoadError, Module, Source, Verified};
pub use prepare::{BadDescription, ConfigError, Description, InstantiateError, PrepareError, Prepared, Settings};
pub use trust::{BadKey, Profile, Provenance, PublicKey, Trust, Untrusted, read_signature, signature_of};
