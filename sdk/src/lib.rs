//! What the author of a Sluice plugin depends on.
//!
//! A plugin is a type that implements [`Plugin`], and a line that exports it:
//!
//! ```
//! use sluice_sdk::prelude::*;
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     name: String,
//! }
//!
//! struct DropByName(String);
//!
//! impl Plugin for DropByName {
//!     type Config = Config;
//!
//!     fn describe() -> Description {
//!         Description::new("drop-by-name", "0.1.0").read("spans.name").write("spans.drop")
//!     }
//!
//!     fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
//!         Ok(Configured::new(Self(config.name)))
//!     }
//!
//!     fn process(&mut self, batch: &Batch) -> Result<(), Failure> {
//!         for span in batch.spans()? {
//!             if *span.name()? == self.0 {
//!                 span.drop();
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//!
//! sluice_sdk::export!(DropByName);
//! # fn main() {}
//! ```
//!
//! # Two ways to work on a batch
//!
//! [`Batch::spans`] shows one span after the other. Columns are fetched once a batch, when they
//! are first asked for, and edits are pushed in bulk at the end. Use it unless you have measured
//! that you must not.
//!
//! The methods of [`Batch`] that give columns cost one call into the host each, whatever the size
//! of the batch, and nothing per span. Use them when the work is a scan over bytes, or when most
//! spans need no look at all.

// The generated bindings name this crate by its name.
extern crate self as sluice_sdk;

pub mod any_value;
#[doc(hidden)]
pub mod backend;
mod batch;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[rustfmt::skip]
pub mod bindings;
pub mod clock;
mod columns;
mod config;
#[doc(hidden)]
pub mod export;
mod lifecycle;
pub mod log;
pub mod metrics;
pub mod number;
pub mod pattern;
pub mod random;
pub mod store;
mod strings;
pub mod tables;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod view;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub use wit_bindgen::rt as __rt;

pub use batch::{Batch, Refusal, Rows, Table, fields};
pub use columns::{Column, Entries, EntryKeys, Texts, Values, kind};
pub use lifecycle::{Access, ConfigError, Configured, Description, Failure, Plugin, TableFile};
pub use strings::{Section, Strings};
pub use view::{Attribute, Span, Spans, Text};
pub use {serde, serde_json};

/// What most plugins use.
pub mod prelude {
    pub use crate::{
        Access, Batch, ConfigError, Configured, Description, Failure, Plugin, Table, TableFile, Texts, Values,
    };
    pub use serde::Deserialize;
}
