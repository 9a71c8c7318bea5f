//! What one request has done to a store and not yet committed.

use std::collections::HashMap;
use std::sync::Arc;

use super::value::{INT, Value, cost};
use super::{Full, Store, Undo};

/// A write that waits for its request to pass. Times to live are in milliseconds and begin when it
/// is done; 0 is for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a value.
    Set {
        /// The value.
        value: Value,
        /// Its time to live.
        ttl: u64,
    },
    /// Removes a value.
    Remove,
    /// Adds to an int, which is made if there is none.
    Add {
        /// How much.
        amount: i64,
        /// The time to live of one that is made.
        ttl: u64,
    },
}

/// A staged write and the bytes that were reserved for it.
#[derive(Debug, Clone)]
struct Pending {
    write: Write,
    reserved: usize,
}

impl Pending {
    /// What it needs under a key of this length.
    fn cost(&self, key: usize) -> usize {
        cost(key, if let Write::Set { value, .. } = &self.write { value.bytes().len() } else { 0 })
    }
}

/// The work of one request on a store. Its writes are done by [`Staged::commit`]. Dropped without
/// it, nothing has happened: what took effect at once is taken back.
#[derive(Debug, Default)]
pub struct Staged {
    store: Option<Arc<Store>>,
    writes: HashMap<Box<[u8]>, Pending>,
    /// What the keys that the present call has written had before it.
    journal: Vec<(Box<[u8]>, Option<Pending>)>,
    undo: Vec<Undo>,
    /// How much of `undo` is of earlier calls.
    settled: usize,
    /// How much earlier calls took from buckets, however often, and what these hold at most.
    taken: HashMap<Box<[u8]>, (u64, u64)>,
    /// What `writes` and `taken` need.
    bytes: usize,
    /// The present call was refused something for lack of room.
    full: bool,
    full_calls: u64,
}

impl Staged {
    /// Works on this store from now on, if it works on none yet.
    pub fn on(&mut self, store: &Arc<Store>) {
        self.store.get_or_insert_with(|| Arc::clone(store));
    }

    /// Ends a call of the plugin. What a call that failed has done is taken back; what earlier calls
    /// for the same request have done stays.
    pub fn settle(&mut self, went_well: bool) {
        let was_full = std::mem::take(&mut self.full);
        if went_well {
            self.journal.clear();
            // Most requests are one call.
            if self.settled > 0 || !self.taken.is_empty() {
                for undo in std::mem::take(&mut self.undo) {
                    self.keep(undo);
                }
            }
            self.settled = self.undo.len();
            self.full_calls += u64::from(was_full);
            return;
        }
        self.rewind(0, self.settled);
    }

    /// Keeps what a call that went well has done at once; what calls took from one bucket as one.
    fn keep(&mut self, undo: Undo) {
        let Undo::Take { key, amount, burst } = undo else { return self.undo.push(undo) };
        let bytes = cost(key.len(), 0);
        let (taken, most) = self.taken.entry(key).or_insert_with(|| {
            self.bytes += bytes;
            (0, burst)
        });
        (*taken, *most) = (taken.saturating_add(amount), burst);
    }

    /// What the request needs of memory until it has passed.
    pub fn bytes(&self) -> usize {
        let undo = self.undo.iter().map(|undo| match undo {
            Undo::Take { key, .. } => cost(key.len(), 0),
            Undo::Swap { key, before, .. } => {
                cost(key.len(), before.as_ref().map_or(0, |stored| stored.value.bytes().len()))
            }
        });
        self.bytes + undo.sum::<usize>()
    }

