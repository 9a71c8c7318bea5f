//! The conditions on one table, and their evaluation on a batch.

use sluice_ottl::{Columns, Expression, without};
use sluice_sdk::prelude::*;

use crate::config::ErrorMode;

/// One condition.
pub(crate) struct Condition {
    pub expression: Expression,
    /// As it was written, for messages.
    pub text: String,
    pub mode: ErrorMode,
}

/// The conditions on one table, and the columns that they read.
pub(crate) struct Rules {
    pub conditions: Vec<Condition>,
    pub columns: Columns,
}

/// What was found in a batch.
#[derive(Default)]
pub(crate) struct Found {
    /// The rows to be dropped, ascending.
    pub rows: Vec<u32>,
    /// An error to be logged: the first one of the batch, because more would say the same.
    pub ignored: Option<String>,
}

/// The rows up to `len` that are not `left`, which is in order.
fn missing(len: u32, left: &[u32]) -> Vec<u32> {
    let mut missing = Vec::with_capacity((len as usize).saturating_sub(left.len()));
    let mut next = 0;
    for row in left {
        missing.extend(next..*row);
        next = row + 1;
    }
    missing.extend(next..len);
    missing
}

impl Rules {
    pub(crate) fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    pub(crate) fn grants(&self) -> Vec<String> {
        self.columns.grants()
    }

    /// The rows for which any condition is true.
    pub(crate) fn evaluate(&self, batch: &Batch<'_>, table: Table) -> Result<Found, Failure> {
        let len = batch.len(table)?;
        let mut found = Found::default();
        if len == 0 {
            return Ok(found);
        }
        let mut loaded = self.columns.none(table);
        let mut left: Vec<u32> = (0..len).collect();
        for condition in &self.conditions {
            let mut error = None;
            // A row that an earlier condition is true for is not looked at again.
            let rows = condition.expression.select((&self.columns, batch), &mut loaded, &left, &mut |found| {
                error.get_or_insert(found);
            })?;
            if let Some(error) = error {
                let message = format!("condition `{}`: {error}", condition.text);
                match condition.mode {
                    ErrorMode::Propagate => return Err(Failure::new(message)),
                    ErrorMode::Ignore if found.ignored.is_none() => found.ignored = Some(message),
                    ErrorMode::Ignore | ErrorMode::Silent => {}
                }
            }
            if !rows.is_empty() {
                left = without(&left, &rows);
            }
        }
        found.rows = missing(len, &left);
        Ok(found)
    }
}
