//! The `redaction` processor: masks what must not leave, wherever a string can be.
//!
//! With the Collector's keys it allows attributes by key and masks values by pattern; `detectors`
//! find payment cards, addresses, credentials and the like without a pattern. It looks at resource,
//! scope, span, event and link attributes (strings, bytes, and what is nested in arrays and maps),
//! at names of scopes, spans and events, at status messages and at tracestates.

mod attributes;
mod config;
mod detect;
mod edits;
mod replace;
mod rules;
mod sanitize;
mod scan;
mod summary;
mod tracestate;

use sluice_sdk::prelude::*;

use attributes::Attributes;
pub use config::Config;
use edits::Edits;
use rules::{Rules, TABLES};
use sanitize::Columns;
use scan::Scanner;
use summary::Summary;

/// Overridden occurrences of fields would hide values from every column.
const CLEAN_OVERRIDDEN: u32 = 1;
/// Nobody can say what is in a field that OTLP does not know.
const CLEAN_UNKNOWN: u32 = 2;

/// The plugin.
pub struct Redaction {
    rules: Rules,
}

impl Plugin for Redaction {
    type Config = Config;

    fn describe() -> Description {
        let mut description = Description::new("redaction", env!("CARGO_PKG_VERSION")).redactor();
        let attributes = TABLES.map(|(table, _)| format!("{table}.attributes:*"));
        let fields = ["scopes.name", "scopes.version", "spans.name", "spans.status_message", "events.name"];
        let states = ["spans.trace_state", "links.trace_state"];
        for grant in attributes.iter().map(String::as_str).chain(fields).chain(states) {
            description = description.read(grant).write(grant);
        }
        for (table, _) in TABLES {
            description = description.write(&format!("{table}.overridden")).write(&format!("{table}.unknown"));
        }
        description
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        config.rules().map(|rules| {
            let access = rules.access();
            Configured::with_access(Self { rules }, access)
        })
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let rules = &self.rules;
        batch.clean(if rules.drops_unknown_fields { CLEAN_OVERRIDDEN | CLEAN_UNKNOWN } else { CLEAN_OVERRIDDEN })?;
        let attributes = Attributes::new(batch);
        let mut edits = Edits::default();
        if rules.looks_at_keys() {
            for table in Table::ALL {
                edits.by_key(rules, &attributes, table)?;
            }
        }
        if rules.looks_at_values() {
            let scanner = Scanner { rules, attributes: &attributes, columns: Columns::new(batch) };
            scanner.strings(batch, &mut edits)?;
            if rules.redact_all_types {
                scanner.numbers(&mut edits)?;
            }
        }
        if rules.summary != Summary::Silent {
            summary::push(rules, batch, &attributes, &edits)?;
        }
        edits.push(batch)
    }
}

sluice_sdk::export!(Redaction);
