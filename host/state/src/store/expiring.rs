//! A map whose entries have a time at which they are gone.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::NEVER;

/// Keys and what stands under them, until their time.
#[derive(Debug)]
pub(super) struct Expiring<T> {
    entries: HashMap<Arc<[u8]>, Entry<T>>,
    /// When to look at which entry. An entry whose time was put off since is filed anew then, so
    /// that putting it off costs nothing.
    due: BTreeSet<(u64, Arc<[u8]>)>,
}

#[derive(Debug)]
struct Entry<T> {
    content: T,
    expires: u64,
    /// Its time in `due`, never later than `expires`; [`NEVER`] if it is not in there.
    filed: u64,
}

impl<T> Default for Expiring<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), due: BTreeSet::new() }
    }
}

impl<T> Expiring<T> {
    /// What stands under a key.
    pub(super) fn get(&self, key: &[u8], now: u64) -> Option<&T> {
        self.entries.get(key).filter(|entry| entry.expires > now).map(|entry| &entry.content)
    }

    /// The same, to be changed; also if its time is over but nobody has cleared it away.
    pub(super) fn get_mut(&mut self, key: &[u8]) -> Option<&mut T> {
        self.entries.get_mut(key).map(|entry| &mut entry.content)
    }

    /// Puts something under a key; gives what stood there.
    pub(super) fn put(&mut self, key: &[u8], content: T, expires: u64) -> Option<T> {
        if let Some(entry) = self.entries.get_mut(key) {
            let before = std::mem::replace(&mut entry.content, content);
            self.expire_at(key, expires);
            return Some(before);
        }
        let key: Arc<[u8]> = key.into();
        if expires != NEVER {
            self.due.insert((expires, Arc::clone(&key)));
        }
        self.entries.insert(key, Entry { content, expires, filed: expires });
        None
    }

    /// All that is there, with its time.
    pub(super) fn each(&self, now: u64, mut see: impl FnMut(&[u8], &T, u64)) {
        for (key, entry) in self.entries.iter().filter(|(_, entry)| entry.expires > now) {
            see(key, &entry.content, entry.expires);
        }
    }

    /// Changes the time of a key.
    pub(super) fn expire_at(&mut self, key: &[u8], expires: u64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.expires = expires;
        if expires >= entry.filed {
            return;
        }
        let before = std::mem::replace(&mut entry.filed, expires);
        let mut place = match self.entries.get_key_value(key) {
            Some((key, _)) => (before, Arc::clone(key)),
            None => return,
        };
        self.due.remove(&place);
        place.0 = expires;
        self.due.insert(place);
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<T> {
        let (key, entry) = self.entries.remove_entry(key)?;
        if entry.filed != NEVER {
            self.due.remove(&(entry.filed, key));
        }
        Some(entry.content)
    }

    /// Clears away up to `most` entries whose time is over; tells of each.
    pub(super) fn expire(&mut self, now: u64, most: usize, mut gone: impl FnMut(&[u8], T)) {
        for _ in 0..most {
            if self.due.first().is_none_or(|(filed, _)| *filed > now) {
                return;
            }
            let Some((_, key)) = self.due.pop_first() else { return };
            match self.entries.get_mut(&key) {
                Some(entry) if entry.expires > now => {
                    entry.filed = entry.expires;
                    if entry.expires != NEVER {
                        self.due.insert((entry.expires, key));
                    }
                }
                Some(_) => {
                    if let Some(entry) = self.entries.remove(&key) {
                        gone(&key, entry.content);
                    }
                }
                None => {}
            }
        }
    }
}
