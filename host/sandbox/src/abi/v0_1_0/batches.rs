//! The batch: columns out, edits in.

use sluice_spans::{Field, Refusal, RefusalCode, Table, check_named};
use wasmtime::component::Resource;

use super::generated::sluice::plugin::columns as wit;
use super::wit_batches::{Host as BatchesHost, HostBatch};
use super::{BatchHandle, Host, WitRefusal, denied, refusal, shown, table};
use crate::access::Bit;

type Answer<T> = Result<T, WitRefusal>;
type Handle = Resource<BatchHandle>;

/// The rows that `fill-attribute` can name.
const EVERY_ROW: u32 = 1;
const ROWS_WITHOUT: u32 = 2;
const ROWS_WITH: u32 = 3;

/// What `clean` can take out.
const CLEAN_OVERRIDDEN: u32 = 1;
const CLEAN_UNKNOWN: u32 = 2;

impl BatchesHost for Host {}
impl wit::Host for Host {}

impl From<sluice_spans::Texts> for wit::Texts {
    fn from(texts: sluice_spans::Texts) -> Self {
        Self { ends: texts.ends, bytes: texts.bytes }
    }
}

impl From<wit::Texts> for sluice_spans::Texts {
    fn from(texts: wit::Texts) -> Self {
        Self { ends: texts.ends, bytes: texts.bytes }
    }
}

impl From<sluice_spans::Values> for wit::Values {
    fn from(values: sluice_spans::Values) -> Self {
        Self { types: values.types, numbers: values.numbers, texts: values.texts.into() }
    }
}

impl From<wit::Values> for sluice_spans::Values {
    fn from(values: wit::Values) -> Self {
        Self { types: values.types, numbers: values.numbers, texts: values.texts.into() }
    }
}

impl Host {
    fn reading<T>(&mut self, number: u32, read: impl FnOnce(&mut Self, Table) -> Result<T, Refusal>) -> Answer<T> {
        let result = self.enter().and_then(|()| table(number)).and_then(|table| read(self, table));
        self.answer(result)
    }

    /// An edit for which the guest hands over so many rows and bytes of values.
    fn editing(
        &mut self,
        number: u32,
        items: usize,
        edit: impl FnOnce(&mut Self, Table) -> Result<(), Refusal>,
    ) -> Answer<()> {
        self.takes(items);
        let result = self.enter().and_then(|()| table(number)).and_then(|table| edit(self, table));
        let result = result.and_then(|()| self.within_output());
        self.answer(result)
    }

    fn may_read_ids(&self, table: Table) -> Result<(), Refusal> {
        if self.grants.reads(table, Bit::IDS) { Ok(()) } else { Err(denied(format_args!("reading ids"))) }
    }

    fn may_write_attribute(&self, table: Table, key: &str) -> Result<(), Refusal> {
        if self.grants.writes_attribute(table, key.as_bytes()) {
            Ok(())
        } else {
            Err(denied(format_args!("writing the attribute `{}`", shown(key))))
        }
    }

    fn may_write(&self, table: Table, bit: Option<Bit>, field: Field) -> Result<(), Refusal> {
        match bit {
            None => Err(refusal(RefusalCode::Unknown, &format!("field {field} cannot be set"))),
            Some(bit) if self.grants.writes(table, bit) => Ok(()),
            Some(bit) => Err(denied(format_args!("writing {}", bit.name()))),
        }
    }

    /// The physical numbers of entries that the guest named by the numbers of its view; all of
    /// them must be granted for writing.
    fn writable_entries(&mut self, table: Table, entries: Vec<u32>) -> Result<Vec<u32>, Refusal> {
        let out_of_range = || refusal(RefusalCode::OutOfRange, "no such entry");
        let all = self.grants.reads_all_attributes(table);
        let Host { batch, grants, views, .. } = self;
        let view = views.get_mut(table as usize).ok_or_else(out_of_range)?;
        let entries = match &view.shown {
            None if all => entries,
            // Unfiltered numbers would tell how many entries are hidden.
            None => {
                return Err(refusal(RefusalCode::NotPossible, "entries have no numbers before `entries` was called"));
            }
            Some(shown) => {
                // By what it was shown: how many there are is not the plugin's to know.
                check_named(entries.len(), shown.len())?;
                let physical = |entry: u32| shown.get(entry as usize).copied().ok_or_else(out_of_range);
                entries.into_iter().map(physical).collect::<Result<_, _>>()?
            }
        };
        if grants.writes_all_attributes(table) {
            return Ok(entries);
        }
        let writable = match &mut view.writable {
            Some(writable) => writable,
            unknown => {
                let keys = batch.entry_keys(table, None)?;
                let granted: Vec<bool> =
                    keys.dictionary.iter().map(|key| grants.writes_attribute(table, key)).collect();
                let is_granted = |key: &u32| granted.get(*key as usize).copied().unwrap_or(false);
                unknown.insert(keys.keys.iter().map(is_granted).collect())
            }
        };
        for &entry in &entries {
            if !*writable.get(entry as usize).ok_or_else(out_of_range)? {
                return Err(denied(format_args!("writing one of these attributes")));
            }
        }
        Ok(entries)
    }
}

