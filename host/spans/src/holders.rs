//! Which rows have an attribute.

use crate::{Batch, Column, Table};

impl Batch {
    /// The rows that have an attribute, or with `has` false those that lack it, ascending.
    pub fn rows_by_key(&mut self, table: Table, key: &[u8], has: bool) -> Vec<u32> {
        let is_common = self.find_attribute(table, key);
        let Self { store, index, .. } = self;
        let index = index.table(table);
        let rows = index.rows.len() as u32;
        if is_common {
            return if has { (0..rows).collect() } else { Vec::new() };
        }
        let occurrences = index.attributes.iter().flat_map(|attributes| attributes.occurrences(store, key));
        let mut holders: Vec<u32> = occurrences.map(|(row, _)| row).collect();
        holders.dedup();
        if has {
            return holders;
        }
        let mut others = Vec::with_capacity(rows as usize);
        let mut next = 0;
        for holder in holders {
            others.extend(next..holder);
            next = holder + 1;
        }
        others.extend(next..rows);
        others
    }
}

impl Column {
    /// Whether no row has the attribute, or none has a value for it.
    pub fn is_absent(&self) -> bool {
        self.duplicates.is_empty() && self.values.types.iter().all(|kind| *kind == 0)
    }
}
