//! The contract between host and guest: generated bindings and the host's side of them, one module
//! a version. Nothing else in the host names generated code.

mod v0_1_0;
pub(crate) mod wasi;

#[cfg(feature = "fuzzing")]
pub(crate) use v0_1_0::fuzzing;
pub(crate) use v0_1_0::{Bindings, BindingsPre, Failure, Host, batch_handle, linker};

/// The contract that this host speaks.
pub(crate) const VERSION: &str = "0.1.0";
