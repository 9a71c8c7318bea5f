//! The columns that actions read, as the actions so far have left them.

use sluice_sdk::kind;
use sluice_sdk::prelude::*;

/// Columns by key; there are a few at most. One that no row has is empty until an action sets it.
pub(crate) struct Columns {
    columns: Vec<(String, Values)>,
    rows: usize,
}

impl Columns {
    /// Pulls the columns of the keys.
    pub(crate) fn pull(batch: &Batch<'_>, keys: &[String], rows: usize) -> Result<Self, Failure> {
        let pull = |key: &String| Ok((key.clone(), batch.attribute(Table::Spans, key)?.values));
        let columns = keys.iter().map(pull).collect::<Result<_, Failure>>()?;
        Ok(Self { columns, rows })
    }

    fn find(&self, key: &str) -> Option<&Values> {
        self.columns.iter().find(|(known, _)| known == key).map(|(_, values)| values)
    }

    fn find_mut(&mut self, key: &str) -> Option<&mut Values> {
        self.columns.iter_mut().find(|(known, _)| known == key).map(|(_, values)| values)
    }

    /// Whether a row has the attribute.
    pub(crate) fn has(&self, key: &str, row: usize) -> bool {
        self.find(key).is_some_and(|values| values.kind(row) != kind::ABSENT)
    }

    /// The values of some rows.
    pub(crate) fn values(&self, key: &str, rows: &[u32]) -> Values {
        let mut out = Values::default();
        for &row in rows {
            self.find(key).into_iter().for_each(|values| out.push_from(values, row as usize));
        }
        out
    }

    /// Notes that rows, ascending, were set: to one value each, or to one for all. A key that
    /// nobody reads is not kept.
    pub(crate) fn set(&mut self, key: &str, rows: &[u32], values: &Values) {
        let len = self.rows;
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

    /// Notes that all rows lost the attribute.
    pub(crate) fn remove(&mut self, key: &str) {
        if let Some(column) = self.find_mut(key) {
            *column = Values::default();
        }
    }
}
