//! Column reads.

use crate::gather::{Keys, gather};
use crate::layout::ColumnAt;
use crate::row_fields::{NO_ID, RowFields, column};
use crate::store::{Loc, Store};
use crate::{Batch, Column, Entries, EntryKeys, Field, Refusal, Table, Texts, Values, fields};

/// Says which attribute keys may be seen.
type Granted<'a> = Option<&'a dyn Fn(&[u8]) -> bool>;

impl Batch {
    /// The row that owns each row: scope of a span, resource of a scope, span of an event or
    /// link.
    ///
    /// # Errors
    /// Resources have no owner.
    pub fn parents(&mut self, table: Table) -> Result<Vec<u32>, Refusal> {
        if table == Table::Resources {
            return Err(Refusal::not_possible("resources have no parents"));
        }
        self.load_rows(table);
        let rows = &self.index.table(table).rows;
        Ok(rows.iter().map(|row| row.parent).collect())
    }

    /// A numeric field of every row; 0 where it is not set. A negative enum number is sign
    /// extended.
    ///
    /// # Errors
    /// The table has no such numeric field.
    pub fn numbers(&mut self, table: Table, field: Field) -> Result<Vec<u64>, Refusal> {
        let Some(ColumnAt::Number(slot, ..)) = table.column(field) else {
            return Err(no_field(table, "numeric", field));
        };
        let fields = self.fields(table);
        Ok(fields.map_or_else(Vec::new, |fields| fields.numbers(slot).collect()))
    }

    /// End minus start of every span in nanoseconds; 0 if it ends before it starts.
    pub fn durations(&mut self) -> Vec<u64> {
        let starts = self.numbers(Table::Spans, fields::span::START_TIME_UNIX_NANO);
        let ends = self.numbers(Table::Spans, fields::span::END_TIME_UNIX_NANO);
        let pairs = starts.into_iter().flatten().zip(ends.into_iter().flatten());
        pairs.map(|(start, end)| end.saturating_sub(start)).collect()
    }

    /// A text field of every row; empty where it is not set.
    ///
    /// # Errors
    /// The table has no such text field.
    pub fn texts(&mut self, table: Table, field: Field) -> Result<Texts, Refusal> {
        let (store, rows, places) = self.text_places(table, field)?;
        Ok(pack(store, rows, places))
    }

    /// How many rows there are, and where a text field of every one is.
    pub(crate) fn text_places(
        &mut self,
        table: Table,
        field: Field,
    ) -> Result<(&Store, usize, impl Iterator<Item = Loc> + Clone), Refusal> {
        let slot = match table.column(field) {
            Some(ColumnAt::Text(slot, _)) => Some(slot),
            Some(ColumnAt::SchemaUrl) => None,
            _ => return Err(no_field(table, "text", field)),
        };
        if slot.is_some() {
            self.load_fields(table);
        } else {
            self.load_rows(table);
        }
        let index = self.index.table(table);
        let (items, width): (&[Loc], _) = match slot {
            Some(_) => index.fields.as_ref().map_or((&[], 1), RowFields::texts),
            None => (&index.schema_urls, 1),
        };
        Ok((&self.store, index.rows.len(), column(items, width, slot.unwrap_or(0))))
    }

    /// 16 bytes a row.
    ///
    /// # Errors
    /// Only spans and links have trace ids.
    pub fn trace_ids(&mut self, table: Table) -> Result<Vec<u8>, Refusal> {
        self.ids::<16>(table, 0)
    }

    /// 8 bytes a row.
    ///
    /// # Errors
    /// Only spans and links have span ids.
    pub fn span_ids(&mut self, table: Table) -> Result<Vec<u8>, Refusal> {
        self.ids::<8>(table, 1)
    }

    /// 8 bytes a span; zeros for a root.
    ///
    /// # Errors
    /// None today; the signature is that of the other ids.
    pub fn parent_span_ids(&mut self) -> Result<Vec<u8>, Refusal> {
        self.ids::<8>(Table::Spans, 2)
    }

    fn ids<const N: usize>(&mut self, table: Table, slot: usize) -> Result<Vec<u8>, Refusal> {
        if slot >= table.layout().ids {
            let noun = table.noun();
            return Err(Refusal::unknown(format!("a {noun} has no such id")));
        }
        self.load_fields(table);
        let index = self.index.table(table);
        let mut out = vec![0; index.rows.len() * N];
        let Some(fields) = &index.fields else { return Ok(out) };
        for (id, at) in out.as_chunks_mut::<N>().0.iter_mut().zip(fields.ids(slot)) {
            if at != NO_ID {
                *id = self.store.array(at);
            }
        }
        Ok(out)
    }

    /// One attribute over all rows: its first occurrence in each, and the rows in which it
    /// occurs again.
    ///
    /// # Errors
    /// The key is not UTF-8.
    pub fn attribute(&mut self, table: Table, key: &[u8]) -> Result<Column, Refusal> {
        if let Some(column) = self.attribute_if_any(table, key)? {
            return Ok(column);
        }
        let types = vec![0; self.index.table(table).rows.len()];
        Ok(Column { values: Values { types, ..Values::default() }, duplicates: Vec::new() })
    }

