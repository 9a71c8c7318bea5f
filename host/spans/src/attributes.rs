//! The attribute entries of a table: positions of keys and values, row after row, nothing
//! interned and nothing hashed. A key is compared where it is asked for.

use std::ops::Range;

use crate::index::Row;
use crate::row_fields::kept_runs;
use crate::store::{Loc, Store};
use crate::wire::{LEN, fields, varint};

/// Bits of [`Entry::changed`]: those of the `KeyValue`'s fields, and that the entry is gone.
pub(crate) const KEY_CHANGED: u8 = 1 << 1;
pub(crate) const VALUE_CHANGED: u8 = 1 << 2;
pub(crate) const REMOVED: u8 = 1 << 7;
/// The entry is not on the sender's wire: an edit put it at the end of its row.
pub(crate) const ADDED: u8 = 1 << 3;

/// One attribute of one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub key: Loc,
    /// A number, or a packed [`Loc`]; see [`is_text`].
    pub value: u64,
    /// The `KeyValue` with its key and length, as it was before the changes.
    pub tlv: Loc,
    /// The `AnyValue`'s field number, 0 without a value.
    pub kind: u8,
    pub changed: u8,
}

impl Entry {
    #[inline]
    fn is(&self, store: &Store, key: &[u8]) -> bool {
        self.changed & REMOVED == 0 && store.has(self.key, key)
    }

    pub fn text(&self) -> Loc {
        Loc::unpack(self.value)
    }
}

/// Whether values of an `AnyValue` member are bytes, not numbers.
pub(crate) fn is_text(kind: u8) -> bool {
    matches!(kind, 1 | 5 | 6 | 7)
}

