//! Looking for a key, and changing what it names. A byte a key tells most others apart: these bytes lie together, so
//! that a key that no row has, as most keys that a plugin asks for, is not looked for in every entry.

use memchr::memchr_iter;

use super::{Attributes, NOTHING};
use crate::entry::{Entry, KEY_CHANGED, REMOVED, VALUE_CHANGED, mark};
use crate::store::{Loc, Store};

impl Attributes {
    /// Whether any row has this key among its own entries.
    pub fn any_has(&self, store: &Store, key: &[u8]) -> bool {
        self.occurrences(store, key).next().is_some() || self.added.iter().any(|added| added.entry.is(store, key))
    }

    /// Every occurrence of a key among the rows' own entries, with its row, in order.
    pub fn occurrences<'a>(&'a self, store: &'a Store, key: &'a [u8]) -> impl Iterator<Item = (u32, &'a Entry)> {
        let mut row = 0;
        memchr_iter(mark(key), &self.marks).filter_map(move |number| {
            let entry = self.entries.get(number).filter(|entry| entry.is(store, key))?;
            while self.starts.get(row + 1).is_some_and(|&end| end as usize <= number) {
                row += 1;
            }
            Some((row as u32, entry))
        })
    }

    /// Whether every row has this key from an edit of all rows.
    pub fn is_common(&self, store: &Store, key: &[u8]) -> bool {
        self.common.iter().any(|entry| entry.is(store, key))
    }

    /// Gives the first occurrence of a key a value and removes the others; says whether there was
    /// one.
    pub fn set(&mut self, store: &Store, row: usize, key: &[u8], kind: u8, value: u64) -> bool {
        if !self.has(store, row, key) {
            return false;
        }
        let mut is_found = false;
        self.visit(store, row, key, |entry| {
            if is_found {
                entry.changed |= REMOVED;
            } else {
                entry.kind = kind;
                entry.value = value;
                entry.changed |= VALUE_CHANGED;
            }
            is_found = true;
        });
        is_found
    }

    /// Removes every occurrence of a key; says whether there was one.
    pub fn remove(&mut self, store: &Store, row: usize, key: &[u8]) -> bool {
        self.visit(store, row, key, |entry| entry.changed |= REMOVED)
    }

    /// Gives the first occurrence of a key another key, and removes its other occurrences and
    /// what had the other key; says whether there was one.
    pub fn rename(&mut self, store: &Store, row: usize, key: &[u8], to: (&[u8], Loc)) -> bool {
        if !self.visit(store, row, key, |_| {}) || key == to.0 {
            return false;
        }
        self.visit(store, row, to.0, |entry| entry.changed |= REMOVED);
        let mut is_found = false;
        self.visit(store, row, key, |entry| {
            if is_found {
                entry.changed |= REMOVED;
            } else {
                (entry.key, entry.mark) = (to.1, mark(to.0));
                entry.changed |= KEY_CHANGED;
            }
            is_found = true;
        });
        true
    }

    /// Whether a row has a key.
    #[inline]
    fn has(&self, store: &Store, row: usize, key: &[u8]) -> bool {
        let mut next = self.ends.get(row).map_or(NOTHING, |ends| ends.0);
        while let Some(added) = self.added.get(next as usize) {
            if added.entry.is(store, key) {
                return true;
            }
            next = added.next;
        }
        let (marks, mark) = (self.marks.get(self.range(row)).unwrap_or_default(), mark(key));
        marks.iter().zip(self.row(row)).any(|(known, entry)| *known == mark && entry.is(store, key))
    }

    /// Shows every occurrence of a key in a row to `edit`; says whether there was one.
    fn visit(&mut self, store: &Store, row: usize, key: &[u8], mut edit: impl FnMut(&mut Entry)) -> bool {
        let mut is_found = false;
        let (range, mark) = (self.range(row), mark(key));
        let mut removed = 0;
        let entries = self.entries.get_mut(range.clone()).unwrap_or_default();
        for (known, entry) in self.marks.get_mut(range).unwrap_or_default().iter_mut().zip(entries) {
            if *known == mark && entry.is(store, key) {
                is_found = true;
                edit(entry);
                *known = entry.mark;
                removed |= entry.changed;
            }
        }
        let mut next = self.ends.get(row).map_or(NOTHING, |ends| ends.0);
        while let Some(added) = self.added.get_mut(next as usize) {
            if added.entry.is(store, key) {
                is_found = true;
                edit(&mut added.entry);
                removed |= added.entry.changed;
            }
            next = added.next;
        }
        self.has_removed |= removed & REMOVED != 0;
        is_found
    }
}
