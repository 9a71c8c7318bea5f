//! The attribute tables of a batch, each fetched when it is first asked for.

use std::cell::OnceCell;

use sluice_sdk::prelude::*;
use sluice_sdk::{Entries, EntryKeys, kind};

use crate::rules::{Rules, Verdict};

/// The attribute tables of the batch of one call.
pub struct Attributes<'a, 'b> {
    batch: &'a Batch<'b>,
    keys: [OnceCell<Keys>; 5],
    entries: [OnceCell<Entries>; 5],
}

/// The keys of a table, each judged once however often it occurs.
struct Keys {
    keys: EntryKeys,
    verdicts: Vec<Verdict>,
}

impl<'a, 'b> Attributes<'a, 'b> {
    pub fn new(batch: &'a Batch<'b>) -> Self {
        Self { batch, keys: Default::default(), entries: Default::default() }
    }

    fn keys(&self, rules: &Rules, table: Table) -> Result<Option<&Keys>, Failure> {
        let Some(cell) = self.keys.get(table as usize) else { return Ok(None) };
        if cell.get().is_none() {
            let keys = self.batch.entry_keys(table)?;
            let verdicts = (0..keys.dictionary.len()).map(|key| rules.key(keys.dictionary.str(key))).collect();
            return Ok(Some(cell.get_or_init(|| Keys { keys, verdicts })));
        }
        Ok(cell.get())
    }

    /// What the keys alone decide, for each entry.
    pub fn verdicts(&self, rules: &Rules, table: Table) -> Result<Vec<Verdict>, Failure> {
        let Some(keys) = self.keys(rules, table)? else { return Ok(Vec::new()) };
        let verdict = |key: &u32| keys.verdicts.get(*key as usize).copied().unwrap_or(Verdict::Remove);
        Ok(keys.keys.keys.iter().map(verdict).collect())
    }

    /// What the key of an entry decides; an entry whose key is not known is not left alone.
    pub fn verdict(&self, rules: &Rules, table: Table, entry: usize) -> Result<Verdict, Failure> {
        if !rules.looks_at_keys() {
            return Ok(Verdict::Scan);
        }
        let Some(keys) = self.keys(rules, table)? else { return Ok(Verdict::Scan) };
        let key = keys.keys.keys.get(entry);
        Ok(key.and_then(|key| keys.verdicts.get(*key as usize)).copied().unwrap_or(Verdict::Scan))
    }

    /// The key of an entry.
    pub fn key(&self, rules: &Rules, table: Table, entry: usize) -> Result<&str, Failure> {
        let Some(keys) = self.keys(rules, table)? else { return Ok("") };
        let key = keys.keys.keys.get(entry).copied().unwrap_or(u32::MAX);
        Ok(keys.keys.dictionary.str(key as usize))
    }

    /// The entries of a table.
    pub fn entries(&self, table: Table) -> Result<Option<&Entries>, Failure> {
        let Some(cell) = self.entries.get(table as usize) else { return Ok(None) };
        if cell.get().is_none() {
            let entries = self.batch.entries(table)?;
            return Ok(Some(cell.get_or_init(|| entries)));
        }
        Ok(cell.get())
    }

    /// The row to which an entry belongs.
    pub fn owner(&self, table: Table, entry: usize) -> Result<u32, Failure> {
        Ok(self.entries(table)?.and_then(|entries| entries.owners.get(entry)).copied().unwrap_or(u32::MAX))
    }
}

/// A value as text: a number in decimal, an array or a map as its bytes.
pub fn text(values: &Values, i: usize) -> Vec<u8> {
    match values.kind(i) {
        kind::BOOL => (values.bits(i) != 0).to_string().into_bytes(),
        kind::INT => (values.bits(i) as i64).to_string().into_bytes(),
        kind::DOUBLE => f64::from_bits(values.bits(i)).to_string().into_bytes(),
        _ => values.texts.get(i).to_vec(),
    }
}
