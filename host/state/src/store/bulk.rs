//! The functions of the contract: many keys in, columns out.
//!
//! What is refused has not been done, not even for the keys before the one that was wrong.

use sluice_spans::{Refusal, Values};

use super::Full;
use super::staged::{Staged, Write};
use super::value::{Value, check};
use crate::Keys;

/// Size of a key.
const KEY_BYTES: usize = 1 << 10;

/// What the store answers when it is full.
impl From<Full> for Refusal {
    fn from(_: Full) -> Self {
        Self::limit("the plugin's store is full (limits.store_mib)")
    }
}

impl Staged {
    /// The values of keys. Their texts may be so many bytes in all.
    pub fn get<'k>(&self, keys: impl Into<Keys<'k>>, most_bytes: usize) -> Result<Values, Refusal> {
        let keys = checked(keys)?;
        let (now, mut values) = (self.now(), Values::default());
        for key in keys.each() {
            self.value(key?, now, |value| {
                let bytes = value.map_or(0, |value| value.bytes().len());
                if values.texts.bytes.len().saturating_add(bytes) > most_bytes {
                    return Err(Refusal::limit("more bytes of values at once than the limit"));
                }
                Value::push_to(value, &mut values);
                Ok(())
            })?;
        }
        Ok(values)
    }

    /// Stages values; an absent one removes what its key has.
    pub fn set<'k>(&mut self, keys: impl Into<Keys<'k>>, values: &Values, ttl_ms: u64) -> Result<(), Refusal> {
        let keys = checked(keys)?;
        check(values, keys.len())?;
        let now = self.now();
        self.all_or_none(|staged| {
            for (i, key) in keys.each().enumerate() {
                let write = match Value::of(values, index(i, values)) {
                    Some(value) => Write::Set { value, ttl: ttl_ms },
                    None => Write::Remove,
                };
                staged.write(key?, write, now)?;
            }
            Ok(())
        })
    }

    /// Stages removals.
    pub fn remove<'k>(&mut self, keys: impl Into<Keys<'k>>) -> Result<(), Refusal> {
        self.set(keys, &Values { types: vec![0], ..Values::default() }, 0)
    }

    /// Stages additions; gives each sum as the request sees it then.
    pub fn add<'k>(&mut self, keys: impl Into<Keys<'k>>, amounts: &[u64], ttl_ms: u64) -> Result<Vec<u64>, Refusal> {
        let keys = checked(keys)?;
        one_each(keys.len(), amounts)?;
        let now = self.now();
        self.all_or_none(|staged| {
            let mut sums = Vec::with_capacity(keys.len());
            for (key, amount) in keys.each().zip(each(amounts)) {
                let key = key?;
                staged.write(key, Write::Add { amount: amount as i64, ttl: ttl_ms }, now)?;
                sums.push(staged.value(key, now, |value| value.and_then(Value::as_int)).unwrap_or(0) as u64);
            }
            Ok(sums)
        })
    }

    /// Sets the value of each key at once, if it is what is expected; tells 1 or 0 for each.
    pub fn compare_and_set<'k>(
        &mut self,
        keys: impl Into<Keys<'k>>,
        expected: &Values,
        new: &Values,
        ttl_ms: u64,
    ) -> Result<Vec<u8>, Refusal> {
        let keys = checked(keys)?;
        check(expected, keys.len())?;
        check(new, keys.len())?;
        if keys.texts().iter().any(|key| self.has_staged(key)) {
            return Err(Refusal::not_possible("a key has a write of this request that is not done yet"));
        }
        let now = self.now();
        self.all_or_none(|staged| {
            let mut done = Vec::with_capacity(keys.len());
            for (i, key) in keys.each().enumerate() {
                let key = key?;
                let (expected, new) = (Value::of(expected, index(i, expected)), Value::of(new, index(i, new)));
                let swap = staged.at_once(|store| store.compare_and_set(key, expected.as_ref(), new, ttl_ms, now))?;
                done.push(u8::from(swap));
            }
            Ok(done)
        })
    }

    /// Takes an amount from each bucket at once, if it has it; tells 1 or 0 for each. A bucket holds
    /// `burst` tokens and gets `rate` a second.
    pub fn take<'k>(
        &mut self,
        buckets: impl Into<Keys<'k>>,
        amounts: &[u64],
        rate: f64,
        burst: u64,
    ) -> Result<Vec<u8>, Refusal> {
        let buckets = checked(buckets)?;
        one_each(buckets.len(), amounts)?;
        if !rate.is_finite() || rate < 0.0 {
            return Err(Refusal::malformed("a bucket's rate is a finite number from 0"));
        }
        let now = self.now();
        self.all_or_none(|staged| {
            let mut taken = Vec::with_capacity(buckets.len());
            for (key, amount) in buckets.each().zip(each(amounts)) {
                let key = key?;
                let take = staged.at_once(|store| store.take(key, amount, rate, burst, now))?;
                taken.push(u8::from(take));
            }
            Ok(taken)
        })
    }

    /// Does what `work` does, or nothing.
    fn all_or_none<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let (journal, undo) = self.mark();
        let result = work(self);
        if result.is_err() {
            self.rewind(journal, undo);
        }
        result
    }
}

fn checked<'k>(keys: impl Into<Keys<'k>>) -> Result<Keys<'k>, Refusal> {
    let keys = keys.into().checked()?;
    if keys.texts().iter().any(|key| key.len() > KEY_BYTES) {
        return Err(Refusal::limit("a key is longer than the limit"));
    }
    Ok(keys)
}

fn one_each(keys: usize, amounts: &[u64]) -> Result<(), Refusal> {
    let fits = amounts.len() == keys || amounts.len() == 1;
    if fits { Ok(()) } else { Err(Refusal::malformed("one amount for each key, or one for all")) }
}

/// The amounts, or the one amount for ever.
fn each(amounts: &[u64]) -> impl Iterator<Item = u64> + '_ {
    let all = if amounts.len() == 1 { amounts.first().copied() } else { None };
    let count = if all.is_some() { usize::MAX } else { amounts.len() };
    (0..count).map(move |i| all.or_else(|| amounts.get(i).copied()).unwrap_or(0))
}

/// Where in a column the value of key `i` stands: one for each, or one for all.
fn index(i: usize, values: &Values) -> usize {
    if values.types.len() == 1 { 0 } else { i }
}
