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
use sluice_sdk::{Section, fields, kind};

pub use config::Config;
use config::{Rules, Verdict};

/// Overridden occurrences of fields would hide values from every column.
const CLEAN_OVERRIDDEN: u32 = 1;
/// Nobody can say what is in a field that OTLP does not know.
const CLEAN_UNKNOWN: u32 = 2;

/// What is in these has its own grammar, in which a mask would be a mistake.
const NOT_LOOKED_AT: [u32; 2] = [fields::TRACE_STATE, fields::SCHEMA_URL];

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
        let mut edits = Edits::default();
        if self.rules.looks_at_keys() {
            for table in Table::ALL {
                edits.verdicts.push(self.keys(batch, table)?);
            }
            edits.by_key();
        }
        if self.rules.looks_at_values() {
            let strings = batch.strings()?;
            scan::strings(&self.rules, &strings, |section, i, kind, text| edits.by_value(section, i, kind, text));
        }
        edits.push(batch)
    }
}

/// What is going to be edited.
#[derive(Default)]
struct Edits {
    /// Of each table's entries, what their keys decide; none if keys decide nothing.
    verdicts: Vec<Vec<Verdict>>,
    entries: [(Vec<u32>, Values); 5],
    texts: Vec<(Table, u32, Vec<u32>, Texts)>,
    removed: [Vec<u32>; 5],
}

impl Edits {
    /// Notes what keys alone decide.
    fn by_key(&mut self) {
        for ((verdicts, removed), (masked, values)) in
            self.verdicts.iter().zip(&mut self.removed).zip(&mut self.entries)
        {
            for (entry, verdict) in (0..).zip(verdicts) {
                match verdict {
                    Verdict::Remove => removed.push(entry),
                    Verdict::Mask => {
                        masked.push(entry);
                        values.push(kind::STRING, 0, mask::MASK);
                    }
                    Verdict::Keep | Verdict::Scan => {}
                }
            }
        }
    }

    /// Notes that text `i` of a section is to be replaced.
    fn by_value(&mut self, section: &Section, i: usize, kind: u8, text: &[u8]) {
        let place = section.table as usize;
        let Some(field) = section.field else {
            let verdict = self.verdicts.get(place).map(|verdicts| verdicts.get(i).copied());
            // An entry whose key was not judged is not left alone.
            if verdict.is_none_or(|verdict| matches!(verdict, None | Some(Verdict::Scan)))
                && let Some((entries, values)) = self.entries.get_mut(place)
            {
                entries.push(i as u32);
                values.push(kind, 0, text);
            }
            return;
        };
        match self.texts.last_mut() {
            Some((table, known, rows, texts)) if (*table, *known) == (section.table, field) => {
                rows.push(i as u32);
                texts.push(text);
            }
            _ => {
                let mut texts = Texts::default();
                texts.push(text);
                self.texts.push((section.table, field, vec![i as u32], texts));
            }
        }
    }

    fn push(self, batch: &Batch<'_>) -> Result<(), Failure> {
        for ((table, removed), (masked, values)) in Table::ALL.into_iter().zip(self.removed).zip(self.entries) {
            if !removed.is_empty() {
                batch.remove_entries(table, &removed)?;
            }
            if !masked.is_empty() {
                batch.set_entries(table, &masked, values)?;
            }
        }
        for (table, field, rows, texts) in self.texts {
            batch.set_texts(table, field, &rows, texts)?;
        }
        Ok(())
    }
}

impl Redaction {
    /// What the keys alone decide, for each entry.
    fn keys(&self, batch: &Batch<'_>, table: Table) -> Result<Vec<Verdict>, Failure> {
        let keys = batch.entry_keys(table)?;
        // Each key is judged once a batch, however often it occurs.
        let verdicts: Vec<_> = (0..keys.dictionary.len()).map(|key| self.rules.key(keys.dictionary.str(key))).collect();
        let verdict = |&key: &u32| verdicts.get(key as usize).copied().unwrap_or(Verdict::Remove);
        Ok(keys.keys.iter().map(verdict).collect())
    }
}

sluice_sdk::export!(Redaction);
