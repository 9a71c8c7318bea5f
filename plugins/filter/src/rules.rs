//! The conditions on one table, and their evaluation on a batch.

use sluice_ottl::{Columns, Expression, Loaded};
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
        let loaded = self.columns.load(batch, table)?;
        for row in 0..len {
            if self.applies(&loaded, row as usize, &mut found.ignored)? {
                found.rows.push(row);
            }
        }
        Ok(found)
    }

    fn applies(&self, loaded: &Loaded, row: usize, ignored: &mut Option<String>) -> Result<bool, Failure> {
        for condition in &self.conditions {
            match condition.expression.is_true(loaded, row) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => {
                    let message = || format!("condition `{}`: {error}", condition.text);
                    match condition.mode {
                        ErrorMode::Propagate => return Err(Failure::new(message())),
                        ErrorMode::Ignore if ignored.is_none() => *ignored = Some(message()),
                        ErrorMode::Ignore | ErrorMode::Silent => {}
                    }
                }
            }
        }
        Ok(false)
    }
}
