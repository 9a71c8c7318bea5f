//! A part of a store: what one lock guards. Values and buckets have keys of their own.

use std::collections::HashSet;

use super::NEVER;
use super::expiring::Expiring;
use super::value::{Value, cost};

/// Part of a store.
#[derive(Debug, Default)]
pub(super) struct Shard {
    values: Expiring<Stored>,
    buckets: Expiring<Bucket>,
    /// Counts the writes of values.
    version: u64,
    /// In a view: the keys that are its own.
    copied: HashSet<Box<[u8]>>,
}

/// A value, the number of the write that it is from, and when it expires.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(super) value: Value,
    version: u64,
    expires: u64,
}

/// Tokens as they were at a time.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: u64,
}

/// What stands under a key, as it goes into a file.
#[derive(Debug)]
pub(super) enum Entry {
    Value {
        value: Value,
        expires: u64,
    },
    /// A bucket, and when it is full.
    Bucket {
        tokens: f64,
        at: u64,
        full: u64,
    },
}

impl Entry {
    pub(super) fn is_over(&self, now: u64) -> bool {
        let (Self::Value { expires: over, .. } | Self::Bucket { full: over, .. }) = self;
        *over <= now
    }
}

/// What a bucket costs.
pub(super) fn bucket_cost(key: &[u8]) -> usize {
    cost(key.len(), 0)
}

impl Shard {
    pub(super) fn get(&self, key: &[u8], now: u64) -> Option<&Value> {
        self.stored(key, now).map(|stored| &stored.value)
    }

    pub(super) fn stored(&self, key: &[u8], now: u64) -> Option<&Stored> {
        self.values.get(key, now)
    }

    /// The number of the write that a key's value is from.
    pub(super) fn last_written(&self, key: &[u8], now: u64) -> Option<u64> {
        self.stored(key, now).map(|stored| stored.version)
    }

    /// Puts a value under a key, or nothing; tells how many bytes more are kept now.
    pub(super) fn put(&mut self, key: &[u8], value: Option<Value>, expires: u64) -> isize {
        self.version += 1;
        let version = self.version;
        self.restore(key, value.map(|value| Stored { value, version, expires }))
    }

    /// Puts back what stood under a key; tells how many bytes more are kept now.
    pub(super) fn restore(&mut self, key: &[u8], stored: Option<Stored>) -> isize {
        let (after, before) = match stored {
            Some(stored) => {
                let (after, expires) = (stored.value.cost(key), stored.expires);
                (after, self.values.put(key, stored, expires))
            }
            None => (0, self.values.remove(key)),
        };
        let before = before.map_or(0, |before| before.value.cost(key));
        (after as isize).saturating_sub_unsigned(before)
    }

    /// Adds to an int; what is none, or is not there, becomes the amount. An int keeps its time.
    pub(super) fn add(&mut self, key: &[u8], amount: i64, expires: u64, now: u64) -> isize {
        let (sum, expires) = self.sum(key, amount, now).unwrap_or((amount, expires));
        self.put(key, Some(Value::int(sum)), expires)
    }

    fn sum(&self, key: &[u8], amount: i64, now: u64) -> Option<(i64, u64)> {
        let stored = self.stored(key, now)?;
        Some((stored.value.as_int()?.wrapping_add(amount), stored.expires))
    }

    pub(super) fn has_bucket(&mut self, key: &[u8]) -> bool {
        self.buckets.get_mut(key).is_some()
    }

    /// Makes a full bucket; tells whether there was none.
    pub(super) fn make_bucket(&mut self, key: &[u8], burst: u64, now: u64) -> bool {
        let missing = !self.has_bucket(key);
        if missing {
            self.buckets.put(key, Bucket { tokens: burst as f64, at: now }, NEVER);
        }
        missing
    }

    /// Takes tokens if there are enough.
    pub(super) fn take(&mut self, key: &[u8], amount: u64, rate: f64, burst: u64, now: u64) -> bool {
        let Some(bucket) = self.buckets.get_mut(key) else { return false };
        let (burst, amount) = (burst as f64, amount as f64);
        let grown = now.saturating_sub(bucket.at) as f64 / 1e9 * rate;
        bucket.tokens = (bucket.tokens + grown).min(burst);
        bucket.at = now;
        let taken = bucket.tokens >= amount;
        if taken {
            bucket.tokens -= amount;
        }
        // A full bucket is what a missing one is: it can go when it is full.
        let missing = burst - bucket.tokens;
        let wait = if missing > 0.0 { missing / rate * 1e9 } else { 0.0 };
        let full = if wait.is_finite() { now.saturating_add(wait.ceil() as u64) } else { NEVER };
        self.buckets.expire_at(key, full);
        taken
    }

    /// Gives tokens back.
    pub(super) fn put_back(&mut self, key: &[u8], amount: u64, burst: u64) {
        // One that is gone was full.
        if let Some(bucket) = self.buckets.get_mut(key) {
            bucket.tokens = (bucket.tokens + amount as f64).min(burst as f64);
        }
    }

    /// Whether a key is the view's own.
    pub(super) fn is_copied(&self, key: &[u8]) -> bool {
        self.copied.contains(key)
    }

    /// How many keys are.
    pub(super) fn copied(&self) -> usize {
        self.copied.len()
    }

    /// Takes over what stands under a key in the store of which this is a view; tells how many bytes that is.
    pub(super) fn copy(&mut self, key: &[u8], base: &mut Self, now: u64) -> usize {
        self.copied.insert(key.into());
        let mut bytes = 0;
        if let Some(stored) = base.stored(key, now) {
            bytes += stored.value.cost(key);
            self.version = self.version.max(stored.version);
            self.values.put(key, stored.clone(), stored.expires);
        }
        if let Some(bucket) = base.buckets.get_mut(key) {
            bytes += bucket_cost(key);
            // One that is full is what a missing one is; whether it is, is seen when something is taken.
            self.buckets.put(key, *bucket, NEVER);
        }
        bytes
    }

    /// All that is there.
    pub(super) fn each(&self, now: u64, mut see: impl FnMut(&[u8], Entry)) {
        let value =
            |key: &[u8], stored: &Stored, expires| see(key, Entry::Value { value: stored.value.clone(), expires });
        self.values.each(now, value);
        let bucket = |key: &[u8], &Bucket { tokens, at }: &Bucket, full| see(key, Entry::Bucket { tokens, at, full });
        self.buckets.each(now, bucket);
    }

    /// Puts back what was in a file.
    pub(super) fn fill(&mut self, key: &[u8], entry: Entry) {
        match entry {
            Entry::Value { value, expires } => {
                self.put(key, Some(value), expires);
            }
            Entry::Bucket { tokens, at, full } => {
                self.buckets.put(key, Bucket { tokens, at }, full);
            }
        }
    }

    /// What keeping an entry costs.
    pub(super) fn cost(key: &[u8], entry: &Entry) -> usize {
        match entry {
            Entry::Value { value, .. } => value.cost(key),
            Entry::Bucket { .. } => bucket_cost(key),
        }
    }

    /// Clears away up to `most` values and as many buckets whose time is over; tells how many bytes
    /// they were.
    pub(super) fn expire(&mut self, now: u64, most: usize) -> usize {
        let mut freed = 0;
        self.values.expire(now, most, |key, stored| freed += stored.value.cost(key));
        self.buckets.expire(now, most, |key, _| freed += bucket_cost(key));
        freed
    }
}
