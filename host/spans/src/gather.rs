//! Putting attribute values and keys into the shape in which they cross.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;

use crate::Values;
use crate::attributes::{Attributes, Entry, is_text};
use crate::store::Store;

/// Puts values into the shape in which they cross. A list that no value needs stays empty, and
/// is filled up with nothings at the first value that does.
pub(crate) struct Gather<'a> {
    store: &'a Store,
    values: Values,
    rows: usize,
}

impl<'a> Gather<'a> {
    pub fn new(store: &'a Store, rows: usize) -> Self {
        let values = Values { types: Vec::with_capacity(rows), ..Values::default() };
        Self { store, values, rows }
    }

    #[inline]
    pub fn push(&mut self, entry: Option<&Entry>) {
        let Values { types, numbers, texts } = &mut self.values;
        let before = types.len();
        let kind = entry.map_or(0, |entry| entry.kind);
        types.push(kind);
        let is_text = is_text(kind);
        let is_number = kind != 0 && !is_text;
        if is_text {
            if texts.ends.is_empty() {
                texts.ends.reserve(self.rows);
                texts.ends.resize(before, 0);
            }
            let text = entry.map(|entry| self.store.get(entry.text()));
            texts.push(text.unwrap_or_default());
        } else if !texts.ends.is_empty() {
            texts.push(&[]);
        }
        if is_number {
            if numbers.is_empty() {
                numbers.reserve(self.rows);
                numbers.resize(before, 0);
            }
            numbers.push(entry.map_or(0, |entry| entry.value));
        } else if !numbers.is_empty() {
            numbers.push(0);
        }
    }

    pub fn finish(self) -> Values {
        self.values
    }
}

/// The distinct keys of a table, and which of them each entry has.
pub(crate) struct Keys<'a> {
    pub texts: Vec<&'a [u8]>,
    pub of_entries: Vec<u32>,
}

impl<'a> Keys<'a> {
    pub fn of(store: &'a Store, attributes: &Attributes) -> Self {
        let mut texts: Vec<&[u8]> = Vec::new();
        let mut known: HashMap<&[u8], u32> = HashMap::new();
        let mut of_entries: Vec<u32> = Vec::with_capacity(attributes.entries().len());
        let mut before = 0;
        for entries in attributes.rows() {
            let row = of_entries.len();
            for (nth, entry) in entries.iter().enumerate() {
                let key = store.get(entry.key);
                // Spans of one kind carry their keys in one order: the key is most likely the
                // one that the row before has at this place.
                let likely = of_entries.get(before + nth).copied();
                let same = likely.filter(|&likely| texts.get(likely as usize) == Some(&key));
                of_entries.push(match same {
                    Some(number) => number,
                    None => match known.entry(key) {
                        Place::Occupied(place) => *place.get(),
                        Place::Vacant(place) => {
                            texts.push(key);
                            *place.insert(texts.len() as u32 - 1)
                        }
                    },
                });
            }
            if row < of_entries.len() {
                before = row;
            }
        }
        Self { texts, of_entries }
    }
}
