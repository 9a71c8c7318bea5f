//! Attributes that are added where there are none.

use sluice_sdk::kind::{ABSENT, INT, STRING};
use sluice_sdk::prelude::*;

/// The value of a new attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'v> {
    Text(&'v str),
    Int(i64),
}

/// Grants to read these attributes of spans, and to add those.
pub fn access(access: Access, read: &[&str], added: &[&str]) -> Access {
    let grant = |key: &&str| format!("spans.attributes:{key}");
    let access = read.iter().chain(added).map(grant).fold(access, Access::read);
    added.iter().map(grant).fold(access, Access::write)
}

/// Adds an attribute to the rows that lack it and for which there is a value, of so many. Gives those rows.
///
/// # Errors
/// When the host refuses.
pub fn insert<'v>(
    batch: &Batch<'_>,
    table: Table,
    key: &str,
    rows: usize,
    value: impl Fn(usize) -> Option<Value<'v>>,
) -> Result<Vec<u32>, Failure> {
    let mut candidates = (0..rows).filter_map(|row| Some((row, value(row)?))).peekable();
    let mut new = (Vec::new(), Values::default());
    if candidates.peek().is_some() {
        let there = batch.attribute(table, key)?.values;
        for (row, value) in candidates.filter(|(row, _)| there.kind(*row) == ABSENT) {
            new.0.push(row as u32);
            match value {
                Value::Text(text) => new.1.push(STRING, 0, text.as_bytes()),
                Value::Int(int) => new.1.push(INT, int as u64, b""),
            }
        }
    }
    let (rows, values) = new;
    if !rows.is_empty() {
        batch.set_attribute(table, key, &rows, values)?;
    }
    Ok(rows)
}

/// Attributes of spans of which the first that is a string counts.
pub struct FirstString(Vec<Values>);

impl FirstString {
    /// Pulls their columns.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn pull(batch: &Batch<'_>, keys: &[&str]) -> Result<Self, Failure> {
        let column = |key: &&str| Ok(batch.attribute(Table::Spans, key)?.values);
        keys.iter().map(column).collect::<Result<_, Failure>>().map(Self)
    }

    /// The string of each row.
    pub fn rows(&self) -> impl Iterator<Item = Option<&str>> {
        let rows = self.0.iter().map(Values::len).max().unwrap_or_default();
        (0..rows).map(|row| self.0.iter().find_map(|values| values.str(row)))
    }
}
