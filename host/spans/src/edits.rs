//! Edits that are staged, and applied together by [`Batch::commit`].

use crate::check::{check_count, check_entries, check_rows, checked, effective, size_of};
use crate::layout::{ColumnAt, Width};
use crate::read::no_field;
use crate::rewrite::Take;
use crate::wire::MAX_BYTES;
use crate::{Batch, Field, Refusal, Table, Texts, Values};

/// The edits of one call, in order: of two edits of one thing the later wins.
///
/// Each method checks its arguments against the batch as it is (rows, lengths, UTF-8) and either
/// refuses, staging nothing, or stages the edit. Row and entry numbers are those of the batch
/// before the commit, all along. A list of values has one for each row, or one for all; if a row
/// is listed more than once, the last counts, but not any number of times.
#[derive(Debug, Default)]
pub struct Edits {
    pub(crate) staged: Vec<Edit>,
    pub(crate) clean: Take,
    /// Whether a staged array or kvlist has fields that OTLP does not know.
    pub(crate) has_unknown: bool,
    bytes: usize,
}

/// One staged edit; its rows or entries are strictly ascending.
#[derive(Debug)]
pub(crate) struct Edit {
    pub table: Table,
    pub targets: Targets,
    pub change: Change,
}

/// Row or entry numbers, each with the place of its value in the list of values.
#[derive(Debug)]
pub(crate) struct Targets {
    /// So many from 0 on, each at its own place; then there are no `pairs`.
    first: u32,
    pairs: Vec<(u32, u32)>,
}

/// What an edit takes until it is applied, beside its values, and what each of its rows or entries takes.
const EDIT_BYTES: usize = std::mem::size_of::<Edit>();
const TARGET_BYTES: usize = std::mem::size_of::<(u32, u32)>();

#[derive(Debug)]
pub(crate) enum Change {
    Drop,
    Set(String, Values),
    Remove(String),
    Rename(String, String),
    SetEntries(Values),
    RemoveEntries,
    Texts(ColumnAt, Texts),
    Numbers(ColumnAt, Vec<u64>),
}

impl Targets {
    fn new(rows: &[u32]) -> Self {
        let is_sorted = rows.is_sorted_by(|a, b| a < b);
        if is_sorted && rows.last().is_none_or(|last| *last as usize + 1 == rows.len()) {
            return Self { first: rows.len() as u32, pairs: Vec::new() };
        }
        let mut pairs: Vec<(u32, u32)> = rows.iter().copied().zip(0..).collect();
        if !is_sorted {
            // Descending places within a row, so that the last one is what stays.
            pairs.sort_unstable_by_key(|&(row, place)| (row, u32::MAX - place));
            pairs.dedup_by_key(|pair| pair.0);
        }
        Self { first: 0, pairs }
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.first as usize + self.pairs.len()
    }

    /// The numbers, each with the place of its value among `values` values.
    pub fn iter(&self, values: usize) -> impl Iterator<Item = (u32, usize)> {
        let of_all = values == 1;
        let first = (0..self.first).map(|number| (number, number));
        let all = first.chain(self.pairs.iter().copied());
        all.map(move |(row, place)| (row, if of_all { 0 } else { place as usize }))
    }
}

impl Edits {
    /// No edits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Drops rows of spans, events or links.
    ///
    /// # Errors
    /// Another table, or a row out of range.
    pub fn drop_rows(&mut self, b: &mut Batch, t: Table, rows: &[u32]) -> Result<(), Refusal> {
        if matches!(t, Table::Resources | Table::Scopes) {
            let noun = t.noun();
            return Err(Refusal::not_possible(format!("a {noun} cannot be dropped")));
        }
        check_rows(b, t, rows)?;
        self.stage(b, t, rows, 0, Change::Drop)
    }

    /// Sets an attribute: replaces its first occurrence and removes the others, or adds it.
    ///
    /// # Errors
    /// A row out of range, or values that are not well formed.
    pub fn set_attribute(
        &mut self,
        b: &mut Batch,
        t: Table,
        key: &str,
        rows: &[u32],
        values: Values,
    ) -> Result<(), Refusal> {
        check_rows(b, t, rows)?;
        let (values, nested) = checked(values, rows.len())?;
        self.has_unknown |= nested.unknown;
        let size = size_of(&values, rows.len()) + rows.len() * (key.len() + 16);
        self.stage(b, t, rows, size, Change::Set(key.to_owned(), values))
    }

    /// Removes every occurrence of a key.
    ///
    /// # Errors
    /// A row out of range.
    pub fn remove_attribute(&mut self, b: &mut Batch, t: Table, key: &str, rows: &[u32]) -> Result<(), Refusal> {
        check_rows(b, t, rows)?;
        self.stage(b, t, rows, key.len(), Change::Remove(key.to_owned()))
    }

