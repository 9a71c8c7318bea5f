//! The key-value store that all instances of one plugin share.
//!
//! What enters: keys and values, in bulk. A request works on it through a [`Staged`], which keeps
//! its writes to itself until the request has passed its whole chain, and takes back what took
//! effect at once if it has not. What is over the limit in bytes is refused; nothing is evicted. A
//! key whose time is over is gone for readers at once and for the memory soon: each write clears
//! away some, in the order of their times, so nothing ever scans.
//!
//! Locks are held for the work on one key.

mod bulk;
mod copy;
mod expiring;
mod kept;
mod registry;
mod shard;
mod staged;
mod value;

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shard::{Shard, Stored};

pub use kept::NotRead;
pub use registry::{NotSaved, Stores};
pub use staged::{Staged, Write};
pub use value::{ENTRY_BYTES, Value};

/// Enough that cores seldom meet, few enough that looking at all of them is cheap.
const SHARDS: usize = 16;

/// When a key that does not expire expires.
const NEVER: u64 = u64::MAX;

/// A key-value store.
#[derive(Debug)]
pub struct Store {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// Bytes of what is stored and of what requests have reserved.
    used: AtomicUsize,
    limit: AtomicUsize,
    time: Time,
    /// Something has changed since the store was last written to its file.
    changed: AtomicBool,
    /// What this is a view of: keys that were not written here have there what they have.
    base: Option<Arc<Store>>,
}

/// Where a store's time comes from, in nanoseconds from some beginning.
#[derive(Debug)]
enum Time {
    /// So much had passed at some time, and it goes on.
    Passing(Duration, Instant),
    /// For tests.
    Set(AtomicU64),
}

/// What took effect at once, and how to take it back.
#[derive(Debug)]
pub(crate) enum Undo {
    /// Tokens of a bucket.
    Take { key: Box<[u8]>, amount: u64, burst: u64 },
    /// A value, if nobody has written it since.
    Swap { key: Box<[u8]>, version: Option<u64>, before: Option<Stored> },
}

