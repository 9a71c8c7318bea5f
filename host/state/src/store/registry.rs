//! The stores of a process, by plugin.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Store;

/// The stores of a process. A store lives as long as a version of its plugin is kept; so it outlives
/// a swap to a version with the same layout of data, and goes when its plugin goes.
#[derive(Debug, Default)]
pub struct Stores {
    by_plugin: Mutex<HashMap<(String, u32), Weak<Store>>>,
}

impl Stores {
    /// The store of a plugin and a layout (`schema`) of what it keeps: the one that there is, with
    /// this limit from now on, or an empty one.
    pub fn open(&self, plugin: &str, schema: u32, limit_bytes: usize) -> Arc<Store> {
        let mut stores = self.by_plugin.lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|_, store| store.strong_count() > 0);
        let place = stores.entry((plugin.to_owned(), schema)).or_default();
        if let Some(store) = place.upgrade() {
            store.set_limit(limit_bytes);
            return store;
        }
        let store = Arc::new(Store::new(limit_bytes));
        *place = Arc::downgrade(&store);
        store
    }
}
