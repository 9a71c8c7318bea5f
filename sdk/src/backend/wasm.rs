//! The host's batch.

use super::Source;
use crate::batch::{Refusal, Rows, Table};
use crate::bindings::sluice::plugin::{batches, columns};
use crate::columns::{Column, Entries, EntryKeys, Texts, Values};
use crate::strings::Strings;

pub use batches::Batch as Backend;

impl From<batches::Refusal> for Refusal {
    fn from(refusal: batches::Refusal) -> Self {
        Self { code: refusal.code, message: refusal.message }
    }
}

impl From<columns::Texts> for Texts {
    fn from(texts: columns::Texts) -> Self {
        Self { ends: texts.ends, bytes: texts.bytes }
    }
}

impl From<Texts> for columns::Texts {
    fn from(texts: Texts) -> Self {
        Self { ends: texts.ends, bytes: texts.bytes }
    }
}

impl From<columns::Values> for Values {
    fn from(values: columns::Values) -> Self {
        Self { types: values.types, numbers: values.numbers, texts: values.texts.into() }
    }
}

impl From<Values> for columns::Values {
    fn from(values: Values) -> Self {
        Self { types: values.types, numbers: values.numbers, texts: values.texts.into() }
    }
}

impl From<columns::Column> for Column {
    fn from(column: columns::Column) -> Self {
        Self { values: column.values.into(), duplicates: column.duplicates }
    }
}

impl From<columns::Entries> for Entries {
    fn from(entries: columns::Entries) -> Self {
        Self { owners: entries.owners, values: entries.values.into() }
    }
}

impl From<columns::EntryKeys> for EntryKeys {
    fn from(keys: columns::EntryKeys) -> Self {
        Self { keys: keys.keys, dictionary: keys.dictionary.into() }
    }
}

impl Source for Backend {
    fn len(&self, table: Table) -> Result<u32, Refusal> {
        Self::len(self, table as u32).map_err(Into::into)
    }

    fn parents(&self, table: Table) -> Result<Vec<u32>, Refusal> {
        Self::parents(self, table as u32).map_err(Into::into)
    }

    fn numbers(&self, table: Table, field: u32) -> Result<Vec<u64>, Refusal> {
        Self::numbers(self, table as u32, field).map_err(Into::into)
    }

    fn durations(&self) -> Result<Vec<u64>, Refusal> {
        Self::durations(self).map_err(Into::into)
    }

    fn texts(&self, table: Table, field: u32) -> Result<Texts, Refusal> {
        Self::texts(self, table as u32, field).map(Into::into).map_err(Into::into)
    }

    fn trace_ids(&self, table: Table) -> Result<Vec<u8>, Refusal> {
        Self::trace_ids(self, table as u32).map_err(Into::into)
    }

    fn span_ids(&self, table: Table) -> Result<Vec<u8>, Refusal> {
        Self::span_ids(self, table as u32).map_err(Into::into)
    }

    fn parent_span_ids(&self) -> Result<Vec<u8>, Refusal> {
        Self::parent_span_ids(self).map_err(Into::into)
    }

    fn attribute(&self, table: Table, key: &str) -> Result<Column, Refusal> {
        let column = Self::attribute(self, table as u32, key)?;
        Ok(column.map(Into::into).unwrap_or_default())
    }

    fn entries(&self, table: Table) -> Result<Entries, Refusal> {
        Self::entries(self, table as u32).map(Into::into).map_err(Into::into)
    }

    fn entry_keys(&self, table: Table) -> Result<EntryKeys, Refusal> {
        Self::entry_keys(self, table as u32).map(Into::into).map_err(Into::into)
    }

    fn strings(&self) -> Result<Strings, Refusal> {
        let strings = Self::strings(self)?;
        Strings::new(&strings.sections, strings.types, strings.texts.into())
    }

    fn drop_rows(&self, table: Table, rows: &[u32]) -> Result<(), Refusal> {
        Self::drop_rows(self, table as u32, rows).map_err(Into::into)
    }

    fn set_attribute(&self, table: Table, key: &str, rows: &[u32], values: Values) -> Result<(), Refusal> {
        Self::set_attribute(self, table as u32, key, rows, &values.into()).map_err(Into::into)
    }

    fn fill_attribute(&self, table: Table, key: &str, which: Rows, value: Values) -> Result<(), Refusal> {
        Self::fill_attribute(self, table as u32, key, which as u32, &value.into()).map_err(Into::into)
    }

    fn remove_attribute(&self, table: Table, key: &str, rows: &[u32]) -> Result<(), Refusal> {
        Self::remove_attribute(self, table as u32, key, rows).map_err(Into::into)
    }

    fn rename_attribute(&self, table: Table, key: &str, to: &str, rows: &[u32]) -> Result<(), Refusal> {
        Self::rename_attribute(self, table as u32, key, to, rows).map_err(Into::into)
    }

    fn set_entries(&self, table: Table, entries: &[u32], values: Values) -> Result<(), Refusal> {
        Self::set_entries(self, table as u32, entries, &values.into()).map_err(Into::into)
    }

    fn remove_entries(&self, table: Table, entries: &[u32]) -> Result<(), Refusal> {
        Self::remove_entries(self, table as u32, entries).map_err(Into::into)
    }

    fn set_texts(&self, table: Table, field: u32, rows: &[u32], texts: Texts) -> Result<(), Refusal> {
        Self::set_texts(self, table as u32, field, rows, &texts.into()).map_err(Into::into)
    }

    fn set_numbers(&self, table: Table, field: u32, rows: &[u32], numbers: &[u64]) -> Result<(), Refusal> {
        Self::set_numbers(self, table as u32, field, rows, numbers).map_err(Into::into)
    }

    fn clean(&self, what: u32) -> Result<(), Refusal> {
        Self::clean(self, what).map_err(Into::into)
    }
}
