//! The `spanmetrics` connector: requests, errors and durations of spans, as metrics, with the Collector's keys.
//!
//! A batch is added up here, by series; what leaves is one update a series and value, in the capability
//! `metrics`. The host adds updates up for all instances and versions of the plugin, once their requests have
//! passed, and shows them (`prometheus`). So nothing that must last is in an instance's memory.

mod buckets;
mod columns;
mod config;
mod keys;
mod labels;
mod meter;
mod names;
mod tally;

use sluice_sdk::log;
use sluice_sdk::prelude::*;

use columns::Columns;
pub use config::Config;
use labels::Source;
use meter::Meter;
use tally::Place;

/// The plugin.
pub struct SpanMetrics {
    meters: Vec<Meter>,
    /// What the labels are made of.
    pulled: columns::Wanted,
}

impl Plugin for SpanMetrics {
    type Config = Config;

    fn describe() -> Description {
        Description::new("spanmetrics", env!("CARGO_PKG_VERSION"))
            .capability("log")
            .capability("metrics")
            .read("resources.attributes:*")
            .read("scopes.name")
            .read("scopes.version")
            .read("spans.attributes:*")
            .read("spans.ids")
            .read("spans.name")
            .read("spans.trace_state")
            .read("events.attributes:*")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        for key in config.without_effect() {
            log::warn(&format!("`{key}` changes nothing here: series are shown as they are when they are asked for"));
        }
        let (meters, pulled) = config.read()?;
        let access = pulled.access();
        Ok(Configured::with_access(Self { meters, pulled }, access))
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let columns = Columns::pull(batch, &self.pulled)?;
        let (of_events, of_spans): (Vec<_>, Vec<_>) = self.meters.iter_mut().partition(|meter| meter.counts_events());
        let have_states = columns.have_states();
        for meter in of_spans {
            let (mut weight, mut last) = (1.0, "");
            meter.add(
                &columns,
                (0..columns.spans()).map(|row| {
                    if have_states {
                        let state = columns.state(row);
                        if state != last {
                            (weight, last) = (sluice_sampling::adjusted_count(state), state);
                        }
                    }
                    (Place { row, event: None }, weight)
                }),
            );
            meter.record(&columns)?;
        }
        for meter in of_events {
            let weighted = |(event, row)| {
                let weight = sluice_sampling::adjusted_count(columns.state(row));
                (Place { row, event: Some(event) }, weight)
            };
            meter.add(&columns, columns.events().map(weighted));
            meter.record(&columns)?;
        }
        Ok(())
    }
}

sluice_sdk::export!(SpanMetrics);
