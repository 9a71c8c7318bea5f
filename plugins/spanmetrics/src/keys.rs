//! What tells the series of a batch apart: the values that labels are made of, where they are in the columns.
//!
//! Values that are not the same may give one label (`200` as a number and as a text): that is two series here and one for
//! the host, which adds up what has the same labels.

use sluice_sdk::{Texts, Values, kind};

use crate::columns::{Columns, Field};
use crate::labels::{Label, Source};
use crate::tally::{Place, Series};

/// Owners of spans that are compared with one another. A request has few that differ; of more than that, each is one by
/// itself, and the host adds up what has the same labels.
const KNOWN_OWNERS: usize = 16;

/// What tells the series of one list of labels apart in one batch.
pub(crate) struct Keys<'c> {
    parts: Vec<Part<'c>>,
    /// The scope of each span, and for each scope a number that those have in common that give the same labels; none if
    /// no label is made of them.
    scopes: &'c [u32],
    owners: Vec<u32>,
}

/// A column that a label is made of.
enum Part<'c> {
    Texts(&'c Texts),
    Numbers(&'c [u64]),
    /// Attributes of spans.
    Values(&'c Values),
    /// Attributes of events.
    OfEvents(&'c Values),
}

impl<'c> Keys<'c> {
    pub(crate) fn new(labels: &[Label], columns: &'c Columns) -> Self {
        let mut parts = Vec::with_capacity(labels.len() + 1);
        let mut has_owners = false;
        for label in labels {
            match label.source {
                Source::Name => parts.push(Part::Texts(columns.names())),
                Source::Kind => parts.push(Part::Numbers(columns.numbers(Field::Kind))),
                Source::Status => parts.push(Part::Numbers(columns.numbers(Field::Status))),
                Source::Service | Source::ScopeName | Source::ScopeVersion => has_owners = true,
                Source::Attribute(number, _) => {
                    let [spans, events] = columns.values(number);
                    // A column is empty if nobody has the attribute.
                    parts.extend(spans.filter(|values| !values.is_empty()).map(Part::Values));
                    parts.extend(events.filter(|values| !values.is_empty()).map(Part::OfEvents));
                    has_owners |= columns.resources_have(number);
                }
            }
        }
        let owners = if has_owners { owners(labels, columns) } else { Vec::new() };
        Self { parts, scopes: columns.scopes(), owners }
    }

    fn owner(&self, row: usize) -> u32 {
        let scope = self.scopes.get(row).copied().unwrap_or_default();
        self.owners.get(scope as usize).copied().unwrap_or_default()
    }
}

/// A number for each scope: the same for those whose own and whose resource's values are the same in all of these labels.
fn owners(labels: &[Label], columns: &Columns) -> Vec<u32> {
    let mut known: Vec<(Texts, u32)> = Vec::new();
    let numbers = (0..columns.owners()).map(|scope| {
        let mut key = Texts::default();
        for label in labels {
            label.write_of_owner(columns, scope, &mut key);
        }
        if let Some((_, number)) = known.iter().find(|(known, _)| *known == key) {
            return *number;
        }
        if known.len() < KNOWN_OWNERS {
            known.push((key, scope as u32));
        }
        scope as u32
    });
    numbers.collect()
}

impl Series for Keys<'_> {
    fn hash(&self, Place { row, event }: Place) -> u64 {
        let mut hash = mix(0, self.owner(row).into());
        for part in &self.parts {
            hash = match part {
                Part::Texts(texts) => of_bytes(hash, texts.get(row)),
                Part::Numbers(numbers) => mix(hash, numbers.get(row).copied().unwrap_or_default()),
                Part::Values(values) => of_value(hash, values, row),
                Part::OfEvents(values) => event.map_or(hash, |event| of_value(hash, values, event)),
            };
        }
        hash
    }

    fn is_same(&self, one: Place, other: Place) -> bool {
        let have_same_parts = || {
            self.parts.iter().all(|part| match part {
                Part::Numbers(numbers) => numbers.get(one.row) == numbers.get(other.row),
                Part::Values(values) => is_same_value(values, one.row, other.row),
                Part::OfEvents(values) => {
                    one.event.zip(other.event).is_none_or(|(one, other)| is_same_value(values, one, other))
                }
                Part::Texts(texts) => is_same_text(texts.get(one.row), texts.get(other.row)),
            })
        };
        self.owner(one.row) == self.owner(other.row) && have_same_parts()
    }
}

fn is_same_value(values: &Values, one: usize, other: usize) -> bool {
    let of = values.kind(one);
    of == values.kind(other)
        && match of {
            kind::STRING => is_same_text(values.texts.get(one), values.texts.get(other)),
            kind::BOOL | kind::INT | kind::DOUBLE => values.bits(one) == values.bits(other),
            // What is no label's value is like nothing.
            _ => true,
        }
}

fn of_value(hash: u64, values: &Values, row: usize) -> u64 {
    match values.kind(row) {
        kind::STRING => of_bytes(hash, values.texts.get(row)),
        kind::BOOL | kind::INT | kind::DOUBLE => mix(hash, values.bits(row)),
        _ => hash,
    }
}

/// Eight bytes at a time; a call for a short text costs more than to compare it.
fn is_same_text(one: &[u8], other: &[u8]) -> bool {
    let ((ones, one_rest), (others, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    one.len() == other.len()
        && ones.iter().zip(others).all(|(one, other)| u64::from_ne_bytes(*one) == u64::from_ne_bytes(*other))
        && one_rest.iter().zip(other_rest).all(|(one, other)| one == other)
}

/// Eight bytes at a time; who chooses span names can make one batch slow, but not wrong.
fn of_bytes(hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(mix(hash, bytes.len() as u64), |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(hash, rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)))
}

fn mix(hash: u64, word: u64) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR)
}
