//! Applying one staged edit: the index is patched in place, what is written goes into the arena,
//! and rows remember what the encoder has to write anew.

use crate::edits::{Change, Edit};
use crate::encode::put_entry;
use crate::entry::{ADDED, EMPTY, Entry, KEY_CHANGED, VALUE_CHANGED, is_text, mark};
use crate::index::{APPENDED, DROPPED, FIELDS_CHANGED, Index, Row, SCHEMA_URL_CHANGED, TOUCHED, TableIndex};
use crate::layout::ColumnAt;
use crate::store::{Loc, Store};
use crate::{Batch, Table, Texts, Values};

impl Batch {
    /// Applies an edit; [`Batch::commit`] settles what follows from it.
    pub(crate) fn apply(&mut self, edit: &Edit) {
        let table = edit.table;
        match &edit.change {
            Change::Drop | Change::Texts(ColumnAt::SchemaUrl, _) => self.load_rows(table),
            Change::Texts(..) | Change::Numbers(..) => self.load_fields(table),
            _ => self.find_attributes(table),
        }
        self.load_rows(Table::Spans);
        let Self { store, index, .. } = self;
        let mut editor = Editor { store, index, table };
        match &edit.change {
            Change::Drop => {
                for (row, _) in edit.targets.iter(1) {
                    editor.drop_row(row);
                }
            }
            Change::Set(..) | Change::Remove(_) | Change::Rename(..) => editor.attribute(edit),
            Change::SetEntries(..) | Change::RemoveEntries => editor.entries(edit),
            Change::Texts(column, texts) => editor.texts(edit, *column, texts),
            Change::Numbers(column, numbers) => editor.numbers(edit, *column, numbers),
        }
    }
}

/// One edit being applied to one table.
struct Editor<'a> {
    store: &'a mut Store,
    index: &'a mut Index,
    table: Table,
}

