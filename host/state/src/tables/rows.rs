//! Rows kept column by column, found by a key.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use sluice_spans::Texts;

use super::BadTable;

/// Bytes that a cell costs beside its text: where it ends, and whether it is there.
const CELL_BYTES: usize = 5;

/// Bytes that a row costs in the index, at most.
const INDEX_BYTES: usize = 16;

/// A place in the index that holds no row.
const FREE: u32 = u32::MAX;

/// The rows of a table.
#[derive(Debug)]
pub(super) struct Rows {
    columns: Vec<Column>,
    by_name: HashMap<String, usize>,
    key: usize,
    len: usize,
    /// Row numbers, each at the place that its key's hash names or at the next free one after it.
    /// At least half of the places are free.
    index: Vec<u32>,
    hasher: RandomState,
    bytes: usize,
}

/// One text a row, or none.
#[derive(Debug, Default)]
pub(super) struct Column {
    texts: Texts,
    present: Vec<bool>,
}

impl Column {
    /// The text of a row.
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        let present = self.present.get(row).copied().unwrap_or(false);
        present.then(|| self.texts.get(row))
    }

    fn push(&mut self, text: Option<&str>) {
        self.texts.push(text.unwrap_or_default().as_bytes());
        self.present.push(text.is_some());
    }

    fn push_missing(&mut self, rows: usize) {
        for _ in 0..rows {
            self.push(None);
        }
    }
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.get(*self.by_name.get(name)?)
    }

    /// The names of the columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The row with a key.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        let row = *self.index.get(self.place(key)?)?;
        (row != FREE).then_some(row as usize)
    }

    /// Where in the index the row with a key is, or would be.
    fn place(&self, key: &[u8]) -> Option<usize> {
        let keys = self.columns.get(self.key)?;
        let mask = self.index.len().checked_sub(1)?;
        let mut place = self.hasher.hash_one(key) as usize & mask;
        loop {
            let row = *self.index.get(place)?;
            if row == FREE || keys.get(row as usize) == Some(key) {
                return Some(place);
            }
            place = (place + 1) & mask;
        }
    }
}

/// Rows under construction. Nothing grows beyond the limit before it is refused.
pub(super) struct Builder {
    columns: Vec<Column>,
    by_name: HashMap<String, usize>,
    rows: usize,
    bytes: usize,
    /// Every position in a column must fit into 32 bits.
    most_bytes: usize,
}

impl Builder {
    pub(super) fn new(most_bytes: usize) -> Self {
        let most_bytes = most_bytes.min(u32::MAX as usize);
        Self { columns: Vec::new(), by_name: HashMap::new(), rows: 0, bytes: 0, most_bytes }
    }

    /// The number of a column, which is added if it is not there.
    pub(super) fn column(&mut self, name: &str) -> Result<usize, BadTable> {
        if let Some(&number) = self.by_name.get(name) {
            return Ok(number);
        }
        self.need(name.len().saturating_add(size_of::<Column>()).saturating_add(self.rows.saturating_mul(CELL_BYTES)))?;
        let mut column = Column::default();
        column.push_missing(self.rows);
        self.by_name.insert(name.to_owned(), self.columns.len());
        self.columns.push(column);
        Ok(self.columns.len() - 1)
    }

    pub(super) fn has_column(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Sets a cell of the present row, once.
    pub(super) fn set(&mut self, column: usize, text: &str) -> Result<(), BadTable> {
        self.need(text.len())?;
        if let Some(column) = self.columns.get_mut(column) {
            column.push(Some(text));
        }
        Ok(())
    }

    /// Ends the row; what was not set is missing.
    pub(super) fn end_row(&mut self) -> Result<(), BadTable> {
        self.need(self.columns.len().saturating_mul(CELL_BYTES).saturating_add(INDEX_BYTES))?;
        self.rows += 1;
        for column in &mut self.columns {
            column.push_missing(self.rows.saturating_sub(column.present.len()));
        }
        Ok(())
    }

    fn need(&mut self, bytes: usize) -> Result<(), BadTable> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.most_bytes { Err(BadTable::TooLarge(self.most_bytes)) } else { Ok(()) }
    }

    /// The table, its rows known by this column.
    pub(super) fn finish(self, key: &str) -> Result<Rows, BadTable> {
        let Self { columns, by_name, rows: len, bytes, .. } = self;
        let number = *by_name.get(key).ok_or_else(|| BadTable::NoKey(key.to_owned()))?;
        let index = vec![FREE; (len * 2).next_power_of_two()];
        let mut rows = Rows { columns, by_name, key: number, len, index, hasher: RandomState::new(), bytes };
        for row in 0..len {
            let without_key = || BadTable::RowWithoutKey { row: row + 1, key: key.to_owned() };
            let text = rows.columns.get(number).and_then(|keys| keys.get(row)).ok_or_else(without_key)?;
            if let Some(first) = rows.find(text) {
                let key = String::from_utf8_lossy(text).into_owned();
                return Err(BadTable::Twice { key, first: first + 1, second: row + 1 });
            }
            let place = rows.place(text);
            if let Some(free) = place.and_then(|place| rows.index.get_mut(place)) {
                *free = row as u32;
            }
        }
        Ok(rows)
    }
}
