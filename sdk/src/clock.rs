//! The time of day. A plugin that uses it declares the capability `clock`.
//!
//! It stands still within one call of the plugin. Off wasm it is what the test says
//! ([`Stage::at`](crate::testing::Stage::at)).

use crate::batch::Refusal;

/// Nanoseconds since 1970-01-01 UTC.
///
/// # Errors
/// When the plugin has not declared the capability, and in `configure`.
pub fn now_unix_nano() -> Result<u64, Refusal> {
    imp::now_unix_nano()
}

#[cfg(target_family = "wasm")]
mod imp {
    use crate::batch::Refusal;
    use crate::bindings::sluice::plugin::clock;

    pub fn now_unix_nano() -> Result<u64, Refusal> {
        clock::now_unix_nano().map_err(Into::into)
    }
}

#[cfg(not(target_family = "wasm"))]
mod imp {
    use crate::batch::Refusal;
    use crate::testing::environment;

    pub fn now_unix_nano() -> Result<u64, Refusal> {
        environment::with("clock", |environment| Ok(environment.now_unix_nano))
    }
}