    /// Gives the first occurrence of a key the key `to`, at its place; other occurrences of
    /// either key are removed. Rows without the key are left alone.
    ///
    /// # Errors
    /// A row out of range.
    pub fn rename_attribute(
        &mut self,
        b: &mut Batch,
        t: Table,
        key: &str,
        to: &str,
        rows: &[u32],
    ) -> Result<(), Refusal> {
        check_rows(b, t, rows)?;
        let size = key.len() + rows.len() * (to.len() + 8);
        let change = Change::Rename(key.to_owned(), to.to_owned());
        self.stage(b, t, rows, size, change)
    }

    /// Replaces the values of entries, by the numbers of [`Batch::entries`]. An entry that an
    /// earlier edit of this call removed is there again, with the new value.
    ///
    /// # Errors
    /// An entry out of range, or values that are not well formed.
    pub fn set_entries(&mut self, b: &mut Batch, t: Table, entries: &[u32], values: Values) -> Result<(), Refusal> {
        check_entries(b, t, entries)?;
        let (values, nested) = checked(values, entries.len())?;
        self.has_unknown |= nested.unknown;
        let size = size_of(&values, entries.len()) + entries.len() * 16;
        self.stage(b, t, entries, size, Change::SetEntries(values))
    }

    /// Removes entries, by the numbers of [`Batch::entries`].
    ///
    /// # Errors
    /// An entry out of range.
    pub fn remove_entries(&mut self, b: &mut Batch, t: Table, entries: &[u32]) -> Result<(), Refusal> {
        check_entries(b, t, entries)?;
        self.stage(b, t, entries, 0, Change::RemoveEntries)
    }

    /// Sets a text field of rows.
    ///
    /// # Errors
    /// A row out of range, no such field, or texts that are not well formed.
    pub fn set_texts(&mut self, b: &mut Batch, t: Table, f: Field, rows: &[u32], texts: Texts) -> Result<(), Refusal> {
        let column = t.column(f);
        let Some(column @ (ColumnAt::Text(..) | ColumnAt::SchemaUrl)) = column else {
            return Err(no_field(t, "text", f));
        };
        check_rows(b, t, rows)?;
        check_count(texts.len(), rows.len())?;
        if !texts.is_well_formed() {
            return Err(Refusal::malformed("the ends of the texts do not fit"));
        }
        if !texts.bytes.is_ascii() && !texts.iter().all(|text| std::str::from_utf8(text).is_ok()) {
            return Err(Refusal::malformed("a text is not UTF-8"));
        }
        let size = effective(texts.bytes.len(), texts.len(), rows.len()) + rows.len() * 16;
        self.stage(b, t, rows, size, Change::Texts(column, texts))
    }

    /// Sets a numeric field of rows. Enum numbers may be negative, sign extended.
    ///
    /// # Errors
    /// A row out of range, no such field, or a number that the field cannot hold.
    pub fn set_numbers(
        &mut self,
        b: &mut Batch,
        t: Table,
        f: Field,
        rows: &[u32],
        numbers: &[u64],
    ) -> Result<(), Refusal> {
        let Some(column @ ColumnAt::Number(_, _, width)) = t.column(f) else {
            return Err(no_field(t, "numeric", f));
        };
        check_rows(b, t, rows)?;
        check_count(numbers.len(), rows.len())?;
        let fits = |&number: &u64| match width {
            Width::Int32 => i32::try_from(number as i64).is_ok(),
            Width::Uint32 | Width::Fixed32 => u32::try_from(number).is_ok(),
            Width::Fixed64 => true,
        };
        if let Some(number) = numbers.iter().find(|number| !fits(number)) {
            let text = format!("field {f} cannot hold {number}, it has 32 bits");
            return Err(Refusal::malformed(text));
        }
        let size = rows.len() * 24;
        self.stage(b, t, rows, size, Change::Numbers(column, numbers.to_vec()))
    }

    /// Takes out of the whole batch what no column shows, after all other edits. Bits of `what`:
    /// 1 the overridden occurrences of fields that protobuf lets occur once, 2 fields that OTLP
    /// does not know; other bits mean nothing yet. Costs nothing when there are none.
    pub fn clean(&mut self, what: u32) {
        self.clean.overridden |= what & 1 != 0;
        self.clean.unknown |= what & 2 != 0;
    }

    /// An upper bound of what the staged edits add to the output, and of what they take until they are applied, in
    /// bytes. A value set on many rows counts for each of them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is staged.
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty() && self.clean == Take::default()
    }

    fn stage(&mut self, b: &Batch, table: Table, rows: &[u32], size: usize, change: Change) -> Result<(), Refusal> {
        let kept = EDIT_BYTES + rows.len() * TARGET_BYTES;
        let total = self.bytes.saturating_add(size).saturating_add(kept);
        // The arena may hold a normalised copy of the wire as well, but never twice as much.
        let before = b.wire_len().saturating_add(b.grown);
        if before.saturating_add(total) > MAX_BYTES {
            return Err(Refusal::limit("the batch would grow beyond 1 GiB"));
        }
        self.bytes = total;
        if !rows.is_empty() {
            self.staged.push(Edit { table, targets: Targets::new(rows), change });
        }
        Ok(())
    }
}