    /// How many writes the present call has staged, and how much it and all before it have done at
    /// once: a place to come back to.
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.journal.len(), self.undo.len())
    }

    /// Takes back what was done since a place in the present call.
    pub(super) fn rewind(&mut self, journal: usize, undo: usize) {
        self.take_back(undo);
        let Some(store) = &self.store else { return };
        while self.journal.len() > journal {
            let Some((key, before)) = self.journal.pop() else { return };
            let kept = before.as_ref().map_or(0, |pending| pending.reserved);
            self.bytes += before.as_ref().map_or(0, |pending| pending.cost(key.len()));
            let length = key.len();
            let gone = match before {
                Some(pending) => self.writes.insert(key, pending),
                None => self.writes.remove(&key),
            };
            self.bytes -= gone.as_ref().map_or(0, |pending| pending.cost(length));
            let gone = gone.map_or(0, |pending| pending.reserved);
            // Bytes that the later write had given up are taken again, whatever the limit says: the
            // earlier write was promised room.
            store.release(gone.saturating_sub(kept));
            store.reclaim(kept.saturating_sub(gone));
        }
    }

    /// Whether the present call was refused something because the store is full.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// How many calls of the request went well although the store was full.
    pub fn full_calls(&self) -> u64 {
        self.full_calls
    }

    /// Does what was staged. What took effect at once stays.
    pub fn commit(mut self) {
        self.undo.clear();
        self.taken.clear();
        let Some(store) = self.store.take() else { return };
        let now = store.now();
        for (key, pending) in self.writes.drain() {
            store.apply(&key, pending.write, now);
            store.release(pending.reserved);
        }
    }

    fn take_back(&mut self, from: usize) {
        let Some(store) = &self.store else { return };
        // The last first: of two changes of one key the second is in the way of the first.
        while self.undo.len() > from {
            if let Some(undo) = self.undo.pop() {
                store.undo(undo);
            }
        }
    }

    /// The value of a key as the request sees it.
    pub(super) fn value<T>(&self, key: &[u8], now: u64, look: impl FnOnce(Option<&Value>) -> T) -> T {
        let Some(store) = &self.store else { return look(None) };
        match self.writes.get(key).map(|pending| &pending.write) {
            None => store.get(key, now, look),
            Some(Write::Set { value, .. }) => look(Some(value)),
            Some(Write::Remove) => look(None),
            Some(Write::Add { amount, .. }) => {
                let before = store.get(key, now, |value| value.and_then(Value::as_int)).unwrap_or(0);
                look(Some(&Value::int(before.wrapping_add(*amount))))
            }
        }
    }

    /// Whether the request has a write of this key that is not done yet.
    pub(super) fn has_staged(&self, key: &[u8]) -> bool {
        self.writes.contains_key(key)
    }

    /// Stages a write.
    pub(super) fn write(&mut self, key: &[u8], write: Write, now: u64) -> Result<(), Full> {
        let Some(store) = &self.store else { return Ok(()) };
        let write = match (self.writes.get(key).map(|pending| &pending.write), write) {
            (Some(Write::Add { amount, ttl }), Write::Add { amount: more, .. }) => {
                Write::Add { amount: amount.wrapping_add(more), ttl: *ttl }
            }
            (Some(Write::Set { value: Value::Number { kind: INT, bits }, ttl }), Write::Add { amount, .. }) => {
                Write::Set { value: Value::int((*bits as i64).wrapping_add(amount)), ttl: *ttl }
            }
            (Some(Write::Remove | Write::Set { .. }), Write::Add { amount, ttl }) => {
                Write::Set { value: Value::int(amount), ttl }
            }
            (_, write) => write,
        };
        let after = match &write {
            Write::Set { value, .. } => value.cost(key),
            Write::Remove => 0,
            Write::Add { amount, .. } => Value::int(*amount).cost(key),
        };
        // What stands there makes room for what comes.
        let stored = store.get(key, now, |value| value.map_or(0, |value| value.cost(key)));
        let reserved = after.saturating_sub(stored);
        let before = self.writes.get(key).map_or(0, |pending| pending.reserved);
        if reserved > before && store.reserve(reserved - before, now).is_err() {
            self.full = true;
            return Err(Full);
        }
        store.release(before.saturating_sub(reserved));
        let pending = Pending { write, reserved };
        self.bytes += pending.cost(key.len());
        let before = self.writes.insert(key.into(), pending);
        self.bytes -= before.as_ref().map_or(0, |pending| pending.cost(key.len()));
        self.journal.push((key.into(), before));
        Ok(())
    }

    /// Does something at once, and remembers how to take it back; tells whether it was done.
    pub(super) fn at_once(&mut self, work: impl FnOnce(&Store) -> Result<Option<Undo>, Full>) -> Result<bool, Full> {
        let Some(store) = &self.store else { return Ok(false) };
        match work(store) {
            Ok(undo) => {
                let done = undo.is_some();
                self.undo.extend(undo);
                Ok(done)
            }
            Err(full) => {
                self.full = true;
                Err(full)
            }
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.store.as_ref().map_or(0, |store| store.now())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.take_back(0);
        for (key, (amount, burst)) in self.taken.drain() {
            if let Some(store) = &self.store {
                store.undo(Undo::Take { key, amount, burst });
            }
        }
        if let Some(store) = &self.store {
            store.release(self.writes.values().map(|pending| pending.reserved).sum());
        }
    }
}
