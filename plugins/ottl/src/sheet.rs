//! The rows of a table while statements change them, and the edits that come of it.

use std::collections::BTreeMap;

use sluice_sdk::prelude::*;
use sluice_sdk::{Refusal, kind};

use crate::columns::{Columns, Loaded, value_of};
use crate::evaluate::EvaluationError;
use crate::nested;
use crate::path::{Column, Path};
use crate::statements::Target;
use crate::value::{Literal, Value};

/// An attribute.
type Attribute = (String, Literal);

/// The rows of a table.
pub(crate) struct Sheet<'c> {
    table: Table,
    len: usize,
    columns: &'c Columns,
    loaded: Loaded,
    /// Of each row, in their order on the wire; of a key that occurs again the first occurrence.
    attributes: Vec<Vec<Attribute>>,
    /// What was there before the first change, by key and row. None is no such attribute.
    before: BTreeMap<(String, usize), Option<Literal>>,
    /// The same of other columns, by number and row.
    fields: BTreeMap<(usize, usize), Literal>,
}

impl<'c> Sheet<'c> {
    /// Pulls the attributes, if they may change.
    pub(crate) fn new(
        batch: &Batch<'_>,
        table: Table,
        len: usize,
        columns: &'c Columns,
        loaded: Loaded,
        with_attributes: bool,
    ) -> Result<Self, Refusal> {
        let mut attributes = vec![Vec::new(); len];
        if with_attributes {
            let (entries, keys) = (batch.entries(table)?, batch.entry_keys(table)?);
            for (i, (owner, key)) in entries.owners.iter().zip(&keys.keys).enumerate() {
                let key = keys.dictionary.str(*key as usize);
                let Some(row) = attributes.get_mut(*owner as usize) else { continue };
                if row.iter().all(|(known, _): &Attribute| known != key) {
                    row.push((key.to_owned(), value_of(&entries.values, i).literal()));
                }
            }
        }
        Ok(Self { table, len, columns, loaded, attributes, before: BTreeMap::new(), fields: BTreeMap::new() })
    }

    /// The columns, as they are now.
    pub(crate) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// The attributes of a row, as they are now.
    pub(crate) fn attributes(&self, row: usize) -> &[Attribute] {
        self.attributes.get(row).map_or(&[], Vec::as_slice)
    }

    /// Sets what a path shows.
    pub(crate) fn set(&mut self, target: &Target, row: usize, value: Literal) -> Result<(), EvaluationError> {
        let fits = match (&target.path.column, &value) {
            (Column::Attribute(_), Literal::Duration(_)) => Err("a duration is no value of an attribute"),
            (Column::Attribute(_), _)
            | (Column::Text(_), Literal::String(_))
            | (Column::Number(_), Literal::Int(_)) => Ok(()),
            (Column::Text(_), _) => Err("expected a string"),
            _ => Err("expected an integer"),
        };
        fits.map_err(|message| EvaluationError(format!("{message} but got {}", value.value().name())))?;
        if let Column::Attribute(key) = &target.path.column {
            self.put(row, key.clone(), Some(value));
            return Ok(());
        }
        let before = self.loaded.value(target.number, row).literal();
        self.fields.entry((target.number, row)).or_insert(before);
        self.loaded.set(target.number, row, value, self.len);
        Ok(())
    }

    /// Gives an attribute of a row another value, or takes it away.
    pub(crate) fn put(&mut self, row: usize, key: String, value: Option<Literal>) {
        let Some(attributes) = self.attributes.get_mut(row) else { return };
        let place = attributes.iter().position(|(known, _)| *known == key);
        let before = place.and_then(|place| attributes.get(place)).map(|(_, value)| value.clone());
        if before == value {
            return;
        }
        match (place.and_then(|place| attributes.get_mut(place)), value.clone()) {
            (Some((_, old)), Some(new)) => *old = new,
            (Some(_), None) => attributes.retain(|(known, _)| *known != key),
            (None, Some(new)) => attributes.push((key.clone(), new)),
            (None, None) => {}
        }
        let path = Path { table: self.table, column: Column::Attribute(key.clone()) };
        if let Some(column) = self.columns.find(&path) {
            self.loaded.set(column, row, value.unwrap_or(Literal::Nil), self.len);
        }
        self.before.entry((key, row)).or_insert(before);
    }

    /// Pushes what has changed.
    pub(crate) fn push(self, batch: &Batch<'_>) -> Result<(), Refusal> {
        let mut edits: BTreeMap<&str, (Vec<u32>, Values, Vec<u32>)> = BTreeMap::new();
        for ((key, row), before) in &self.before {
            let now = self.attributes(*row).iter().find(|(known, _)| known == key).map(|(_, value)| value);
            if now == before.as_ref() {
                continue;
            }
            let (set, values, removed) = edits.entry(key).or_default();
            match now {
                Some(value) => {
                    set.push(*row as u32);
                    push(value, values);
                }
                None => removed.push(*row as u32),
            }
        }
        for (key, (set, values, removed)) in edits {
            if !set.is_empty() {
                batch.set_attribute(self.table, key, &set, values)?;
            }
            if !removed.is_empty() {
                batch.remove_attribute(self.table, key, &removed)?;
            }
        }
        self.push_fields(batch)
    }

    fn push_fields(&self, batch: &Batch<'_>) -> Result<(), Refusal> {
        let mut columns: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for ((column, row), before) in &self.fields {
            if self.loaded.value(*column, *row) != before.value() {
                columns.entry(*column).or_default().push(*row as u32);
            }
        }
        for (column, rows) in columns {
            let now = |row: &u32| self.loaded.value(column, *row as usize);
            match self.columns.paths().nth(column).map(|path| &path.column) {
                Some(Column::Text(field)) => {
                    let mut texts = Texts::default();
                    for row in &rows {
                        texts.push(if let Value::String(text) = now(row) { text } else { b"" });
                    }
                    batch.set_texts(self.table, *field, &rows, texts)?;
                }
                Some(Column::Number(field)) => {
                    let number = |row| if let Value::Int(number) = now(row) { number.cast_unsigned() } else { 0 };
                    batch.set_numbers(self.table, *field, &rows, &rows.iter().map(number).collect::<Vec<_>>())?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Adds a value to those of an edit.
fn push(value: &Literal, values: &mut Values) {
    match value {
        Literal::Nil | Literal::Duration(_) => values.push(kind::ABSENT, 0, b""),
        Literal::Bool(value) => values.push(kind::BOOL, u64::from(*value), b""),
        Literal::Int(number) => values.push(kind::INT, number.cast_unsigned(), b""),
        Literal::Float(number) => values.push(kind::DOUBLE, number.to_bits(), b""),
        Literal::String(text) => values.push(kind::STRING, 0, text.as_bytes()),
        Literal::Bytes(bytes) => values.push(kind::BYTES, 0, bytes),
        Literal::Map(bytes) => values.push(kind::KVLIST, 0, bytes),
        Literal::List(items) => values.push(kind::ARRAY, 0, &nested::list(items)),
    }
}
