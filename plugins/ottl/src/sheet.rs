//! The rows of a table while statements change them, and the edits that come of it.

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
    rows: Vec<Row>,
}

#[derive(Clone, Default)]
struct Row {
    /// In their order on the wire; of a key that occurs again the first occurrence.
    attributes: Vec<Attribute>,
    /// What was there before the first change, by key. None is no such attribute.
    before: Vec<(String, Option<Literal>)>,
    /// The same of other columns, by number.
    fields: Vec<(usize, Literal)>,
}

/// What is pushed of a key.
struct Edit<'a> {
    key: &'a str,
    set: Vec<u32>,
    values: Values,
    removed: Vec<u32>,
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
        let mut rows = vec![Row::default(); len];
        if with_attributes {
            let (entries, keys) = (batch.entries(table)?, batch.entry_keys(table)?);
            for (i, (owner, key)) in entries.owners.iter().zip(&keys.keys).enumerate() {
                let key = keys.dictionary.str(*key as usize);
                let Some(Row { attributes: row, .. }) = rows.get_mut(*owner as usize) else { continue };
                if row.iter().all(|(known, _): &Attribute| known != key) {
                    row.push((key.to_owned(), value_of(&entries.values, i).literal()));
                }
            }
        }
        Ok(Self { table, len, columns, loaded, rows })
    }

    /// The columns, as they are now.
    pub(crate) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// The attributes of a row, as they are now.
    pub(crate) fn attributes(&self, row: usize) -> &[Attribute] {
        self.rows.get(row).map_or(&[], |row| &row.attributes)
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
        if let Some(Row { fields, .. }) = self.rows.get_mut(row)
            && fields.iter().all(|(known, _)| *known != target.number)
        {
            fields.push((target.number, before));
        }
        self.loaded.set(target.number, row, value, self.len);
        Ok(())
    }

    /// Gives an attribute of a row another value, or takes it away.
    pub(crate) fn put(&mut self, row: usize, key: String, value: Option<Literal>) {
        let Some(Row { attributes, before: changed, .. }) = self.rows.get_mut(row) else { return };
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
        if changed.iter().all(|(known, _)| *known != key) {
            changed.push((key.clone(), before));
        }
        let path = Path { table: self.table, column: Column::Attribute(key) };
        if let Some(column) = self.columns.find(&path) {
            self.loaded.set(column, row, value.unwrap_or(Literal::Nil), self.len);
        }
    }

    /// Pushes what has changed.
    pub(crate) fn push(self, batch: &Batch<'_>) -> Result<(), Refusal> {
        let (mut edits, mut order) = (Vec::new(), Vec::new());
        for (row, number) in self.rows.iter().zip(0..) {
            for (key, before) in &row.before {
                let now = row.attributes.iter().find(|(known, _)| known == key).map(|(_, value)| value);
                if now == before.as_ref() {
                    continue;
                }
                let Some(edit) = edit(&mut edits, &mut order, key) else { continue };
                match now {
                    Some(value) => {
                        edit.set.push(number);
                        push(value, &mut edit.values);
                    }
                    None => edit.removed.push(number),
                }
            }
        }
        for edit in edits {
            if !edit.set.is_empty() {
                batch.set_attribute(self.table, edit.key, &edit.set, edit.values)?;
            }
            if !edit.removed.is_empty() {
                batch.remove_attribute(self.table, edit.key, &edit.removed)?;
            }
        }
        self.push_fields(batch)
    }

    fn push_fields(&self, batch: &Batch<'_>) -> Result<(), Refusal> {
        let mut columns = vec![Vec::new(); self.columns.paths().count()];
        for (row, number) in self.rows.iter().zip(0..) {
            for (column, before) in &row.fields {
                if self.loaded.value(*column, number as usize) != before.value()
                    && let Some(rows) = columns.get_mut(*column)
                {
                    rows.push(number);
                }
            }
        }
        for (column, rows) in columns.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
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

/// The edit of a key. `order` has the numbers of all edits, by their keys.
fn edit<'e, 'k>(edits: &'e mut Vec<Edit<'k>>, order: &mut Vec<usize>, key: &'k str) -> Option<&'e mut Edit<'k>> {
    let place = order.binary_search_by(|number| edits.get(*number).map_or("", |edit| edit.key).cmp(key));
    let number = match place {
        Ok(place) => *order.get(place)?,
        Err(place) => {
            order.insert(place, edits.len());
            edits.push(Edit { key, set: Vec::new(), values: Values::default(), removed: Vec::new() });
            edits.len() - 1
        }
    };
    edits.get_mut(number)
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