/// The entries of all rows: row `i` has `entries[starts[i]..starts[i + 1]]`.
#[derive(Debug)]
pub(crate) struct Attributes {
    starts: Vec<u32>,
    entries: Vec<Entry>,
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
    /// No rows yet, but room for some in a request of so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut starts = Vec::with_capacity(bytes / USUAL_ROW_BYTES);
        starts.push(0);
        let entries = Vec::with_capacity(bytes / USUAL_ROW_BYTES * USUAL_ENTRIES);
        Self { starts, entries, added: Vec::new(), ends: Vec::new(), has_removed: false }
    }

    /// Adds an entry to the row that is being written.
    #[inline]
    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Ends the row that is being written.
    pub fn end_row(&mut self) {
        self.starts.push(self.entries.len() as u32);
    }

    /// Finds the attributes of every row in the field `number`.
    pub fn read(store: &Store, rows: &[Row], number: u32) -> Self {
        let mut starts = Vec::with_capacity(rows.len() + 1);
        // The wire bounds what a hostile one may claim.
        let likely = (USUAL_ENTRIES * rows.len()).min(store.wire.len() / USUAL_BYTES);
        let mut entries = Vec::with_capacity(likely);
        starts.push(0);
        for row in rows {
            read_row(store.get(row.content), row.content, number, &mut entries);
            starts.push(entries.len() as u32);
        }
        Self { starts, entries, added: Vec::new(), ends: Vec::new(), has_removed: false }
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
                entry.key = to.1;
                entry.changed |= KEY_CHANGED;
            }
            is_found = true;
        });
        true
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
        self.row(row).iter().any(|entry| entry.is(store, key))
    }

    /// Shows every occurrence of a key in a row to `edit`; says whether there was one.
    fn visit(&mut self, store: &Store, row: usize, key: &[u8], mut edit: impl FnMut(&mut Entry)) -> bool {
        let mut is_found = false;
        let range = self.range(row);
        let mut removed = 0;
        for entry in self.entries.get_mut(range).unwrap_or_default() {
            if entry.is(store, key) {
                is_found = true;
                edit(entry);
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

    /// Ends a commit: takes out what was removed, puts what was added at the end of its row, and
    /// keeps only the rows for which `keep` says so (all if it is empty).
    pub fn settle(&mut self, keep: &[bool]) {
        if !self.has_removed && self.added.is_empty() && keep.is_empty() {
            return;
        }
        if !self.has_removed && self.added.is_empty() {
            return self.retain(keep);
        }
        let mut entries = Vec::with_capacity(self.entries.len() + self.added.len());
        let mut starts = Vec::with_capacity(self.starts.len());
        starts.push(0);
        for row in 0..self.starts.len().saturating_sub(1) {
            if !keep.get(row).copied().unwrap_or(true) {
                continue;
            }
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
        *self = Self { starts, entries, added: Vec::new(), ends: Vec::new(), has_removed: false };
    }

    /// Keeps the rows for which `keep` says so, with all their entries.
    fn retain(&mut self, keep: &[bool]) {
        let (mut rows, mut end) = (0, 0);
        for run in kept_runs(keep) {
            let (from, to) = (self.range(run.start).start, self.range(run.end - 1).end);
            self.entries.copy_within(from..to, end);
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
        self.starts.truncate(rows + 1);
    }
}

fn read_row(buf: &[u8], content: Loc, number: u32, entries: &mut Vec<Entry>) {
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
        entries.push(Entry { tlv: content.part(start, end - start), ..read_entry(key_value, body) });
    }
}

/// The key and value of a valid `KeyValue`.
#[inline]
pub(crate) fn read_entry(key_value: &[u8], body: Loc) -> Entry {
    plain_entry(key_value, body).unwrap_or_else(|| any_entry(key_value, body))
}

pub(crate) const EMPTY: Entry = Entry { key: Loc::NONE, value: 0, tlv: Loc::NONE, kind: 0, changed: 0 };

/// The short way for a key, then a scalar, with every length one byte; nearly all are so.
#[expect(clippy::inline_always, reason = "a call an attribute, with its answer in memory, costs a third more")]
#[inline(always)]
pub(crate) fn plain_entry(key_value: &[u8], body: Loc) -> Option<Entry> {
    let [0x0A, key_len @ 0..0x80, rest @ ..] = key_value else {
        return None;
    };
    let key_len = usize::from(*key_len);
    let [0x12, value_len @ 0..0x80, value @ ..] = rest.get(key_len..)? else {
        return None;
    };
    if value.len() != usize::from(*value_len) {
        return None;
    }
    let (kind, value) = match value {
        [0x0A, len @ 0..0x80, text @ ..] if text.len() == usize::from(*len) => {
            (1, body.part(key_len + 6, text.len()).pack())
        }
        [0x10, byte @ 0..0x80] => (2, u64::from(*byte != 0)),
        [0x18, number @ ..] => match varint(number, 0) {
            Some((value, end)) if end == number.len() => (3, value),
            _ => return None,
        },
        [0x21, bits @ ..] => (4, u64::from_le_bytes(bits.try_into().ok()?)),
        _ => return None,
    };
    Some(Entry { key: body.part(2, key_len), value, kind, ..EMPTY })
}

/// Any `KeyValue` that is regular.
#[cold]
fn any_entry(key_value: &[u8], body: Loc) -> Entry {
    let mut entry = EMPTY;
    for field in fields(key_value) {
        let content = body.part(field.body, field.len());
        if field.is(1) {
            entry.key = content;
        } else if field.is(2) {
            (entry.kind, entry.value) = any_value(field.content(key_value), content);
        }
    }
    entry
}

/// The member of an `AnyValue` and its value.
fn any_value(message: &[u8], body: Loc) -> (u8, u64) {
    let mut found = (0, 0);
    for field in fields(message) {
        match (field.number, field.wire_type) {
            (kind @ (1 | 5 | 6 | 7), LEN) => {
                found = (kind as u8, body.part(field.body, field.len()).pack());
            }
            (2, 0) => found = (2, u64::from(field.value != 0)),
            (3, 0) => found = (3, field.value),
            (4, 1) => found = (4, field.value),
            (8, 0) => found = (8, i64::from(field.value as i32) as u64),
            _ => {}
        }
    }
    found
}