/// Of values; those that are no texts take little.
fn bytes(values: &wit::Values) -> usize {
    values.types.len() + values.texts.bytes.len()
}

impl HostBatch for Host {
    fn len(&mut self, _: Handle, number: u32) -> Answer<u32> {
        self.reading(number, |host, table| Ok(host.batch.len(table) as u32))
    }

    fn parents(&mut self, _: Handle, number: u32) -> Answer<Vec<u32>> {
        self.reading(number, |host, table| host.batch.parents(table))
    }

    fn numbers(&mut self, _: Handle, number: u32, field: Field) -> Answer<Vec<u64>> {
        self.reading(number, |host, table| host.batch.numbers(table, field))
    }

    fn numbers_halves(&mut self, _: Handle, number: u32, field: Field) -> Answer<wit::Halves> {
        self.reading(number, |host, table| {
            let numbers = host.batch.numbers(table, field)?;
            let high = numbers.iter().map(|number| (number >> 32) as u32).collect();
            Ok(wit::Halves { high, low: numbers.iter().map(|number| *number as u32).collect() })
        })
    }

    fn durations(&mut self, _: Handle) -> Answer<Vec<u64>> {
        self.reading(Table::Spans as u32, |host, _| Ok(host.batch.durations()))
    }

    fn texts(&mut self, _: Handle, number: u32, field: Field) -> Answer<wit::Texts> {
        self.reading(number, |host, table| {
            let bit = Bit::of_text(table, field).ok_or_else(|| refusal(RefusalCode::Unknown, "no such text field"))?;
            if !host.grants.reads(table, bit) {
                return Err(denied(format_args!("reading {}", bit.name())));
            }
            host.batch.texts(table, field).map(Into::into)
        })
    }

    fn trace_ids(&mut self, _: Handle, number: u32) -> Answer<Vec<u8>> {
        self.reading(number, |host, table| host.may_read_ids(table).and_then(|()| host.batch.trace_ids(table)))
    }

    fn span_ids(&mut self, _: Handle, number: u32) -> Answer<Vec<u8>> {
        self.reading(number, |host, table| host.may_read_ids(table).and_then(|()| host.batch.span_ids(table)))
    }

    fn parent_span_ids(&mut self, _: Handle) -> Answer<Vec<u8>> {
        let ids = |host: &mut Self, table| host.may_read_ids(table).and_then(|()| host.batch.parent_span_ids());
        self.reading(Table::Spans as u32, ids)
    }

    fn attribute(&mut self, _: Handle, number: u32, key: String) -> Answer<Option<wit::Column>> {
        self.reading(number, |host, table| {
            // Before the batch is looked at: a denied key reads the same whether it is there or not.
            if !host.grants.reads_attribute(table, key.as_bytes()) {
                return Err(denied(format_args!("reading the attribute `{}`", shown(&key))));
            }
            let column = host.batch.attribute_if_any(table, key.as_bytes())?.filter(|column| !column.is_absent());
            Ok(column.map(|column| wit::Column { values: column.values.into(), duplicates: column.duplicates }))
        })
    }

    fn entries(&mut self, _: Handle, number: u32) -> Answer<wit::Entries> {
        self.reading(number, |host, table| {
            let Host { batch, grants, .. } = host;
            let granted = |key: &[u8]| grants.reads_attribute(table, key);
            let all = grants.reads_all_attributes(table);
            let (entries, view) = batch.entries(table, if all { None } else { Some(&granted) })?;
            if let Some(place) = host.views.get_mut(table as usize) {
                place.shown = view;
            }
            Ok(wit::Entries { owners: entries.owners, values: entries.values.into() })
        })
    }

    fn entry_keys(&mut self, _: Handle, number: u32) -> Answer<wit::EntryKeys> {
        self.reading(number, |host, table| {
            let Host { batch, grants, .. } = host;
            let granted = |key: &[u8]| grants.reads_attribute(table, key);
            let all = grants.reads_all_attributes(table);
            let keys = batch.entry_keys(table, if all { None } else { Some(&granted) })?;
            Ok(wit::EntryKeys { keys: keys.keys, dictionary: keys.dictionary.into() })
        })
    }

