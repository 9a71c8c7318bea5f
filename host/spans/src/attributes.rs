//! The attribute entries of a table: positions of keys and values, row after row, nothing
//! interned and nothing hashed. A key is compared where it is asked for.

mod keyed;

use std::ops::Range;

use crate::entry::{ADDED, Entry, REMOVED, VALUE_CHANGED, read_entry};
use crate::index::{Row, heap_bytes};
use crate::row_fields::kept_runs;
use crate::store::{Loc, Store};
use crate::wire::{LEN, fields};

/// The entries of all rows: row `i` has `entries[starts[i]..starts[i + 1]]`.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    starts: Vec<u32>,
    entries: Vec<Entry>,
    /// The marks of the entries' keys: a key is looked for in a byte an entry first.
    marks: Vec<u8>,
    /// Entries that every row has behind its others. What an edit adds to all rows alike stays here,
    /// once, until somebody wants to see or change the entries of rows.
    common: Vec<Entry>,
    /// The same entries as they go out, one after another; nowhere until they are joined.
    common_run: Loc,
    /// Entries that the commit going on has added, until [`Attributes::settle`] puts them at the
    /// end of their rows.
    added: Vec<Added>,
    /// The first and last of `added` of each row; empty while nothing was added.
    ends: Vec<(u32, u32)>,
    has_removed: bool,
}

#[derive(Debug)]
struct Added {
    entry: Entry,
    next: u32,
}

const NOTHING: u32 = u32::MAX;

/// How many attributes a row has, usually, and what one takes on the wire at least.
const USUAL_ENTRIES: usize = 12;
const USUAL_BYTES: usize = 16;
/// What a span takes on the wire, usually.
const USUAL_ROW_BYTES: usize = 384;

impl Attributes {
    /// No rows any more, but room for those of a request of so many bytes.
    pub fn emptied(self, bytes: usize) -> Self {
        self.with_room(bytes / USUAL_ROW_BYTES, bytes / USUAL_ROW_BYTES * USUAL_ENTRIES)
    }

    fn with_room(mut self, rows: usize, entries: usize) -> Self {
        self.starts.clear();
        self.starts.reserve(rows + 1);
        self.starts.push(0);
        self.entries.clear();
        self.entries.reserve(entries);
        self.marks.clear();
        self.marks.reserve(entries);
        self.common.clear();
        self.added.clear();
        self.ends.clear();
        Self { common_run: Loc::NONE, has_removed: false, ..self }
    }

