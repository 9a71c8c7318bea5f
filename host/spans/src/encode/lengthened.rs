//! Rows that keep all they have and get something behind it: most rows that change.

use super::Splicer;
use crate::Table;
use crate::entry::{ADDED, Entry};
use crate::index::Row;
use crate::layout::Slot;
use crate::store::{Loc, Store};
use crate::wire::{LEN, put_key, put_varint, varint_len};

/// What a row gets behind its own fields, in this order.
struct Tail<'a> {
    /// A text field and its number.
    text: Option<(u32, &'a [u8])>,
    /// Attributes of its own, and those that all rows get.
    added: &'a [Entry],
    common: Loc,
}

impl Splicer<'_> {
    /// Writes a row as the field `number` if nothing in it is to be written anew and what it gets is ready to be
    /// copied: then its length is known beforehand. Says whether that is so; nothing is written otherwise.
    pub(super) fn lengthened(&self, table: Table, i: usize, row: &Row, number: u32, out: &mut Vec<u8>) -> bool {
        let Some(tail) = self.tail(table, i, row) else { return false };
        put_key(out, number, LEN);
        put_varint(out, u64::from(row.content.len) + tail.len());
        out.extend_from_slice(self.store.get(row.content));
        tail.put(self.store, out);
        true
    }

    fn tail(&self, table: Table, i: usize, row: &Row) -> Option<Tail<'_>> {
        let (index, layout) = (self.index.table(table), table.layout());
        let (appended, attributes) = (row.appended(), 1 << layout.attributes);
        if row.rewritten() != 0 || appended == 0 {
            return None;
        }
        let mut tail = Tail { text: None, added: &[], common: Loc::NONE };
        let other = appended & !attributes;
        if other != 0 {
            // Fields go in the order of their numbers, and only one text is usual.
            let number = other.trailing_zeros();
            let Some(Slot::Text(slot)) = layout.slots.get(number as usize) else { return None };
            if other != 1 << number || number > layout.attributes {
                return None;
            }
            let text = index.fields.as_ref()?.text(i, (*slot).into());
            tail.text = (text.len > 0).then(|| (number, self.store.get(text)));
        }
        if appended & attributes != 0 {
            let entries = index.attributes.as_ref()?;
            (tail.added, tail.common) = (entries.added_in(i), entries.common_run());
            if tail.added.iter().any(|entry| entry.changed != ADDED) {
                return None;
            }
        }
        Some(tail)
    }
}

impl Tail<'_> {
    fn len(&self) -> u64 {
        let text = self.text.map_or(0, |(number, text)| {
            varint_len(u64::from(number) << 3) + varint_len(text.len() as u64) + text.len()
        });
        let added: u64 = self.added.iter().map(|entry| u64::from(entry.tlv.len)).sum();
        text as u64 + added + u64::from(self.common.len)
    }

    fn put(&self, store: &Store, out: &mut Vec<u8>) {
        if let Some((number, text)) = self.text {
            crate::wire::put_bytes(out, number, text);
        }
        for entry in self.added {
            out.extend_from_slice(store.get(entry.tlv));
        }
        out.extend_from_slice(store.get(self.common));
    }
}
