//! What is going to be edited.

use sluice_sdk::prelude::*;
use sluice_sdk::{Section, kind};

use crate::attributes::{self, Attributes};
use crate::replace::Mode;
use crate::rules::{Rules, Verdict};

/// Edits of one call.
#[derive(Default)]
pub struct Edits {
    replaced: [(Vec<u32>, Values); 5],
    removed: [Vec<u32>; 5],
    allowed: [Vec<u32>; 5],
    texts: Vec<(Table, u32, Vec<u32>, Texts)>,
}

impl Edits {
    /// Attributes that get another value.
    pub fn replaced(&self, table: Table) -> &[u32] {
        self.replaced.get(table as usize).map_or(&[], |(entries, _)| entries)
    }

    /// Attributes that go.
    pub fn removed(&self, table: Table) -> &[u32] {
        self.removed.get(table as usize).map_or(&[], |entries| entries)
    }

    /// Attributes whose values are allowed.
    pub fn allowed(&self, table: Table) -> &[u32] {
        self.allowed.get(table as usize).map_or(&[], |entries| entries)
    }

    /// Notes what keys alone decide.
    pub fn by_key(&mut self, rules: &Rules, attributes: &Attributes<'_, '_>, table: Table) -> Result<(), Failure> {
        let needs_value = !matches!(rules.mode, Mode::Mask | Mode::Drop) || !rules.allowed_values.is_empty();
        for (entry, verdict) in attributes.verdicts(rules, table)?.into_iter().enumerate() {
            match verdict {
                Verdict::Remove => self.remove(table, entry),
                Verdict::Mask => {
                    let entries = if needs_value { attributes.entries(table)? } else { None };
                    let value = entries.map(|entries| attributes::text(&entries.values, entry)).unwrap_or_default();
                    if rules.allows(&value) {
                        self.allow(table, entry);
                    } else if matches!(rules.mode, Mode::Drop) {
                        self.remove(table, entry);
                    } else {
                        self.replace(table, entry, kind::STRING, &rules.mode.whole(&value));
                    }
                }
                Verdict::Keep | Verdict::Scan => {}
            }
        }
        Ok(())
    }

    /// Notes an attribute that goes.
    pub fn remove(&mut self, table: Table, entry: usize) {
        if let Some(removed) = self.removed.get_mut(table as usize) {
            removed.push(entry as u32);
        }
    }

    /// Notes an attribute whose value is allowed.
    pub fn allow(&mut self, table: Table, entry: usize) {
        if let Some(allowed) = self.allowed.get_mut(table as usize) {
            allowed.push(entry as u32);
        }
    }

    /// Notes the new value of an attribute.
    pub fn replace(&mut self, table: Table, entry: usize, kind: u8, text: &[u8]) {
        if let Some((entries, values)) = self.replaced.get_mut(table as usize) {
            entries.push(entry as u32);
            values.push(kind, 0, text);
        }
    }

    /// Notes the new text of a field.
    pub fn set_text(&mut self, section: &Section, field: u32, row: usize, text: &[u8]) {
        match self.texts.last_mut() {
            Some((table, known, rows, texts)) if (*table, *known) == (section.table, field) => {
                rows.push(row as u32);
                texts.push(text);
            }
            _ => {
                let mut texts = Texts::default();
                texts.push(text);
                self.texts.push((section.table, field, vec![row as u32], texts));
            }
        }
    }

    /// Makes them.
    pub fn push(self, batch: &Batch<'_>) -> Result<(), Failure> {
        for ((table, removed), (entries, values)) in Table::ALL.into_iter().zip(self.removed).zip(self.replaced) {
            if !removed.is_empty() {
                batch.remove_entries(table, &removed)?;
            }
            if !entries.is_empty() {
                batch.set_entries(table, &entries, values)?;
            }
        }
        for (table, field, rows, texts) in self.texts {
            batch.set_texts(table, field, &rows, texts)?;
        }
        Ok(())
    }
}