impl Editor<'_> {
    /// Notes that bits of a row changed, and that its span was touched.
    fn mark(&mut self, row: u32, bits: u64) {
        let is_child = matches!(self.table, Table::Events | Table::Links);
        let is_span = self.table == Table::Spans;
        let touched = if is_span { TOUCHED } else { 0 };
        let Some(row) = self.row(row) else { return };
        row.changed |= bits | touched;
        let parent = row.parent as usize;
        if is_child && let Some(span) = self.index.spans.rows.get_mut(parent) {
            span.changed |= TOUCHED | 1 << self.table.layout().number;
        }
    }

    /// The same for every row.
    fn mark_all(&mut self, bits: u64) {
        if matches!(self.table, Table::Events | Table::Links) {
            (0..self.index.table(self.table).rows.len() as u32).for_each(|row| self.mark(row, bits));
            return;
        }
        let touched = if self.table == Table::Spans { TOUCHED } else { 0 };
        for row in &mut self.index.table_mut(self.table).rows {
            row.changed |= bits | touched;
        }
    }

    fn row(&mut self, row: u32) -> Option<&mut Row> {
        self.index.table_mut(self.table).rows.get_mut(row as usize)
    }

    fn drop_row(&mut self, row: u32) {
        self.mark(row, DROPPED);
    }

    fn attribute(&mut self, edit: &Edit) {
        let bits = 1 << self.table.layout().attributes;
        let (key, to, values) = match &edit.change {
            Change::Set(key, values) => (key, key, Some(values)),
            Change::Rename(key, to) => (key, to, None),
            Change::Remove(key) => (key, key, None),
            _ => return,
        };
        let key_at = if matches!(edit.change, Change::Remove(_)) { Loc::NONE } else { self.store.push(to.as_bytes()) };
        let mut written = values.map(|values| Written::new(self.store, values));
        let number = self.table.layout().attributes;
        let table = self.index.table_mut(self.table);
        let Some(attributes) = &mut table.attributes else {
            return;
        };
        if let Some(written) = &mut written {
            let is_for_all = written.values.len() == 1 && edit.targets.len() == table.rows.len();
            let (kind, value) = written.get(0);
            let entry = Entry { key: key_at, value, kind, changed: ADDED, mark: mark(key.as_bytes()), ..EMPTY };
            let entry = |store: &mut Store| written.encoded(store, number, entry);
            if is_for_all && attributes.add_to_all(self.store, key.as_bytes(), entry) {
                self.mark_all(bits << APPENDED);
                return;
            }
            attributes.expect(edit.targets.len());
        }
        attributes.deal_out();
        for (row, place) in edit.targets.iter(values.map_or(1, Values::len)) {
            let table = self.index.table_mut(self.table);
            let Some(attributes) = &mut table.attributes else {
                return;
            };
            let i = row as usize;
            let is_changed = match (&mut written, &edit.change) {
                (Some(written), _) => {
                    let (kind, value) = written.get(place);
                    let is_found = attributes.set(self.store, i, key.as_bytes(), kind, value);
                    if !is_found {
                        let mark = mark(key.as_bytes());
                        let entry = Entry { key: key_at, value, kind, changed: ADDED, mark, ..EMPTY };
                        attributes.add(i, written.encoded(self.store, number, entry));
                        self.mark(row, bits << APPENDED);
                    }
                    is_found
                }
                (None, Change::Rename(key, to)) => {
                    let to = (to.as_bytes(), key_at);
                    attributes.rename(self.store, i, key.as_bytes(), to)
                }
                _ => attributes.remove(self.store, i, key.as_bytes()),
            };
            if is_changed {
                self.mark(row, bits);
            }
        }
    }

    fn entries(&mut self, edit: &Edit) {
        let bits = 1 << self.table.layout().attributes;
        let values = match &edit.change {
            Change::SetEntries(values) => Some(values),
            _ => None,
        };
        let written = values.map(|values| Written::new(self.store, values));
        for (number, place) in edit.targets.iter(values.map_or(1, Values::len)) {
            let table = self.index.table_mut(self.table);
            let Some(attributes) = &mut table.attributes else {
                return;
            };
            match &written {
                Some(written) => {
                    let (kind, value) = written.get(place);
                    attributes.set_entry(number, kind, value);
                }
                None => attributes.remove_entry(number),
            }
            if let Some(row) = attributes.owner(number) {
                self.mark(row, bits);
            }
        }
    }

    fn texts(&mut self, edit: &Edit, column: ColumnAt, texts: &Texts) {
        let base = self.store.push(&texts.bytes);
        // Most often it is one for all.
        let one = (texts.len() == 1).then(|| text_in(base, texts, 0));
        let texts = edit.targets.iter(texts.len()).map(|(row, place)| {
            let text = one.unwrap_or_else(|| text_in(base, texts, place));
            (row, text)
        });
        match column {
            ColumnAt::Text(slot, bits) => self.field_texts(slot, bits, texts),
            _ => self.schema_urls(texts),
        }
        if matches!(self.table, Table::Events | Table::Links) {
            edit.targets.iter(1).for_each(|(row, _)| self.mark(row, 0));
        }
    }

    /// Sets a text field of rows and marks them, but not the spans that they belong to.
    fn field_texts(&mut self, slot: usize, bits: u64, texts: impl Iterator<Item = (u32, Loc)>) {
        let touched = if self.table == Table::Spans { TOUCHED } else { 0 };
        let TableIndex { rows, fields: Some(fields), .. } = self.index.table_mut(self.table) else { return };
        // A status is one field for two texts.
        let is_own_field = bits & FIELDS_CHANGED == bits;
        for (number, text) in texts {
            let Some(row) = rows.get_mut(number as usize) else { continue };
            // What the message lacks need not be looked for in it.
            let is_new = fields.set_text(number as usize, slot, text).is_none() && is_own_field;
            let is_appended = row.changed & bits << APPENDED != 0;
            row.changed |= touched | if is_new || is_appended { bits << APPENDED } else { bits };
        }
    }

    fn schema_urls(&mut self, texts: impl Iterator<Item = (u32, Loc)>) {
        for (row, text) in texts {
            if let Some(url) = self.index.table_mut(self.table).schema_urls.get_mut(row as usize) {
                *url = text;
            }
            self.mark(row, SCHEMA_URL_CHANGED);
        }
    }

    fn numbers(&mut self, edit: &Edit, column: ColumnAt, numbers: &[u64]) {
        let ColumnAt::Number(slot, bits, _) = column else {
            return;
        };
        for (row, place) in edit.targets.iter(numbers.len()) {
            let number = numbers.get(place).copied().unwrap_or(0);
            let table = self.index.table_mut(self.table);
            if let Some(fields) = &mut table.fields {
                fields.set_number(row as usize, slot, number);
            }
            self.mark(row, bits);
        }
    }
}

/// What an attribute takes on the wire at most, usually.
const USUAL_BYTES: usize = 128;

/// Values whose texts are in the arena.
struct Written<'a> {
    values: &'a Values,
    base: Loc,
    /// The attribute that all rows share, once it was encoded.
    shared: Option<Loc>,
}

impl<'a> Written<'a> {
    fn new(store: &mut Store, values: &'a Values) -> Self {
        let base = store.push(&values.texts.bytes);
        Self { values, base, shared: None }
    }

    /// An added entry, ready to go out in the field `number`: encoded once if all rows share it,
    /// else left to the encoder.
    fn encoded(&mut self, store: &mut Store, number: u32, entry: Entry) -> Entry {
        if self.values.len() != 1 {
            return Entry { changed: entry.changed | KEY_CHANGED | VALUE_CHANGED, ..entry };
        }
        let tlv = *self.shared.get_or_insert_with(|| {
            let mut out = Vec::with_capacity(USUAL_BYTES);
            put_entry(store, number, &entry, &mut out);
            store.push(&out)
        });
        Entry { tlv, ..entry }
    }

    /// Type and value as an entry keeps them.
    fn get(&self, i: usize) -> (u8, u64) {
        let kind = self.values.types.get(i).copied().unwrap_or(0);
        let value = if is_text(kind) {
            text_in(self.base, &self.values.texts, i).pack()
        } else {
            self.values.numbers.get(i).copied().unwrap_or(0)
        };
        (kind, value)
    }
}

fn text_in(base: Loc, texts: &Texts, i: usize) -> Loc {
    let end = texts.ends.get(i).copied().unwrap_or(0) as usize;
    let len = texts.get(i).len();
    base.part(end - len, len)
}
