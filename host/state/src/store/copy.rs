//! A view of a store: what is written to it is kept here, and the store never knows.
//!
//! A key is copied from the store when it is first written, and from then on it is the view's own. What
//! others write to the store is seen in the view under all other keys.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::shard::Shard;
use super::{Ordering, Store};

impl Store {
    /// A view of `base`, with the same time and limit. The limit is for what the view holds itself.
    pub fn over(base: &Arc<Self>) -> Self {
        let limit = base.limit.load(Ordering::Relaxed);
        Self { base: Some(Arc::clone(base)), ..Self::new(limit) }
    }

    /// How many keys of a view are its own.
    pub fn copied(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).copied()).sum()
    }

    /// The shard of a key that is about to be written; in a view, with the key's own copy.
    pub(super) fn shard_to_write(&self, key: &[u8], now: u64) -> MutexGuard<'_, Shard> {
        let mut shard = self.shard(key);
        if let Some(base) = &self.base
            && !shard.is_copied(key)
        {
            // The store's lock is taken under the view's, never the other way round.
            let bytes = shard.copy(key, &mut base.shard(key), now);
            self.reclaim(bytes);
        }
        shard
    }
}
