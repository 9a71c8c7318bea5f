//! The columns that actions read, as the actions so far have left them.

use sluice_sdk::kind;
use sluice_sdk::prelude::*;

/// Columns by key; there are a few at most. One that no row has is empty until an action sets it.
pub(crate) struct Columns {
    columns: Vec<(String, Values)>,
    /// Rows of the table.
    len: usize,
}

impl Columns {
    /// Pulls the columns of the keys.
    pub(crate) fn pull(batch: &Batch<'_>, table: Table, keys: &[String], len: usize) -> Result<Self, Failure> {
        let pull = |key: &String| {
            let column = batch.attribute(table, key)?;
            Ok((key.clone(), shown(column.values, &column.duplicates)))
        };
        let columns = keys.iter().map(pull).collect::<Result<_, Failure>>()?;
        Ok(Self { columns, len })
    }

    /// Adds columns of other keys of the same table.
    pub(crate) fn extend(&mut self, more: Self) {
        self.columns.extend(more.columns);
    }

    fn find(&self, key: &str) -> Option<&Values> {
        self.columns.iter().find(|(known, _)| known == key).map(|(_, values)| values)
    }

    fn find_mut(&mut self, key: &str) -> Option<&mut Values> {
        self.columns.iter_mut().find(|(known, _)| known == key).map(|(_, values)| values)
    }

    /// Whether a row has the attribute.
    pub(crate) fn has(&self, key: &str, row: u32) -> bool {
        self.find(key).is_some_and(|values| values.kind(row as usize) != kind::ABSENT)
    }

    /// The column of a key; none if no row has it.
    pub(crate) fn column(&self, key: &str) -> Option<&Values> {
        self.find(key)
    }

    /// Notes that rows, ascending, were set: to one value each, or to one for all. A key that
    /// nobody reads is not kept.
    pub(crate) fn set(&mut self, key: &str, rows: &[u32], values: &Values) {
        let len = self.len;
        let Some(column) = self.find_mut(key) else { return };
        let mut next = Values::default();
        let mut set = rows.iter().zip(0..).peekable();
        for row in 0..len {
            match set.next_if(|(set, _)| **set as usize == row) {
                Some((_, place)) => next.push_from(values, if values.len() == 1 { 0 } else { place }),
                None => next.push_from(column, row),
            }
        }
        *column = next;
    }

    /// Notes that rows, ascending, lost the attribute.
    pub(crate) fn remove(&mut self, key: &str, rows: &[u32]) {
        self.set(key, rows, &Values::absent());
    }
}

/// Values as actions see them. If the first occurrence of a key has no value but another may have
/// one, the row has the attribute: what hashes it must not leave the other as it was.
fn shown(values: Values, duplicates: &[u32]) -> Values {
    if duplicates.iter().all(|&row| values.kind(row as usize) != kind::ABSENT) {
        return values;
    }
    let mut out = Values::default();
    for row in 0..values.len() {
        if values.kind(row) == kind::ABSENT && duplicates.contains(&(row as u32)) {
            out.push(kind::STRING, 0, b"");
        } else {
            out.push_from(&values, row);
        }
    }
    out
}
