//! What the plugin keeps: a key-value store that all its instances share. A plugin that uses it
//! declares the capability `store`.
//!
//! [`set`], [`add`] and [`remove`] are done once the request has passed its whole chain, and never
//! if it does not: a request that is refused and sent again counts once. Within the request they are
//! seen at once. [`compare_and_set`] and [`take`] are done at once and taken back when the call or
//! the request fails.
//!
//! All functions take many keys, because a call into the host costs as much as some keys. Where there
//! is one value or amount for each key, one alone is for all. What is refused has not been done for
//! any key. When the store is full (`limits.store_mib`), what needs room is refused with code 5:
//! give keys a time to live.
//!
//! ```
//! # use sluice_sdk::{Refusal, Texts, store};
//! # use std::time::Duration;
//! /// How often each was seen in this minute, this time included.
//! fn seen(keys: &Texts) -> Result<Vec<i64>, Refusal> {
//!     store::add(keys, &[1], Some(Duration::from_secs(60)))
//! }
//!
//! /// One of a kind in ten minutes, on whatever core it comes.
//! fn is_first(key: &str) -> Result<bool, Refusal> {
//!     let once = store::Bucket { rate_per_s: 1.0 / 600.0, burst: 1 };
//!     Ok(store::take(&Texts::one(key), &[1], once)?.contains(&true))
//! }
//! ```

use std::time::Duration;

use crate::batch::Refusal;
use crate::columns::{Texts, Values};

/// What all buckets of a call are like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Tokens that are added in a second.
    pub rate_per_s: f64,
    /// Tokens that it holds at most, and at first.
    pub burst: u64,
}

/// The value of each key; of kind `ABSENT` where there is none.
///
/// # Errors
/// When the host refuses: not declared, too many keys, a key of more than 1,024 bytes.
pub fn get(keys: &Texts) -> Result<Values, Refusal> {
    imp::get(keys)
}

/// Sets the value of each key, for some time or for ever; one of kind `ABSENT` removes what is there.
///
/// # Errors
/// As for [`get`], and when the store is full.
pub fn set(keys: &Texts, values: &Values, ttl: Option<Duration>) -> Result<(), Refusal> {
    imp::set(keys, values, millis(ttl))
}

/// Removes the value of each key.
///
/// # Errors
/// As for [`get`].
pub fn remove(keys: &Texts) -> Result<(), Refusal> {
    imp::remove(keys)
}

/// Adds to the int of each key; gives the sums as this request sees them. A key without an int becomes
/// the amount, with this time to live; one that has an int keeps its own.
///
/// # Errors
/// As for [`set`].
pub fn add(keys: &Texts, amounts: &[i64], ttl: Option<Duration>) -> Result<Vec<i64>, Refusal> {
    let amounts: Vec<u64> = amounts.iter().map(|amount| *amount as u64).collect();
    Ok(imp::add(keys, &amounts, millis(ttl))?.into_iter().map(|sum| sum as i64).collect())
}

/// Sets the value of each key if the present one is what is expected, `ABSENT` being none; tells for
/// each whether it was.
///
/// # Errors
/// As for [`set`], and when the request has written one of the keys already.
pub fn compare_and_set(
    keys: &Texts,
    expected: &Values,
    new: &Values,
    ttl: Option<Duration>,
) -> Result<Vec<bool>, Refusal> {
    Ok(imp::compare_and_set(keys, expected, new, millis(ttl))?.into_iter().map(|done| done != 0).collect())
}

/// Takes tokens from each bucket, which is full when it is first named; tells for each whether it had
/// as many as that. Buckets and keys do not get in each other's way.
///
/// # Errors
/// As for [`set`].
pub fn take(buckets: &Texts, amounts: &[u64], bucket: Bucket) -> Result<Vec<bool>, Refusal> {
    Ok(imp::take(buckets, amounts, bucket)?.into_iter().map(|taken| taken != 0).collect())
}

/// As the contract has it: 0 is for ever, and no time is that short.
fn millis(ttl: Option<Duration>) -> u64 {
    ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1))
}

#[cfg(target_family = "wasm")]
mod imp {
    use super::{Bucket, Refusal, Texts, Values};
    use crate::bindings::sluice::plugin::store;

    pub fn get(keys: &Texts) -> Result<Values, Refusal> {
        store::get(&keys.clone().into()).map(Into::into).map_err(Into::into)
    }

    pub fn set(keys: &Texts, values: &Values, ttl_ms: u64) -> Result<(), Refusal> {
        store::set(&keys.clone().into(), &values.clone().into(), ttl_ms).map_err(Into::into)
    }

    pub fn remove(keys: &Texts) -> Result<(), Refusal> {
        store::remove(&keys.clone().into()).map_err(Into::into)
    }

    pub fn add(keys: &Texts, amounts: &[u64], ttl_ms: u64) -> Result<Vec<u64>, Refusal> {
        store::add(&keys.clone().into(), amounts, ttl_ms).map_err(Into::into)
    }

    pub fn compare_and_set(keys: &Texts, expected: &Values, new: &Values, ttl_ms: u64) -> Result<Vec<u8>, Refusal> {
        let (expected, new) = (expected.clone().into(), new.clone().into());
        store::compare_and_set(&keys.clone().into(), &expected, &new, ttl_ms).map_err(Into::into)
    }

    pub fn take(buckets: &Texts, amounts: &[u64], bucket: Bucket) -> Result<Vec<u8>, Refusal> {
        store::take(&buckets.clone().into(), amounts, bucket.rate_per_s, bucket.burst).map_err(Into::into)
    }
}

#[cfg(not(target_family = "wasm"))]
mod imp {
    use sluice_state::Staged;

    use super::{Bucket, Refusal, Texts, Values};
    use crate::testing::environment;

    fn with<T>(work: impl FnOnce(&mut Staged) -> Result<T, sluice_spans::Refusal>) -> Result<T, Refusal> {
        environment::with("store", |environment| work(&mut environment.staged).map_err(Into::into))
    }

    pub fn get(keys: &Texts) -> Result<Values, Refusal> {
        with(|store| store.get(&keys.clone().into(), usize::MAX)).map(Into::into)
    }

    pub fn set(keys: &Texts, values: &Values, ttl_ms: u64) -> Result<(), Refusal> {
        with(|store| store.set(&keys.clone().into(), &values.clone().into(), ttl_ms))
    }

    pub fn remove(keys: &Texts) -> Result<(), Refusal> {
        with(|store| store.remove(&keys.clone().into()))
    }

    pub fn add(keys: &Texts, amounts: &[u64], ttl_ms: u64) -> Result<Vec<u64>, Refusal> {
        with(|store| store.add(&keys.clone().into(), amounts, ttl_ms))
    }

    pub fn compare_and_set(keys: &Texts, expected: &Values, new: &Values, ttl_ms: u64) -> Result<Vec<u8>, Refusal> {
        let (expected, new) = (expected.clone().into(), new.clone().into());
        with(|store| store.compare_and_set(&keys.clone().into(), &expected, &new, ttl_ms))
    }

    pub fn take(buckets: &Texts, amounts: &[u64], bucket: Bucket) -> Result<Vec<u8>, Refusal> {
        with(|store| store.take(&buckets.clone().into(), amounts, bucket.rate_per_s, bucket.burst))
    }
}
