//! Which rows have an attribute.

use crate::{Batch, Column, Table};

impl Batch {
    /// The rows that have an attribute, or with `has` false those that lack it, ascending.
    pub fn rows_by_key(&mut self, table: Table, key: &[u8], has: bool) -> Vec<u32> {
        let is_common = self.find_attribute(table, key);
        let Self { store, index, .. } = self;
        let index = index.table(table);
        if is_common {
            return if has { (0..index.rows.len() as u32).collect() } else { Vec::new() };
        }
        let occurrences = index.attributes.iter().flat_map(|attributes| attributes.occurrences(store, key));
        let mut holders: Vec<u32> = occurrences.map(|(row, _)| row).collect();
        holders.dedup();
        if has {
            return holders;
        }
        let mut holders = holders.into_iter().peekable();
        (0..index.rows.len() as u32).filter(|row| holders.next_if_eq(row).is_none()).collect()
    }
}

impl Column {
    /// Whether no row has the attribute, or none has a value for it.
    pub fn is_absent(&self) -> bool {
        self.duplicates.is_empty() && self.values.types.iter().all(|kind| *kind == 0)
    }
}
