//! The status that is set.

use sluice_sdk::prelude::*;
use sluice_sdk::{Refusal, fields};

/// A status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// OTLP's number.
    code: u64,
    message: String,
}

impl Status {
    pub(crate) const UNSET: Self = Self { code: 0, message: String::new() };
    pub(crate) const OK: Self = Self { code: 1, message: String::new() };

    pub(crate) fn error(message: String) -> Self {
        Self { code: 2, message }
    }

    /// Sets it in these spans.
    pub(crate) fn set(&self, batch: &Batch<'_>, rows: &[u32]) -> Result<(), Refusal> {
        batch.set_numbers(Table::Spans, fields::STATUS_CODE, rows, &[self.code])?;
        batch.set_texts(Table::Spans, fields::STATUS_MESSAGE, rows, Texts::one(&self.message))
    }
}
