//! The capability `store`.

use sluice_spans::{Refusal, RefusalCode};
use sluice_state::{ENTRY_BYTES, Keys, Staged};

use super::generated::sluice::plugin::columns::{Texts, Values};
use super::generated::sluice::plugin::store;
use super::{Host, WitRefusal, refusal};
use crate::capability::Capability;

type Answer<T> = Result<T, WitRefusal>;

impl store::Host for Host {
    fn get(&mut self, keys: Texts) -> Answer<Values> {
        // The guest could not hold more.
        let most_bytes = self.limits.memory_bytes;
        self.storing(0, keys, |store, keys| store.get(keys, most_bytes)).map(Into::into)
    }

    fn set(&mut self, keys: Texts, values: Values, ttl_ms: u64) -> Answer<()> {
        // One value may be for all keys.
        let value = if values.types.len() == 1 { values.texts.bytes.len() } else { 0 };
        let bytes = kept(&keys, value).saturating_add(values.texts.bytes.len());
        self.storing(bytes, keys, |store, keys| store.set(keys, &values.into(), ttl_ms))
    }

    fn remove(&mut self, keys: Texts) -> Answer<()> {
        self.storing(kept(&keys, 0), keys, |store, keys| store.remove(keys))
    }

    fn add(&mut self, keys: Texts, amounts: Vec<u64>, ttl_ms: u64) -> Answer<Vec<u64>> {
        self.storing(kept(&keys, 0), keys, |store, keys| store.add(keys, &amounts, ttl_ms))
    }

    fn compare_and_set(&mut self, keys: Texts, expected: Values, new: Values, ttl_ms: u64) -> Answer<Vec<u8>> {
        // What is kept is the value that was there, which is the expected one.
        let value = if expected.types.len() == 1 { expected.texts.bytes.len() } else { 0 };
        let bytes = kept(&keys, value).saturating_add(expected.texts.bytes.len());
        self.storing(bytes, keys, |store, keys| store.compare_and_set(keys, &expected.into(), &new.into(), ttl_ms))
    }

    fn take(&mut self, buckets: Texts, amounts: Vec<u64>, rate_per_s: f64, burst: u64) -> Answer<Vec<u8>> {
        self.storing(kept(&buckets, 0), buckets, |store, buckets| store.take(buckets, &amounts, rate_per_s, burst))
    }
}

/// What the request keeps of each of these keys until it has passed, with a value of so many bytes.
fn kept(keys: &Texts, value: usize) -> usize {
    let each = ENTRY_BYTES.saturating_add(value);
    keys.ends.len().saturating_mul(each).saturating_add(keys.bytes.len())
}

impl Host {
    /// Works on keys of the store as long as the call has time, for which the request keeps so many bytes until it has
    /// passed.
    fn storing<T>(
        &mut self,
        bytes: usize,
        keys: Texts,
        work: impl FnOnce(&mut Staged, Keys<'_>) -> Result<T, Refusal>,
    ) -> Answer<T> {
        let result = self.enter_for(Capability::Store).and_then(|()| {
            self.effect_bytes = self.effect_bytes.saturating_add(bytes);
            self.within_output()?;
            let Self { provided, effects, timer, .. } = self;
            let Some(store) = &provided.store else {
                return Err(refusal(RefusalCode::NotPossible, "the plugin has no store"));
            };
            effects.store.on(store);
            work(&mut effects.store, Keys::paced(&keys.into(), &mut || !timer.is_spent()))
        });
        self.answer(result)
    }
}