/// There is no room left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Store {
    /// An empty store of at most so many bytes.
    pub fn new(limit_bytes: usize) -> Self {
        Self::going_on_from(Duration::ZERO, limit_bytes)
    }

    /// An empty store whose clock has gone that far.
    fn going_on_from(passed: Duration, limit_bytes: usize) -> Self {
        Self::with(limit_bytes, Time::Passing(passed, Instant::now()))
    }

    /// A store whose time a test sets.
    pub fn timed_by_hand(limit_bytes: usize) -> Self {
        Self::with(limit_bytes, Time::Set(AtomicU64::new(0)))
    }

    fn with(limit_bytes: usize, time: Time) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        let (used, limit) = (AtomicUsize::new(0), AtomicUsize::new(limit_bytes));
        let changed = AtomicBool::new(false);
        Self { shards, hasher: RandomState::new(), used, limit, time, changed, base: None }
    }

    /// Sets the time of a store that is timed by hand; no other store has a time to set.
    pub fn set_time(&self, nanos: u64) {
        if let Time::Set(time) = &self.time {
            time.store(nanos, Ordering::Relaxed);
        }
    }

    /// Changes the limit. What is stored stays, even if it is more.
    pub fn set_limit(&self, limit_bytes: usize) {
        self.limit.store(limit_bytes, Ordering::Relaxed);
    }

    /// Bytes of keys and values with what keeping them costs, and of what requests have reserved.
    pub fn bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn now(&self) -> u64 {
        if let Some(base) = &self.base {
            return base.now();
        }
        match &self.time {
            Time::Passing(passed, since) => {
                let passed = passed.saturating_add(since.elapsed());
                u64::try_from(passed.as_nanos()).unwrap_or(NEVER - 1)
            }
            Time::Set(time) => time.load(Ordering::Relaxed),
        }
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let number = self.hasher.hash_one(key) as usize % SHARDS;
        // The shards have no panic between two changes that belong together.
        let shard = self.shards.get(number).or(self.shards.first());
        match shard {
            Some(shard) => shard.lock().unwrap_or_else(PoisonError::into_inner),
            None => unreachable!("there are {SHARDS} shards"),
        }
    }

    /// Sets bytes aside for writes to come.
    pub(crate) fn reserve(&self, bytes: usize, now: u64) -> Result<(), Full> {
        if self.try_reserve(bytes) {
            return Ok(());
        }
        for shard in &self.shards {
            let freed = shard.lock().unwrap_or_else(PoisonError::into_inner).expire(now, usize::MAX);
            self.release(freed);
        }
        if self.try_reserve(bytes) { Ok(()) } else { Err(Full) }
    }

    fn try_reserve(&self, bytes: usize) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let more = |used: usize| used.checked_add(bytes).filter(|&sum| bytes == 0 || sum <= limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Takes bytes without asking for room: for what had it before.
    pub(crate) fn reclaim(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Looks at the value of a key.
    pub(crate) fn get<T>(&self, key: &[u8], now: u64, look: impl FnOnce(Option<&Value>) -> T) -> T {
        let shard = self.shard(key);
        match &self.base {
            Some(base) if !shard.is_copied(key) => base.get(key, now, look),
            _ => look(shard.get(key, now)),
        }
    }

    /// Does a write that was staged; room for it has been reserved.
    pub(crate) fn apply(&self, key: &[u8], write: Write, now: u64) {
        let mut shard = self.shard_to_write(key, now);
        let change = match write {
            Write::Set { value, ttl } => shard.put(key, Some(value), expiry(now, ttl)),
            Write::Remove => shard.put(key, None, NEVER),
            Write::Add { amount, ttl } => shard.add(key, amount, expiry(now, ttl), now),
        };
        self.account(shard, change, now);
    }

    /// Sets a value if it is what is expected; `None` is no value. How to take that back, or
    /// nothing if the value is another one.
    pub(crate) fn compare_and_set(
        &self,
        key: &[u8],
        expected: Option<&Value>,
        new: Option<Value>,
        ttl: u64,
        now: u64,
    ) -> Result<Option<Undo>, Full> {
        // Reserved before the lock is taken, because making room takes all locks.
        let reserved = new.as_ref().map_or(0, |value| value.cost(key));
        self.reserve(reserved, now)?;
        let mut shard = self.shard_to_write(key, now);
        let before = shard.stored(key, now).cloned();
        if before.as_ref().map(|stored| &stored.value) != expected {
            drop(shard);
            self.release(reserved);
            return Ok(None);
        }
        let change = shard.put(key, new, expiry(now, ttl));
        let version = shard.last_written(key, now);
        self.account(shard, change, now);
        self.release(reserved);
        Ok(Some(Undo::Swap { key: key.into(), version, before }))
    }

    /// Takes tokens from a bucket if it has them.
    pub(crate) fn take(&self, key: &[u8], amount: u64, rate: f64, burst: u64, now: u64) -> Result<Option<Undo>, Full> {
        let mut shard = self.shard_to_write(key, now);
        if !shard.has_bucket(key) {
            drop(shard);
            self.reserve(shard::bucket_cost(key), now)?;
            shard = self.shard(key);
            if !shard.make_bucket(key, burst, now) {
                // Another core was faster.
                self.release(shard::bucket_cost(key));
            }
        }
        let taken = shard.take(key, amount, rate, burst, now);
        self.account(shard, 0, now);
        Ok(taken.then(|| Undo::Take { key: key.into(), amount, burst }))
    }

    pub(crate) fn undo(&self, undo: Undo) {
        let now = self.now();
        match undo {
            Undo::Take { key, amount, burst } => {
                let mut shard = self.shard(&key);
                shard.put_back(&key, amount, burst);
                self.account(shard, 0, now);
            }
            Undo::Swap { key, version, before } => {
                let mut shard = self.shard(&key);
                if shard.last_written(&key, now) == version {
                    let change = shard.restore(&key, before);
                    self.account(shard, change, now);
                }
            }
        }
    }

    /// Accounts for a change in a shard, and uses its lock to clear some of it away.
    fn account(&self, mut shard: MutexGuard<'_, Shard>, change: isize, now: u64) {
        let freed = shard.expire(now, 4);
        // Under the lock: who writes the store to its file looks at this first, then at the shards.
        self.changed.store(true, Ordering::Relaxed);
        drop(shard);
        let change = change.saturating_sub_unsigned(freed);
        if change >= 0 {
            self.used.fetch_add(change.unsigned_abs(), Ordering::Relaxed);
        } else {
            self.used.fetch_sub(change.unsigned_abs(), Ordering::Relaxed);
        }
    }
}

/// When something expires that lives for so many milliseconds; 0 is for ever.
fn expiry(now: u64, ttl_ms: u64) -> u64 {
    if ttl_ms == 0 { NEVER } else { now.saturating_add(ttl_ms.saturating_mul(1_000_000)) }
}
