//! The host's own batch, off wasm.

use std::cell::RefCell;

use sluice_spans as host;

use super::Source;
use crate::batch::{Refusal, Rows, Table};
use crate::columns::{Column, Entries, EntryKeys, Texts, Values};
use crate::strings::Strings;
use crate::testing::Grants;

/// The refusal code of a row or an entry that is none.
const OUT_OF_RANGE: u32 = 3;
/// The refusal code of an argument that is none.
const MALFORMED: u32 = 4;

/// A batch, the edits of one call, and what the plugin may touch.
pub struct Backend {
    state: RefCell<State>,
    grants: Grants,
}

struct State {
    batch: host::Batch,
    edits: host::Edits,
    /// For each table whose entries were shown in part, the number in the batch of each that was.
    shown: [Option<Vec<u32>>; 5],
}

impl Backend {
    /// A backend for one call.
    pub(crate) fn new(batch: host::Batch, grants: Grants) -> Self {
        let state = State { batch, edits: host::Edits::new(), shown: [const { None }; 5] };
        Self { state: RefCell::new(state), grants }
    }

    /// The batch, with the edits of the call applied.
    pub fn finish(self) -> (host::Batch, host::Committed) {
        let State { mut batch, edits, .. } = self.state.into_inner();
        let committed = batch.commit(edits);
        (batch, committed)
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut host::Batch, &mut host::Edits) -> Result<T, host::Refusal>,
    ) -> Result<T, Refusal> {
        let State { batch, edits, .. } = &mut *self.state.borrow_mut();
        work(batch, edits).map_err(Into::into)
    }

    /// Whether an attribute may be read. A grant of all is looked up once, not for every key.
    fn may_read(&self, of: Table) -> impl Fn(&[u8]) -> bool {
        let all = self.grants.reads_attribute(of, "*").is_ok();
        move |key| all || str::from_utf8(key).is_ok_and(|key| self.grants.reads_attribute(of, key).is_ok())
    }

    /// The numbers in the batch of entries that the plugin names by the numbers it was shown; all
    /// must be granted to be written.
    fn writable(&self, of: Table, entries: &[u32]) -> Result<Vec<u32>, Refusal> {
        let out_of_range = || Refusal { code: OUT_OF_RANGE, message: "no such entry".to_owned() };
        let keys = self.with(|batch, _| batch.entry_keys(table(of), None))?;
        let all = self.grants.writes_attribute(of, "*").is_ok();
        let state = self.state.borrow();
        let shown = state.shown.get(of as usize).and_then(Option::as_ref);
        let numbers = entries.iter().map(|&entry| {
            let number = shown.map_or(Some(entry), |shown| shown.get(entry as usize).copied());
            let number = number.ok_or_else(out_of_range)?;
            let key = keys.keys.get(number as usize).copied().ok_or_else(out_of_range)?;
            if !all {
                self.grants.writes_attribute(of, &String::from_utf8_lossy(keys.dictionary.get(key as usize)))?;
            }
            Ok(number)
        });
        numbers.collect()
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

impl From<host::Refusal> for Refusal {
    fn from(refusal: host::Refusal) -> Self {
        Self { code: refusal.code as u32, message: refusal.message }
    }
}

/// The SDK's table.
fn known(table: host::Table) -> Table {
    match table {
        host::Table::Resources => Table::Resources,
        host::Table::Scopes => Table::Scopes,
        host::Table::Spans => Table::Spans,
        host::Table::Events => Table::Events,
        host::Table::Links => Table::Links,
    }
}

impl host::Readable for Grants {
    /// Each key is asked for: tests need no short way.
    fn all_attributes(&self, _: host::Table) -> bool {
        false
    }

    fn attribute(&self, table: host::Table, key: &[u8]) -> bool {
        str::from_utf8(key).is_ok_and(|key| self.reads_attribute(known(table), key).is_ok())
    }

    fn text(&self, table: host::Table, field: u32) -> bool {
        self.reads_text(known(table), field).is_ok()
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
        self.grants.reads_text(of, field)?;
        self.with(|batch, _| batch.texts(table(of), field)).map(Into::into)
    }

    fn trace_ids(&self, of: Table) -> Result<Vec<u8>, Refusal> {
        self.grants.reads(of, "ids")?;
        self.with(|batch, _| batch.trace_ids(table(of)))
    }

    fn span_ids(&self, of: Table) -> Result<Vec<u8>, Refusal> {
        self.grants.reads(of, "ids")?;
        self.with(|batch, _| batch.span_ids(table(of)))
    }

    fn parent_span_ids(&self) -> Result<Vec<u8>, Refusal> {
        self.grants.reads(Table::Spans, "ids")?;
        self.with(|batch, _| batch.parent_span_ids())
    }

    fn attribute(&self, of: Table, key: &str) -> Result<Column, Refusal> {
        self.grants.reads_attribute(of, key)?;
        let column = self.with(|batch, _| batch.attribute(table(of), key.as_bytes()))?;
        if column.is_absent() {
            return Ok(Column::default());
        }
        Ok(Column { values: column.values.into(), duplicates: column.duplicates })
    }

    fn entries(&self, of: Table) -> Result<Entries, Refusal> {
        let granted = self.may_read(of);
        let (entries, shown) = self.with(|batch, _| batch.entries(table(of), Some(&granted)))?;
        if let Some(place) = self.state.borrow_mut().shown.get_mut(of as usize) {
            *place = shown;
        }
        Ok(Entries { owners: entries.owners, values: entries.values.into() })
    }

    fn entry_keys(&self, of: Table) -> Result<EntryKeys, Refusal> {
        let granted = self.may_read(of);
        let keys = self.with(|batch, _| batch.entry_keys(table(of), Some(&granted)))?;
        Ok(EntryKeys { keys: keys.keys, dictionary: keys.dictionary.into() })
    }

    fn strings(&self) -> Result<Strings, Refusal> {
        let (strings, shown) = self.with(|batch, _| batch.strings(&self.grants))?;
        self.state.borrow_mut().shown = shown;
        Strings::new(&strings.sections, strings.types, strings.texts.into())
    }

    fn drop_rows(&self, of: Table, rows: &[u32]) -> Result<(), Refusal> {
        self.grants.writes(of, "drop")?;
        self.with(|batch, edits| edits.drop_rows(batch, table(of), rows))
    }

    fn set_attribute(&self, of: Table, key: &str, rows: &[u32], values: Values) -> Result<(), Refusal> {
        self.grants.writes_attribute(of, key)?;
        self.with(|batch, edits| edits.set_attribute(batch, table(of), key, rows, values.into()))
    }

    fn fill_attribute(&self, of: Table, key: &str, which: Rows, value: Values) -> Result<(), Refusal> {
        self.grants.writes_attribute(of, key)?;
        if value.len() != 1 {
            return Err(Refusal { code: MALFORMED, message: "exactly one value is needed".to_owned() });
        }
        self.with(|batch, edits| {
            let rows = match which {
                Rows::All => (0..batch.len(table(of)) as u32).collect(),
                Rows::Without | Rows::With => batch.rows_by_key(table(of), key.as_bytes(), which == Rows::With),
            };
            edits.set_attribute(batch, table(of), key, &rows, value.into())
        })
    }

    fn remove_attribute(&self, of: Table, key: &str, rows: &[u32]) -> Result<(), Refusal> {
        self.grants.writes_attribute(of, key)?;
        self.with(|batch, edits| edits.remove_attribute(batch, table(of), key, rows))
    }

    fn rename_attribute(&self, of: Table, key: &str, to: &str, rows: &[u32]) -> Result<(), Refusal> {
        self.grants.writes_attribute(of, key)?;
        self.grants.writes_attribute(of, to)?;
        self.with(|batch, edits| edits.rename_attribute(batch, table(of), key, to, rows))
    }

    fn set_entries(&self, of: Table, entries: &[u32], values: Values) -> Result<(), Refusal> {
        let entries = self.writable(of, entries)?;
        self.with(|batch, edits| edits.set_entries(batch, table(of), &entries, values.into()))
    }

    fn remove_entries(&self, of: Table, entries: &[u32]) -> Result<(), Refusal> {
        let entries = self.writable(of, entries)?;
        self.with(|batch, edits| edits.remove_entries(batch, table(of), &entries))
    }

    fn set_texts(&self, of: Table, field: u32, rows: &[u32], texts: Texts) -> Result<(), Refusal> {
        self.grants.writes_text(of, field)?;
        self.with(|batch, edits| edits.set_texts(batch, table(of), field, rows, texts.into()))
    }

    fn set_numbers(&self, of: Table, field: u32, rows: &[u32], numbers: &[u64]) -> Result<(), Refusal> {
        self.grants.writes_number(of, field)?;
        self.with(|batch, edits| edits.set_numbers(batch, table(of), field, rows, numbers))
    }

    fn clean(&self, what: u32) -> Result<(), Refusal> {
        for (bit, field) in [(1, "overridden"), (2, "unknown")] {
            if what & bit != 0 {
                Table::ALL.into_iter().try_for_each(|of| self.grants.writes(of, field))?;
            }
        }
        self.with(|_, edits| {
            edits.clean(what);
            Ok(())
        })
    }
}
