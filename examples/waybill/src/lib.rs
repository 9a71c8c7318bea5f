//! Keeps the trail of watched waybills: marks all spans of their traces so that later samplers keep
//! them, and counts the stations that they come to.

mod trail;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sluice_sdk::Refusal;
use sluice_sdk::metrics::{Kind, Metric};
use sluice_sdk::prelude::*;

use trail::{MAX_NUMBER_BYTES, TraceId, Trail, Watch};

/// What spans say.
const NUMBER: &str = "waybill.number";
const STATION: &str = "station.id";
/// What they are marked with.
const TRAIL: &str = "waybill.trail";
const WHY: &str = "waybill.why";
const PRIORITY: &str = "sampling.priority";
/// Stations do not change their names so often, and no way takes longer.
const WAY: Duration = Duration::from_secs(30 * 24 * 3600);

/// The code of a refusal that is about a limit.
const OVER_LIMIT: u32 = 5;

/// The keys under `config:`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    watch: BTreeSet<String>,
    #[serde(default = "table")]
    table: String,
    #[serde(default = "remember")]
    remember: u64,
}

fn table() -> String {
    "watch".to_owned()
}

fn remember() -> u64 {
    600
}

/// The plugin.
pub struct Waybill {
    watch: Watch,
    remember: Duration,
    metrics: Option<Metrics>,
}

/// Defined when first used: `configure` may not.
#[derive(Clone, Copy)]
struct Metrics {
    scans: Metric,
    stations: Metric,
}

impl Plugin for Waybill {
    type Config = Config;

    fn describe() -> Description {
        Description::new("waybill", env!("CARGO_PKG_VERSION"))
            .capability("metrics")
            .capability("store")
            .capability("tables")
            .read("tables:*")
            .read("spans.ids")
            .read("spans.attributes:waybill.number")
            .read("spans.attributes:station.id")
            .write("spans.attributes:waybill.trail")
            .write("spans.attributes:waybill.why")
            .write("spans.attributes:sampling.priority")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        if config.table.is_empty() && config.watch.is_empty() {
            return Err(vec![ConfigError::new("watch", "nothing is watched: name a `table`, or numbers")]);
        }
        if config.remember == 0 {
            return Err(vec![ConfigError::new("remember", "must be at least one second")]);
        }
        let mut access = Access::default().read("spans.ids");
        for key in [NUMBER, STATION] {
            access = access.read(format!("spans.attributes:{key}"));
        }
        for key in [TRAIL, WHY, PRIORITY] {
            access = access.write(format!("spans.attributes:{key}"));
        }
        let table = (!config.table.is_empty()).then_some(config.table);
        if let Some(table) = &table {
            access = access.read(format!("tables:{table}"));
        }
        let watch = Watch { numbers: config.watch, table };
        let plugin = Self { watch, remember: Duration::from_secs(config.remember), metrics: None };
        Ok(Configured::with_access(plugin, access))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), Failure> {
        let trails = self.trails(batch)?;
        if trails.is_empty() {
            return Ok(());
        }
        for span in batch.spans()? {
            if let Some(trail) = trails.get(&span.trace_id()?) {
                span.set_attribute(TRAIL, trail.number.as_str());
                if !trail.why.is_empty() {
                    span.set_attribute(WHY, trail.why.as_str());
                }
                span.set_attribute(PRIORITY, 1_i64);
            }
        }
        self.count(batch, &trails)
    }
}

impl Waybill {
    /// The traces of this batch that are on a trail: because a span says so, or one before has.
    fn trails(&self, batch: &Batch) -> Result<BTreeMap<TraceId, Trail>, Failure> {
        let numbers = batch.attribute(Table::Spans, NUMBER)?.values;
        let number = |row: u32| numbers.str(row as usize).filter(|number| number.len() <= MAX_NUMBER_BYTES);
        let spans = 0..batch.len(Table::Spans)?;
        let watched = self.watch.find(&spans.filter_map(number).collect())?;
        let (mut trails, mut others) = (BTreeMap::new(), BTreeSet::new());
        for span in batch.spans()? {
            let id = span.trace_id()?;
            match number(span.row()).and_then(|number| watched.get(number)) {
                // Of two watched waybills in one trace the first is the trail.
                Some(trail) => {
                    trails.entry(id).or_insert_with(|| trail.clone());
                }
                None => {
                    others.insert(id);
                }
            }
        }
        trail::remember(&trails, self.remember)?;
        others.retain(|id| !trails.contains_key(id));
        trails.extend(trail::recall(&others)?);
        Ok(trails)
    }

    /// Counts where the waybills were seen.
    fn count(&mut self, batch: &Batch, trails: &BTreeMap<TraceId, Trail>) -> Result<(), Failure> {
        let mut scans = BTreeMap::<(String, String), u32>::new();
        for span in batch.spans()? {
            let station = span.attribute(STATION)?;
            if let (Some(trail), Some(station)) = (trails.get(&span.trace_id()?), station.as_str())
                && station.len() <= MAX_NUMBER_BYTES
            {
                *scans.entry((trail.number.clone(), station.to_owned())).or_default() += 1;
            }
        }
        if scans.is_empty() {
            return Ok(());
        }
        let metrics = self.metrics()?;
        for ((number, station), count) in &scans {
            record(metrics.scans, &[number, station], f64::from(*count))?;
        }
        let scans: BTreeSet<_> = scans.into_keys().collect();
        for ((number, _), new) in scans.iter().zip(trail::arrive(&scans, WAY)?) {
            if new {
                record(metrics.stations, &[number], 1.0)?;
            }
        }
        Ok(())
    }

    fn metrics(&mut self) -> Result<Metrics, Failure> {
        if let Some(metrics) = self.metrics {
            return Ok(metrics);
        }
        let define = |name, help, labels: &[&str]| Metric::define(Kind::Counter, name, help, labels);
        let metrics = Metrics {
            scans: define("scans_total", "Spans of a watched waybill at a station.", &["waybill", "station"])?,
            stations: define("stations_total", "Stations that a watched waybill has come to.", &["waybill"])?,
        };
        self.metrics = Some(metrics);
        Ok(metrics)
    }
}

/// What is too much for `limits.metric_series` is not shown; the host counts it, and the spans go on.
fn record(metric: Metric, labels: &[&str], value: f64) -> Result<(), Refusal> {
    match metric.record(labels, value) {
        Err(refusal) if refusal.code == OVER_LIMIT => Ok(()),
        recorded => recorded,
    }
}

sluice_sdk::export!(Waybill);