    /// How much memory it holds, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let Self { starts, entries, marks, common, added, ends, .. } = self;
        heap_bytes(starts)
            + heap_bytes(entries)
            + heap_bytes(marks)
            + heap_bytes(common)
            + heap_bytes(added)
            + heap_bytes(ends)
    }

    /// Adds an entry to the row that is being written.
    #[inline]
    pub fn push(&mut self, entry: Entry) {
        self.marks.push(entry.mark);
        self.entries.push(entry);
    }

    /// Ends the row that is being written.
    pub fn end_row(&mut self) {
        self.starts.push(self.entries.len() as u32);
    }

    /// Finds the attributes of every row in the field `number`, in place of what is here.
    pub fn read(self, store: &Store, rows: &[Row], number: u32) -> Self {
        // The wire bounds what a hostile one may claim.
        let likely = (USUAL_ENTRIES * rows.len()).min(store.wire.len() / USUAL_BYTES);
        let mut attributes = self.with_room(rows.len(), likely);
        for row in rows {
            read_row(store.get(row.content), row.content, number, &mut attributes);
            attributes.end_row();
        }
        attributes
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry numbers of a row.
    #[inline]
    pub fn range(&self, row: usize) -> Range<usize> {
        let start = self.starts.get(row).copied().unwrap_or(0);
        let end = self.starts.get(row + 1).copied().unwrap_or(start);
        start as usize..end as usize
    }

    pub fn row(&self, row: usize) -> &[Entry] {
        self.entries.get(self.range(row)).unwrap_or_default()
    }

    /// The entries at the end of a row that edits have put there.
    pub fn added_in(&self, row: usize) -> &[Entry] {
        let entries = self.row(row);
        let added = entries.iter().rev().take_while(|entry| entry.changed & ADDED != 0).count();
        entries.get(entries.len() - added..).unwrap_or_default()
    }

    /// The entries of every row.
    pub fn rows(&self) -> impl Iterator<Item = &[Entry]> {
        (1..self.starts.len()).map(|end| self.row(end - 1))
    }

    /// The row of each entry that `numbers` names; those that do not exist are left out.
    pub fn owner(&self, number: u32) -> Option<u32> {
        if number as usize >= self.entries.len() {
            return None;
        }
        let after = self.starts.partition_point(|&start| start <= number);
        Some(after.saturating_sub(1) as u32)
    }

    /// Gives an entry a value, also if it was removed earlier in this commit.
    pub fn set_entry(&mut self, number: u32, kind: u8, value: u64) {
        if let Some(entry) = self.entries.get_mut(number as usize) {
            entry.kind = kind;
            entry.value = value;
            entry.changed = entry.changed & !REMOVED | VALUE_CHANGED;
        }
    }

    pub fn remove_entry(&mut self, number: u32) {
        if let Some(entry) = self.entries.get_mut(number as usize) {
            entry.changed |= REMOVED;
            self.has_removed = true;
        }
    }

    /// Gives every row an entry at its end that none has by this key, or all have from an earlier
    /// edit like this one. Says whether that is so; nothing is done otherwise.
    pub fn add_to_all(&mut self, store: &mut Store, key: &[u8], entry: impl FnOnce(&mut Store) -> Entry) -> bool {
        let known = self.common.iter().position(|known| known.is(store, key));
        if known.is_none() && self.any_has(store, key) {
            return false;
        }
        let entry = entry(store);
        match known.and_then(|known| self.common.get_mut(known)) {
            Some(known) => *known = entry,
            None => self.common.push(entry),
        }
        self.common_run = Loc::NONE;
        true
    }

    /// Joins what all rows have in common, before it goes out: once, however many edits there were.
    pub fn join_common(&mut self, store: &mut Store) {
        if self.common_run.is_none() && !self.common.is_empty() {
            let entries = self.common.iter().map(|entry| entry.tlv);
            self.common_run = store.push_again(entries);
        }
    }

    /// What every row has behind its entries, as it goes out.
    pub fn common_run(&self) -> Loc {
        self.common_run
    }

    /// Gives each row entries of its own for those that all have in common, in a commit that is
    /// going on: entry numbers stay.
    pub fn deal_out(&mut self) {
        self.common_run = Loc::NONE;
        for entry in std::mem::take(&mut self.common) {
            (0..self.starts.len() - 1).for_each(|row| self.add(row, entry));
        }
    }

    /// Gives each row entries of its own for those that all have in common, between two commits.
    pub fn spread(&mut self) {
        if !self.common.is_empty() {
            self.deal_out();
            self.settle();
        }
    }

    /// Makes room for entries that are going to be added.
    pub fn expect(&mut self, entries: usize) {
        self.added.reserve(entries);
    }

    /// Puts an entry at the end of a row.
    pub fn add(&mut self, row: usize, entry: Entry) {
        if self.ends.is_empty() {
            let rows = self.starts.len().saturating_sub(1);
            self.ends.resize(rows, (NOTHING, NOTHING));
        }
        let number = self.added.len() as u32;
        let Some(ends) = self.ends.get_mut(row) else {
            return;
        };
        match self.added.get_mut(ends.1 as usize) {
            Some(last) => last.next = number,
            None => ends.0 = number,
        }
        ends.1 = number;
        self.added.push(Added { entry, next: NOTHING });
    }

    /// Ends a commit: takes out what was removed, and puts what was added at the end of its row.
    pub fn settle(&mut self) {
        if !self.has_removed && self.added.is_empty() {
            return;
        }
        let mut entries = Vec::with_capacity(self.entries.len() + self.added.len());
        let mut starts = Vec::with_capacity(self.starts.len());
        starts.push(0);
        for row in 0..self.starts.len().saturating_sub(1) {
            let stays = |entry: &&Entry| entry.changed & REMOVED == 0;
            if self.has_removed {
                entries.extend(self.row(row).iter().filter(stays));
            } else {
                entries.extend_from_slice(self.row(row));
            }
            let mut next = self.ends.get(row).map_or(NOTHING, |ends| ends.0);
            while let Some(added) = self.added.get(next as usize) {
                entries.extend(Some(&added.entry).filter(stays));
                next = added.next;
            }
            starts.push(entries.len() as u32);
        }
        self.marks.clear();
        self.marks.extend(entries.iter().map(|entry| entry.mark));
        (self.starts, self.entries, self.has_removed) = (starts, entries, false);
        self.added.clear();
        self.ends.clear();
    }

    /// Keeps the rows for which `keep` says so, with all their entries.
    pub fn retain(&mut self, keep: &[bool]) {
        let (mut rows, mut end) = (0, 0);
        for run in kept_runs(keep) {
            let (from, to) = (self.range(run.start).start, self.range(run.end - 1).end);
            self.entries.copy_within(from..to, end);
            self.marks.copy_within(from..to, end);
            for row in run {
                end += self.range(row).len();
                rows += 1;
                // The rows to come lie behind this one or are this one, so their starts are still there.
                if let Some(start) = self.starts.get_mut(rows) {
                    *start = end as u32;
                }
            }
        }
        self.entries.truncate(end);
        self.marks.truncate(end);
        self.starts.truncate(rows + 1);
    }
}

fn read_row(buf: &[u8], content: Loc, number: u32, attributes: &mut Attributes) {
    // The attributes of every table have numbers below 16: a key of one byte.
    let key = (number << 3) as u8 | LEN;
    let mut all = fields(buf);
    loop {
        let (start, at, end) = match all.next_short(key) {
            Some(short) => short,
            None => match all.next() {
                Some(field) if field.is(number) => (field.start, field.body, field.end),
                Some(_) => continue,
                None => return,
            },
        };
        let key_value = buf.get(at..end).unwrap_or_default();
        let body = content.part(at, end - at);
        attributes.push(Entry { tlv: content.part(start, end - start), ..read_entry(key_value, body) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::EMPTY;

    /// A plugin may set as many keys as it has bytes for: what is kept of them grows as they do, not as
    /// their square.
    #[test]
    fn what_all_rows_get_is_joined_once() {
        const KEYS: usize = 1000;
        let mut store = Store::default();
        let mut attributes = Attributes::default().with_room(1, 0);
        attributes.end_row();
        let mut bytes = 0;
        for number in 0..KEYS {
            let key = format!("key {number:04}");
            bytes += key.len();
            let entry = |store: &mut Store| {
                let key = store.push(key.as_bytes());
                Entry { key, tlv: key, ..EMPTY }
            };
            assert!(attributes.add_to_all(&mut store, key.as_bytes(), entry));
        }
        attributes.join_common(&mut store);
        attributes.join_common(&mut store);
        assert_eq!(attributes.common_run().len as usize, bytes);
        assert_eq!(store.arena.len(), 2 * bytes);
    }
}
