//! The summary: attributes that say what was done to the attributes beside them, as in the Collector.

use std::collections::BTreeMap;

use sluice_sdk::prelude::*;

use crate::attributes::Attributes;
use crate::edits::Edits;
use crate::rules::{Rules, TABLES, Verdict};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summary {
    /// Nothing.
    Silent,
    /// How many.
    Info,
    /// How many, and which.
    Debug,
}

/// The attributes of the summary, and those of the Collector's for log bodies; they are always allowed.
pub const KEYS: [&str; 14] = [
    "redaction.redacted.keys",
    "redaction.redacted.count",
    "redaction.masked.keys",
    "redaction.masked.count",
    "redaction.allowed.keys",
    "redaction.allowed.count",
    "redaction.ignored.count",
    "redaction.body.redacted.keys",
    "redaction.body.redacted.count",
    "redaction.body.masked.keys",
    "redaction.body.masked.count",
    "redaction.body.allowed.keys",
    "redaction.body.allowed.count",
    "redaction.body.ignored.count",
];

/// Adds the summary of a call to every row whose attributes were judged. What an earlier one has said
/// is added to.
pub fn push(rules: &Rules, batch: &Batch<'_>, attributes: &Attributes<'_, '_>, edits: &Edits) -> Result<(), Failure> {
    for (_, table) in TABLES {
        let mut ignored = Vec::new();
        if rules.looks_at_keys() {
            let verdicts = attributes.verdicts(rules, table)?;
            ignored
                .extend((0..).zip(verdicts).filter(|(_, verdict)| *verdict == Verdict::Keep).map(|(entry, _)| entry));
        }
        let outcomes: [(&str, &[u32], bool); 4] = [
            ("redacted", edits.removed(table), true),
            ("masked", edits.replaced(table), true),
            ("allowed", edits.allowed(table), true),
            ("ignored", &ignored, false),
        ];
        for (outcome, entries, named) in outcomes {
            let mut rows: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
            for &entry in entries {
                let row = attributes.owner(table, entry as usize)?;
                rows.entry(row).or_default().push(attributes.key(rules, table, entry as usize)?);
            }
            if rows.is_empty() {
                continue;
            }
            if named && rules.summary == Summary::Debug {
                names(batch, table, &format!("redaction.{outcome}.keys"), &mut rows)?;
            }
            counts(batch, table, &format!("redaction.{outcome}.count"), &rows)?;
        }
    }
    Ok(())
}

/// The keys, in order, with commas between them.
fn names(batch: &Batch<'_>, table: Table, key: &str, rows: &mut BTreeMap<u32, Vec<&str>>) -> Result<(), Failure> {
    let before = batch.attribute(table, key)?;
    let mut texts = Texts::default();
    for (row, keys) in &mut *rows {
        let said = before.values.str(*row as usize).unwrap_or_default();
        let mut all: Vec<&str> = keys.iter().copied().chain(said.split(',').filter(|key| !key.is_empty())).collect();
        all.sort_unstable();
        texts.push(all.join(",").as_bytes());
    }
    let at: Vec<u32> = rows.keys().copied().collect();
    Ok(batch.set_attribute(table, key, &at, Values::strings(texts))?)
}

fn counts(batch: &Batch<'_>, table: Table, key: &str, rows: &BTreeMap<u32, Vec<&str>>) -> Result<(), Failure> {
    let before = batch.attribute(table, key)?;
    let mut values = Values::default();
    for (row, keys) in rows {
        let row = *row as usize;
        let said = if before.values.kind(row) == sluice_sdk::kind::INT { before.values.bits(row) as i64 } else { 0 };
        values.push_from(&Values::int(said.saturating_add(keys.len() as i64)), 0);
    }
    let at: Vec<u32> = rows.keys().copied().collect();
    Ok(batch.set_attribute(table, key, &at, values)?)
}
