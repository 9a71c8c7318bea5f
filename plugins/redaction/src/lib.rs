//! The `redaction` processor: masks what must not leave, wherever a string can be.
//!
//! With the Collector's keys it allows attributes by key and masks values by pattern; `detectors`
//! find payment cards, e-mail addresses and credentials without a pattern. It looks at resource,
//! scope, span, event and link attributes (strings, bytes, and what is nested in arrays and maps),
//! at names of scopes, spans and events, and at status messages.

mod config;
mod detect;
mod mask;
mod scan;

use sluice_sdk::prelude::*;
use sluice_sdk::{fields, kind};

pub use config::Config;
use config::{Rules, Verdict};

/// Overridden occurrences of fields would hide values from every column.
const CLEAN_OVERRIDDEN: u32 = 1;
/// Nobody can say what is in a field that OTLP does not know.
const CLEAN_UNKNOWN: u32 = 2;

/// The text fields that are looked at.
const TEXTS: [(Table, u32); 5] = [
    (Table::Scopes, fields::SCOPE_NAME),
    (Table::Scopes, fields::SCOPE_VERSION),
    (Table::Spans, fields::SPAN_NAME),
    (Table::Spans, fields::STATUS_MESSAGE),
    (Table::Events, fields::EVENT_NAME),
];

/// The plugin.
pub struct Redaction {
    rules: Rules,
}

impl Plugin for Redaction {
    type Config = Config;

    fn describe() -> Description {
        let mut description = Description::new("redaction", env!("CARGO_PKG_VERSION")).redactor();
        for table in ["resources", "scopes", "spans", "events", "links"] {
            let grant = format!("{table}.attributes:*");
            description = description.read(&grant).write(&grant);
        }
        for grant in ["scopes.name", "scopes.version", "spans.name", "spans.status_message", "events.name"] {
            description = description.read(grant).write(grant);
        }
        description
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        config.rules().map(|rules| Configured::new(Self { rules }))
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let what = if self.rules.allow_all_keys { CLEAN_OVERRIDDEN } else { CLEAN_OVERRIDDEN | CLEAN_UNKNOWN };
        batch.clean(what)?;
        for table in Table::ALL {
            // Most batches have no links, and many no events: one call instead of three.
            if matches!(table, Table::Events | Table::Links) && batch.len(table)? == 0 {
                continue;
            }
            self.attributes(batch, table)?;
            if self.rules.looks_at_values() {
                for (_, field) in TEXTS.iter().filter(|(of, _)| *of == table) {
                    self.texts(batch, table, *field)?;
                }
            }
        }
        Ok(())
    }
}

impl Redaction {
    fn attributes(&self, batch: &Batch<'_>, table: Table) -> Result<(), Failure> {
        let entries = batch.entries(table)?;
        if entries.owners.is_empty() {
            return Ok(());
        }
        let keys = if self.rules.looks_at_keys() { Some(self.keys(batch, table)?) } else { None };
        let verdict = |entry: usize| {
            keys.as_ref().map_or(Verdict::Scan, |keys| keys.get(entry).copied().unwrap_or(Verdict::Scan))
        };
        let (mut masked, mut values, mut removed) = (Vec::new(), Values::default(), Vec::new());
        if let Some(keys) = &keys {
            for (entry, verdict) in keys.iter().enumerate() {
                match verdict {
                    Verdict::Remove => removed.push(entry as u32),
                    Verdict::Mask => {
                        masked.push(entry as u32);
                        values.push(kind::STRING, 0, mask::MASK);
                    }
                    Verdict::Keep | Verdict::Scan => {}
                }
            }
        }
        if self.rules.looks_at_values() {
            scan::entries(&self.rules, &entries.values, |entry, kind, text| {
                if verdict(entry) == Verdict::Scan {
                    masked.push(entry as u32);
                    values.push(kind, 0, text);
                }
            });
        }
        if !removed.is_empty() {
            batch.remove_entries(table, &removed)?;
        }
        if !masked.is_empty() {
            batch.set_entries(table, &masked, values)?;
        }
        Ok(())
    }

    /// What the keys alone decide, for each entry.
    fn keys(&self, batch: &Batch<'_>, table: Table) -> Result<Vec<Verdict>, Failure> {
        let keys = batch.entry_keys(table)?;
        // Each key is judged once a batch, however often it occurs.
        let verdicts: Vec<_> = (0..keys.dictionary.len()).map(|key| self.rules.key(keys.dictionary.str(key))).collect();
        let verdict = |&key: &u32| verdicts.get(key as usize).copied().unwrap_or(Verdict::Remove);
        Ok(keys.keys.iter().map(verdict).collect())
    }

    fn texts(&self, batch: &Batch<'_>, table: Table, field: u32) -> Result<(), Failure> {
        let texts = batch.texts(table, field)?;
        let (mut rows, mut masked) = (Vec::new(), Texts::default());
        scan::texts(&self.rules, &texts, |row, text| {
            rows.push(row as u32);
            masked.push(text);
        });
        if rows.is_empty() { Ok(()) } else { Ok(batch.set_texts(table, field, &rows, masked)?) }
    }
}

sluice_sdk::export!(Redaction);