    /// The same; nothing if no row has it.
    ///
    /// # Errors
    /// As [`Batch::attribute`].
    pub fn attribute_if_any(&mut self, table: Table, key: &[u8]) -> Result<Option<Column>, Refusal> {
        if std::str::from_utf8(key).is_err() {
            return Err(Refusal::malformed("the key is not UTF-8"));
        }
        if self.find_attribute(table, key) {
            self.load_attributes(table);
        }
        let store = &self.store;
        let index = self.index.table(table);
        let mut found = index.attributes.iter().flat_map(|attributes| attributes.occurrences(store, key)).peekable();
        if found.peek().is_none() {
            return Ok(None);
        }
        let mut column = vec![None; index.rows.len()];
        let mut duplicates = Vec::new();
        for (row, entry) in found {
            match column.get_mut(row as usize) {
                Some(place @ None) => *place = Some(entry),
                _ if duplicates.last() == Some(&row) => {}
                _ => duplicates.push(row),
            }
        }
        Ok(Some(Column { values: gather(store, column.iter().copied()), duplicates }))
    }

    /// Every occurrence of every granted attribute, all of them without `granted`. If it leaves
    /// any out, the second answer is the number of each entry that is in: what
    /// [`crate::Edits::set_entries`] wants to be told. `granted` is asked once a distinct key.
    ///
    /// # Errors
    /// None today.
    pub fn entries(&mut self, table: Table, granted: Granted<'_>) -> Result<(Entries, Option<Vec<u32>>), Refusal> {
        self.load_attributes(table);
        let index = self.index.table(table);
        let Some(attributes) = &index.attributes else {
            return Ok((Entries::default(), granted.map(|_| Vec::new())));
        };
        let all = attributes.entries();
        let Some(granted) = granted else {
            let mut owners = Vec::with_capacity(all.len());
            for (row, entries) in (0..).zip(attributes.rows()) {
                owners.resize(owners.len() + entries.len(), row);
            }
            return Ok((Entries { owners, values: gather(&self.store, all.iter().map(Some)) }, None));
        };
        let keys = Keys::of(&self.store, attributes);
        let shown: Vec<bool> = keys.texts.iter().map(|key| granted(key)).collect();
        let is_shown = |number: usize| {
            let key = keys.of_entries.get(number);
            key.and_then(|&key| shown.get(key as usize)).copied().unwrap_or(false)
        };
        let (mut owners, mut numbers, mut visible) = (Vec::new(), Vec::new(), Vec::new());
        for (row, entries) in attributes.rows().enumerate() {
            for (number, entry) in attributes.range(row).zip(entries).filter(|(number, _)| is_shown(*number)) {
                owners.push(row as u32);
                numbers.push(number as u32);
                visible.push(Some(entry));
            }
        }
        let values = gather(&self.store, visible.iter().copied());
        Ok((Entries { owners, values }, Some(numbers)))
    }

    /// The keys of those entries; the dictionary has each granted key once.
    ///
    /// # Errors
    /// None today.
    pub fn entry_keys(&mut self, table: Table, granted: Granted<'_>) -> Result<EntryKeys, Refusal> {
        self.load_attributes(table);
        let Some(attributes) = &self.index.table(table).attributes else {
            return Ok(EntryKeys::default());
        };
        let found = Keys::of(&self.store, attributes);
        let mut dictionary = Texts::new();
        let numbers: Vec<Option<u32>> = found
            .texts
            .iter()
            .map(|key| {
                let is_granted = granted.is_none_or(|granted| granted(key));
                is_granted.then(|| {
                    dictionary.push(key);
                    dictionary.len() as u32 - 1
                })
            })
            .collect();
        let number = |key: &u32| numbers.get(*key as usize).copied().flatten();
        let keys = found.of_entries.iter().filter_map(number).collect();
        Ok(EntryKeys { keys, dictionary })
    }

    fn fields(&mut self, table: Table) -> Option<&RowFields> {
        self.load_fields(table);
        self.index.table(table).fields.as_ref()
    }
}

/// Texts from where they are, back to back.
fn pack(store: &Store, rows: usize, texts: impl Iterator<Item = Loc> + Clone) -> Texts {
    let bytes: usize = texts.clone().map(|text| text.len as usize).sum();
    if bytes == 0 {
        return Texts { ends: vec![0; rows], bytes: Vec::new() };
    }
    let mut packed = Texts::with_capacity(rows, bytes + Store::SLACK);
    for text in texts {
        store.append(text, &mut packed.bytes);
        packed.ends.push(packed.bytes.len() as u32);
    }
    packed
}

pub(crate) fn no_field(table: Table, kind: &str, field: Field) -> Refusal {
    let noun = table.noun();
    Refusal::unknown(format!("a {noun} has no {kind} field {field}"))
}