    fn strings(&mut self, _: Handle) -> Answer<wit::Strings> {
        self.reading(Table::Spans as u32, |host, _| {
            let Host { batch, grants, views, .. } = host;
            let (strings, shown) = batch.strings(&**grants)?;
            for (view, shown) in views.iter_mut().zip(shown) {
                view.shown = shown;
            }
            let sluice_spans::Strings { sections, types, texts } = strings;
            Ok(wit::Strings { sections, types, texts: texts.into() })
        })
    }

    fn drop_rows(&mut self, _: Handle, number: u32, rows: Vec<u32>) -> Answer<()> {
        self.editing(number, rows.len(), |host, table| {
            host.may_write(table, Some(Bit::DROP), 0)?;
            host.edits.drop_rows(&mut host.batch, table, &rows)
        })
    }

    fn set_attribute(
        &mut self,
        _: Handle,
        number: u32,
        key: String,
        rows: Vec<u32>,
        values: wit::Values,
    ) -> Answer<()> {
        self.editing(number, rows.len() + bytes(&values), |host, table| {
            host.may_write_attribute(table, &key)?;
            host.edits.set_attribute(&mut host.batch, table, &key, &rows, values.into())
        })
    }

    fn fill_attribute(&mut self, _: Handle, number: u32, key: String, which: u32, value: wit::Values) -> Answer<()> {
        self.editing(number, bytes(&value), |host, table| {
            host.may_write_attribute(table, &key)?;
            if value.types.len() != 1 {
                return Err(refusal(RefusalCode::Malformed, "exactly one value is needed"));
            }
            let rows = match which {
                EVERY_ROW => (0..host.batch.len(table) as u32).collect(),
                ROWS_WITHOUT | ROWS_WITH => host.batch.rows_by_key(table, key.as_bytes(), which == ROWS_WITH),
                _ => return Err(refusal(RefusalCode::Malformed, "no such choice of rows")),
            };
            host.edits.set_attribute(&mut host.batch, table, &key, &rows, value.into())
        })
    }

    fn remove_attribute(&mut self, _: Handle, number: u32, key: String, rows: Vec<u32>) -> Answer<()> {
        self.editing(number, rows.len(), |host, table| {
            host.may_write_attribute(table, &key)?;
            host.edits.remove_attribute(&mut host.batch, table, &key, &rows)
        })
    }

    fn rename_attribute(&mut self, _: Handle, number: u32, key: String, to: String, rows: Vec<u32>) -> Answer<()> {
        self.editing(number, rows.len(), |host, table| {
            host.may_write_attribute(table, &key)?;
            host.may_write_attribute(table, &to)?;
            host.edits.rename_attribute(&mut host.batch, table, &key, &to, &rows)
        })
    }

    fn set_entries(&mut self, _: Handle, number: u32, entries: Vec<u32>, values: wit::Values) -> Answer<()> {
        self.editing(number, entries.len() + bytes(&values), |host, table| {
            let entries = host.writable_entries(table, entries)?;
            host.edits.set_entries(&mut host.batch, table, &entries, values.into())
        })
    }

    fn remove_entries(&mut self, _: Handle, number: u32, entries: Vec<u32>) -> Answer<()> {
        self.editing(number, entries.len(), |host, table| {
            let entries = host.writable_entries(table, entries)?;
            host.edits.remove_entries(&mut host.batch, table, &entries)
        })
    }

    fn set_texts(&mut self, _: Handle, number: u32, field: Field, rows: Vec<u32>, texts: wit::Texts) -> Answer<()> {
        self.editing(number, rows.len() + texts.bytes.len(), |host, table| {
            host.may_write(table, Bit::of_text(table, field), field)?;
            host.edits.set_texts(&mut host.batch, table, field, &rows, texts.into())
        })
    }

    fn set_numbers(&mut self, _: Handle, number: u32, field: Field, rows: Vec<u32>, numbers: Vec<u64>) -> Answer<()> {
        self.editing(number, rows.len(), |host, table| {
            host.may_write(table, Bit::of_number(table, field), field)?;
            host.edits.set_numbers(&mut host.batch, table, field, &rows, &numbers)
        })
    }

    fn clean(&mut self, _: Handle, what: u32) -> Answer<()> {
        self.editing(Table::Spans as u32, 0, |host, _| {
            for (bit, field) in [(CLEAN_OVERRIDDEN, Bit::OVERRIDDEN), (CLEAN_UNKNOWN, Bit::UNKNOWN)] {
                // It is done in all tables or not at all.
                if what & bit != 0 && !Table::ALL.into_iter().all(|table| host.grants.writes(table, field)) {
                    return Err(denied(format_args!("writing {} of every table", field.name())));
                }
            }
            host.edits.clean(what);
            Ok(())
        })
    }

    fn drop(&mut self, _: Handle) -> wasmtime::Result<()> {
        Ok(())
    }
}
