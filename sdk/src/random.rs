//! Random numbers. A plugin that uses them declares the capability `random`.
//!
//! Good for sampling, jitter and ids, not for keys and other secrets. Off wasm the sequence is the
//! same in every run, and another for another seed ([`Stage::seed`](crate::testing::Stage::seed)).

use crate::batch::Refusal;

/// 64 random bits. Each costs a call into the host: for many take [`numbers`].
///
/// # Errors
/// When the plugin has not declared the capability, and in `configure`.
pub fn number() -> Result<u64, Refusal> {
    Ok(imp::numbers(1)?.first().copied().unwrap_or_default())
}

/// So many numbers of 64 random bits; at most 65,536 at once.
///
/// # Errors
/// As for [`number`], and when they are too many.
pub fn numbers(count: u32) -> Result<Vec<u64>, Refusal> {
    imp::numbers(count)
}

#[cfg(target_family = "wasm")]
mod imp {
    use crate::batch::Refusal;
    use crate::bindings::sluice::plugin::random;

    pub fn numbers(count: u32) -> Result<Vec<u64>, Refusal> {
        random::numbers(count).map_err(Into::into)
    }
}

#[cfg(not(target_family = "wasm"))]
mod imp {
    use crate::batch::Refusal;
    use crate::testing::environment;

    pub fn numbers(count: u32) -> Result<Vec<u64>, Refusal> {
        environment::with("random", |environment| Ok((0..count).map(|_| environment.random.number()).collect()))
    }
}
