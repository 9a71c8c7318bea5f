//! The host's own batch, off wasm.

use std::cell::RefCell;

use sluice_spans as host;

use super::Source;
use crate::batch::{Refusal, Table};
use crate::columns::{Column, Entries, EntryKeys, Texts, Values};

/// A batch and the edits of one call.
pub struct Backend {
    state: RefCell<State>,
}

struct State {
    batch: host::Batch,
    edits: host::Edits,
}

impl Backend {
    /// A backend for one call.
    pub fn new(batch: host::Batch) -> Self {
        Self { state: RefCell::new(State { batch, edits: host::Edits::new() }) }
    }

    /// The batch, with the edits of the call applied.
    pub fn finish(self) -> (host::Batch, host::Committed) {
        let State { mut batch, edits } = self.state.into_inner();
        let committed = batch.commit(edits);
        (batch, committed)
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut host::Batch, &mut host::Edits) -> Result<T, host::Refusal>,
    ) -> Result<T, Refusal> {
        let State { batch, edits } = &mut *self.state.borrow_mut();
        work(batch, edits).map_err(|refusal| Refusal { code: refusal.code as u32, message: refusal.message })
    }
}

fn table(table: Table) -> host::Table {
    match table {
        Table::Resources => host::Table::Resources,
        Table::Scopes => host::Table::Scopes,
        Table::Spans => host::Table::Spans,
        Table::Events => host::Table::Events,
        Table::Links => host::Table::Links,
    }
}

impl From<host::Texts> for Texts {
    fn from(texts: host::Texts) -> Self {
        Self { ends: texts.ends, bytes: texts.bytes }
    }
}

impl From<Texts> for host::Texts {
    fn from(texts: Texts) -> Self {
        Self { ends: texts.ends, bytes: texts.bytes }
    }
}

impl From<host::Values> for Values {
    fn from(values: host::Values) -> Self {
        Self { types: values.types, numbers: values.numbers, texts: values.texts.into() }
    }
}

impl From<Values> for host::Values {
    fn from(values: Values) -> Self {
        Self { types: values.types, numbers: values.numbers, texts: values.texts.into() }
    }
}

impl Source for Backend {
    fn len(&self, of: Table) -> Result<u32, Refusal> {
        self.with(|batch, _| Ok(batch.len(table(of)) as u32))
    }

    fn parents(&self, of: Table) -> Result<Vec<u32>, Refusal> {
        self.with(|batch, _| batch.parents(table(of)))
    }

    fn numbers(&self, of: Table, field: u32) -> Result<Vec<u64>, Refusal> {
        self.with(|batch, _| batch.numbers(table(of), field))
    }

    fn durations(&self) -> Result<Vec<u64>, Refusal> {
        self.with(|batch, _| Ok(batch.durations()))
    }

    fn texts(&self, of: Table, field: u32) -> Result<Texts, Refusal> {
        self.with(|batch, _| batch.texts(table(of), field)).map(Into::into)
    }

    fn trace_ids(&self, of: Table) -> Result<Vec<u8>, Refusal> {
        self.with(|batch, _| batch.trace_ids(table(of)))
    }

    fn span_ids(&self, of: Table) -> Result<Vec<u8>, Refusal> {
        self.with(|batch, _| batch.span_ids(table(of)))
    }

    fn parent_span_ids(&self) -> Result<Vec<u8>, Refusal> {
        self.with(|batch, _| batch.parent_span_ids())
    }

    fn attribute(&self, of: Table, key: &str) -> Result<Column, Refusal> {
        let column = self.with(|batch, _| batch.attribute(table(of), key.as_bytes()))?;
        Ok(Column { values: column.values.into(), duplicates: column.duplicates })
    }

    fn entries(&self, of: Table) -> Result<Entries, Refusal> {
        let (entries, _) = self.with(|batch, _| batch.entries(table(of), None))?;
        Ok(Entries { owners: entries.owners, values: entries.values.into() })
    }

    fn entry_keys(&self, of: Table) -> Result<EntryKeys, Refusal> {
        let keys = self.with(|batch, _| batch.entry_keys(table(of), None))?;
        Ok(EntryKeys { keys: keys.keys, dictionary: keys.dictionary.into() })
    }

    fn drop_rows(&self, of: Table, rows: &[u32]) -> Result<(), Refusal> {
        self.with(|batch, edits| edits.drop_rows(batch, table(of), rows))
    }

    fn set_attribute(&self, of: Table, key: &str, rows: &[u32], values: Values) -> Result<(), Refusal> {
        self.with(|batch, edits| edits.set_attribute(batch, table(of), key, rows, values.into()))
    }

    fn remove_attribute(&self, of: Table, key: &str, rows: &[u32]) -> Result<(), Refusal> {
        self.with(|batch, edits| edits.remove_attribute(batch, table(of), key, rows))
    }

    fn rename_attribute(&self, of: Table, key: &str, to: &str, rows: &[u32]) -> Result<(), Refusal> {
        self.with(|batch, edits| edits.rename_attribute(batch, table(of), key, to, rows))
    }

    fn set_entries(&self, of: Table, entries: &[u32], values: Values) -> Result<(), Refusal> {
        self.with(|batch, edits| edits.set_entries(batch, table(of), entries, values.into()))
    }

    fn remove_entries(&self, of: Table, entries: &[u32]) -> Result<(), Refusal> {
        self.with(|batch, edits| edits.remove_entries(batch, table(of), entries))
    }

    fn set_texts(&self, of: Table, field: u32, rows: &[u32], texts: Texts) -> Result<(), Refusal> {
        self.with(|batch, edits| edits.set_texts(batch, table(of), field, rows, texts.into()))
    }

    fn set_numbers(&self, of: Table, field: u32, rows: &[u32], numbers: &[u64]) -> Result<(), Refusal> {
        self.with(|batch, edits| edits.set_numbers(batch, table(of), field, rows, numbers))
    }

    fn clean(&self, what: u32) -> Result<(), Refusal> {
        self.with(|_, edits| {
            edits.clean(what);
            Ok(())
        })
    }
}
