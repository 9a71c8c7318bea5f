//! Putting attribute values and keys into the shape in which they cross.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;

use crate::attributes::Attributes;
use crate::entry::{Entry, is_text};
use crate::store::Store;
use crate::{Texts, Values};

/// Puts the values of entries into the shape in which they cross; nothing where there is none.
/// A list that no value needs stays empty.
pub(crate) fn gather<'a, I>(store: &Store, entries: I) -> Values
where
    I: ExactSizeIterator<Item = Option<&'a Entry>> + Clone,
{
    let rows = entries.len();
    let mut types = Vec::with_capacity(rows);
    let (mut has_texts, mut has_numbers, mut bytes) = (false, false, 0);
    types.extend(entries.clone().map(|entry| {
        let Some(entry) = entry else { return 0 };
        if is_text(entry.kind) {
            has_texts = true;
            bytes += entry.text().len as usize;
        } else {
            has_numbers |= entry.kind != 0;
        }
        entry.kind
    }));
    let mut numbers = Vec::new();
    if has_numbers {
        let number = |entry: &&Entry| !is_text(entry.kind);
        numbers.reserve(rows);
        numbers.extend(entries.clone().map(|entry| entry.filter(number).map_or(0, |entry| entry.value)));
    }
    let mut texts = Texts::new();
    if has_texts {
        texts = Texts::with_capacity(rows, bytes + Store::SLACK);
        for entry in entries {
            if let Some(entry) = entry.filter(|entry| is_text(entry.kind)) {
                store.append(entry.text(), &mut texts.bytes);
            }
            texts.ends.push(texts.bytes.len() as u32);
        }
    }
    Values { types, numbers, texts }
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
