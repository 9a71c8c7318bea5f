//! The `filter` processor: drops spans and span events for which any of its conditions is true.
//!
//! Conditions are in a subset of the OpenTelemetry Transformation Language ([`sluice_ottl`]); what is not
//! in the subset is refused by name when the plugin is configured.

mod config;
mod rules;

use sluice_sdk::log;
use sluice_sdk::prelude::*;

pub use config::Config;
use rules::Rules;

/// The plugin.
pub struct Filter {
    spans: Rules,
    events: Rules,
}

impl Plugin for Filter {
    type Config = Config;

    fn describe() -> Description {
        let mut description = Description::new("filter", env!("CARGO_PKG_VERSION")).capability("log");
        for grant in ["spans.*", "scopes.*", "resources.*", "events.*"] {
            description = description.read(grant);
        }
        description.write("spans.drop").write("events.drop")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        let filter = config.filter()?;
        let mut access = Access::default();
        for (rules, drop) in [(&filter.spans, "spans.drop"), (&filter.events, "events.drop")] {
            for grant in rules.grants() {
                access = access.read(grant);
            }
            if !rules.is_empty() {
                access = access.write(drop);
            }
        }
        Ok(Configured::with_access(filter, access))
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        for (table, rules) in [(Table::Spans, &self.spans), (Table::Events, &self.events)] {
            if rules.is_empty() {
                continue;
            }
            let found = rules.evaluate(batch, table)?;
            if let Some(error) = found.ignored {
                log::warn(&error);
            }
            if !found.rows.is_empty() {
                batch.drop_rows(table, &found.rows)?;
            }
        }
        Ok(())
    }
}

sluice_sdk::export!(Filter);
