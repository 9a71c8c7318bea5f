//! What a shadow would have done beside dropping spans.

use std::collections::BTreeMap;

use serde::Serialize;
use sluice_sandbox::{LogLevel, LogLine, MetricKind, MetricUpdate};

/// Names that a report tells of differences and metrics; plugins and senders choose them. What comes
/// later is counted together, as [`OTHERS`].
const MAX_NAMES: usize = 100;
const OTHERS: &str = "…";

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Said {
    /// Attributes and fields that differ from what the present version makes of the same spans, with the
    /// number of spans.
    pub changed_keys: BTreeMap<String, u64>,
    /// Batches that were too large to be compared.
    pub not_compared: u64,
    /// Lines that it would have logged, by level.
    pub logs: BTreeMap<&'static str, u64>,
    /// What it would have recorded, by the metrics' names: the last value of a gauge, else the sum of all values.
    pub metrics: BTreeMap<String, f64>,
}

impl Said {
    /// Adds what one call has said, and in what it differs, if that was compared.
    pub(super) fn add(&mut self, changed: Option<BTreeMap<String, u64>>, logs: &[LogLine], metrics: &[MetricUpdate]) {
        self.not_compared += u64::from(changed.is_none());
        for (name, spans) in changed.unwrap_or_default() {
            let name = known(&self.changed_keys, name);
            *self.changed_keys.entry(name).or_default() += spans;
        }
        for line in logs {
            let level = match line.level {
                LogLevel::Error => "error",
                LogLevel::Warn => "warn",
                LogLevel::Info => "info",
                LogLevel::Debug => "debug",
            };
            *self.logs.entry(level).or_default() += 1;
        }
        for update in metrics {
            let name = known(&self.metrics, update.metric.name.clone());
            let is_replaced = update.metric.kind == MetricKind::Gauge && name != OTHERS;
            let shown = self.metrics.entry(name).or_default();
            *shown = if is_replaced { update.value } else { *shown + update.values().sum::<f64>() };
        }
    }
}

/// The name, or that of all others when there are too many.
fn known<T>(counts: &BTreeMap<String, T>, name: String) -> String {
    let has_room = counts.len() < MAX_NAMES || counts.contains_key(&name);
    if has_room { name } else { OTHERS.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sluice_sandbox::{Labels, Metric};

    use super::*;

    #[test]
    fn a_report_has_so_many_names_and_counts_the_rest() {
        let mut said = Said::default();
        for key in 0..150 {
            said.add(Some(BTreeMap::from([(format!("{key:03}"), 2)])), &[], &[]);
        }
        said.add(Some(BTreeMap::from([("007".to_owned(), 3)])), &[], &[]);
        said.add(None, &[], &[]);
        let keys = said.changed_keys;
        assert_eq!((keys.len(), keys.get("007"), keys.get(OTHERS)), (101, Some(&5), Some(&100)));
        assert_eq!(said.not_compared, 1);
    }

    #[test]
    fn values_of_a_gauge_replace_each_other_and_others_are_added() {
        let mut said = Said::default();
        for (kind, name) in
            [(MetricKind::Gauge, "gauge"), (MetricKind::Counter, "counter"), (MetricKind::Histogram, "histogram")]
        {
            let metric = Arc::new(Metric { kind, name: name.to_owned(), help: String::new(), labels: Vec::new() });
            for value in [7.0, 2.0] {
                let update =
                    MetricUpdate { metric: Arc::clone(&metric), labels: Labels::default(), value, more: Vec::new() };
                said.add(Some(BTreeMap::new()), &[], &[update]);
            }
        }
        let of = |name: &str| said.metrics.get(name).copied();
        assert_eq!((of("gauge"), of("counter"), of("histogram")), (Some(2.0), Some(9.0), Some(9.0)));
    }
}
