//! Every string of a batch in one piece: what scanners read.

use crate::entry::is_text;
use crate::fields::{SCHEMA_URL, event, link, scope, span};
use crate::{Batch, Field, Refusal, Table, Texts};

/// The text fields of each table.
const TEXTS: [(Table, &[Field]); 5] = [
    (Table::Resources, &[SCHEMA_URL]),
    (Table::Scopes, &[scope::NAME, scope::VERSION, SCHEMA_URL]),
    (Table::Spans, &[span::TRACE_STATE, span::NAME, span::STATUS_MESSAGE]),
    (Table::Events, &[event::NAME]),
    (Table::Links, &[link::TRACE_STATE]),
];

/// How many sections there can be: the attributes of the tables, and those fields.
const SECTIONS: usize = 5 + 9;

/// The field number that stands for the attributes of a table.
const ATTRIBUTES: Field = 0;

/// Type of what is a string.
const STRING: u8 = 1;

/// Texts in sections: the attribute entries of a table, or one of its text fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    /// Three numbers a section: table, field (0 for attributes), number of texts. A section without
    /// any byte is left out.
    pub sections: Vec<u32>,
    /// The type of each text, as in [`crate::Values`]; what is no text is empty in `texts`.
    pub types: Vec<u8>,
    /// The texts.
    pub texts: Texts,
}

/// For each table, the numbers of the entries that are shown, if some are not.
pub type Shown = [Option<Vec<u32>>; 5];

/// Says what may be read.
pub trait Readable {
    /// Whether every attribute of a table may be read.
    fn all_attributes(&self, table: Table) -> bool;
    /// Whether an attribute may be read.
    fn attribute(&self, table: Table, key: &[u8]) -> bool;
    /// Whether a text field may be read.
    fn text(&self, table: Table, field: Field) -> bool;
}

impl Batch {
    /// Every string that may be read. For each table whose attributes may be read in part only, the
    /// second answer is what the one of [`Batch::entries`] is.
    ///
    /// # Errors
    /// None today.
    pub fn strings(&mut self, readable: &impl Readable) -> Result<(Strings, Shown), Refusal> {
        // Usually about half of a request is text, and an attribute takes some 32 bytes.
        let count = self.wire_len() / 32;
        let mut all = Strings {
            sections: Vec::with_capacity(3 * SECTIONS),
            types: Vec::with_capacity(count),
            texts: Texts::with_capacity(count, self.wire_len() / 2),
        };
        let mut shown = [const { None }; 5];
        for ((table, fields), shown) in TEXTS.into_iter().zip(&mut shown) {
            if readable.all_attributes(table) {
                self.add_entries(table, &mut all);
            } else {
                let granted = |key: &[u8]| readable.attribute(table, key);
                let (entries, numbers) = self.entries(table, Some(&granted))?;
                *shown = numbers;
                let values = entries.values;
                all.add(table, ATTRIBUTES, |types, texts| {
                    types.extend_from_slice(&values.types);
                    (0..values.types.len()).for_each(|i| texts.push(values.texts.get(i)));
                });
            }
            for &field in fields.iter().filter(|&&field| readable.text(table, field)) {
                let (store, rows, places) = self.text_places(table, field)?;
                if places.clone().all(|place| place.len == 0) {
                    continue;
                }
                all.add(table, field, |types, texts| {
                    types.resize(types.len() + rows, STRING);
                    for place in places {
                        store.append(place, &mut texts.bytes);
                        texts.ends.push(texts.bytes.len() as u32);
                    }
                });
            }
        }
        Ok((all, shown))
    }

    /// Adds the values of all entries of a table.
    fn add_entries(&mut self, table: Table, all: &mut Strings) {
        self.load_attributes(table);
        let Self { store, index, .. } = self;
        let Some(attributes) = &index.table(table).attributes else { return };
        all.add(table, ATTRIBUTES, |types, texts| {
            let entries = attributes.entries();
            types.extend(entries.iter().map(|entry| entry.kind));
            let Texts { ends, bytes } = texts;
            ends.extend(entries.iter().map(|entry| {
                if is_text(entry.kind) {
                    store.append(entry.text(), bytes);
                }
                bytes.len() as u32
            }));
        });
    }
}

impl Strings {
    /// Adds a section, unless `fill` adds no byte.
    fn add(&mut self, table: Table, field: Field, fill: impl FnOnce(&mut Vec<u8>, &mut Texts)) {
        let (count, bytes) = (self.types.len(), self.texts.bytes.len());
        fill(&mut self.types, &mut self.texts);
        if self.texts.bytes.len() == bytes {
            self.types.truncate(count);
            self.texts.ends.truncate(count);
            return;
        }
        self.sections.extend([table as u32, field, (self.types.len() - count) as u32]);
    }
}
