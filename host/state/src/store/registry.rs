//! The stores of a process, by plugin.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Store;
use super::kept::NotRead;

/// The stores of a process. A store lives as long as a version of its plugin is kept; so it outlives
/// a swap to a version with the same layout of data, and goes when its plugin goes. One that has a
/// file outlives the process.
#[derive(Debug, Default)]
pub struct Stores {
    by_plugin: Mutex<HashMap<(String, u32), Place>>,
}

#[derive(Debug, Default)]
struct Place {
    store: Weak<Store>,
    kept: Option<Kept>,
}

/// A store with a file. Held until what the last of its users has done is written.
#[derive(Debug)]
struct Kept {
    store: Arc<Store>,
    file: PathBuf,
}

/// A store that could not be written to its file.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {error}", file.display())]
pub struct NotSaved {
    /// The plugin.
    pub plugin: String,
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub error: io::Error,
}

impl Stores {
    /// The store of a plugin and a layout (`schema`) of what it keeps: the one that there is, under
    /// its present limit and kept where it is (see [`Stores::keep`]); or the one in its file, if it is to be kept in this folder; or an
    /// empty one. Tells also why the file was not read although it is there.
    pub fn open(
        &self,
        plugin: &str,
        schema: u32,
        limit_bytes: usize,
        folder: Option<&Path>,
    ) -> (Arc<Store>, Option<NotRead>) {
        let mut stores = self.by_plugin.lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|_, place| place.store.strong_count() > 0);
        let place = stores.entry((plugin.to_owned(), schema)).or_default();
        let file = folder.map(|folder| folder.join(file_name(plugin, schema)));
        if let Some(store) = place.store.upgrade() {
            return (store, None);
        }
        let read = file.as_deref().map_or(Ok(None), |file| Store::read(file, limit_bytes));
        let (store, problem) = match read {
            Ok(store) => (store, None),
            Err(problem) => (None, Some(problem)),
        };
        let store = Arc::new(store.unwrap_or_else(|| Store::new(limit_bytes)));
        place.store = Arc::downgrade(&store);
        place.keep(&store, file);
        (store, problem)
    }

    /// From now on the store of a plugin and a layout is kept in this folder, or in none: the version that says so
    /// serves.
    pub fn keep(&self, plugin: &str, schema: u32, folder: Option<&Path>) {
        let mut stores = self.by_plugin.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = stores.get_mut(&(plugin.to_owned(), schema)) else { return };
        let file = folder.map(|folder| folder.join(file_name(plugin, schema)));
        if place.kept.as_ref().map(|kept| &kept.file) == file.as_ref() {
            return;
        }
        if let Some(store) = place.store.upgrade() {
            store.changed.store(true, Ordering::Relaxed);
            place.keep(&store, file);
        }
    }

    /// Writes the stores that have a file and have changed. Blocking. One that cannot be written is
    /// tried again the next time.
    pub fn save(&self) -> Vec<NotSaved> {
        // Not written under the lock: a disk may take its time.
        let stores = self.by_plugin.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = |((plugin, _), place): (&(String, u32), &Place)| {
            let Kept { store, file } = place.kept.as_ref()?;
            Some((plugin.clone(), Arc::clone(store), file.clone()))
        };
        let kept: Vec<_> = stores.iter().filter_map(kept).collect();
        drop(stores);
        let write = |(plugin, store, file): (String, Arc<Store>, PathBuf)| {
            // Before it is looked at: what changes meanwhile is written the next time.
            if !store.changed.swap(false, Ordering::Relaxed) {
                return None;
            }
            let error = store.write(&file).err()?;
            store.changed.store(true, Ordering::Relaxed);
            Some(NotSaved { plugin, file, error })
        };
        let problems = kept.into_iter().filter_map(write).collect();
        let mut stores = self.by_plugin.lock().unwrap_or_else(PoisonError::into_inner);
        stores.values_mut().for_each(Place::let_go);
        problems
    }
}

impl Place {
    fn keep(&mut self, store: &Arc<Store>, file: Option<PathBuf>) {
        self.kept = file.map(|file| Kept { store: Arc::clone(store), file });
    }

    /// Lets go of a store that nobody else has, if it is in its file as it is.
    fn let_go(&mut self) {
        let alone =
            |kept: &mut Kept| Arc::strong_count(&kept.store) == 1 && !kept.store.changed.load(Ordering::Relaxed);
        self.kept.take_if(alone);
    }
}

/// A file name of its own for each plugin and layout, whatever the plugin is called.
fn file_name(plugin: &str, schema: u32) -> String {
    let mut name = String::new();
    for byte in plugin.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            name.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
    format!("{name}.{schema}.store")
}
