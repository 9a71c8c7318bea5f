//! Series that connectors make of spans.
//!
//! What enters is the updates of metrics of requests that have passed, from all cores and all versions of a
//! connector's plugin; what leaves is a picture of all series when somebody asks for one. So a swap loses nothing
//! and counts nothing twice. Series are bounded: past the limit, what is new is counted in one series with the label
//! `otel_metric_overflow="true"`. A series that is not updated for some time goes, if that is configured.
//!
//! A histogram is updated by counters named `NAME_bucket`, whose last label is `le` and which count apart what the
//! buckets below have, and `NAME_sum`; the gauge `NAME_exemplar` has the last labels `trace_id` and `span_id`, and
//! before them `le` if it belongs to a bucket. Any other counter is one.

mod family;
#[cfg(test)]
mod tests;
mod text;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use sluice_sandbox::{MetricKind, MetricUpdate};

use family::{Exemplar, Families};
pub use text::{Style, render};

/// The label of the series past the limit.
const OVERFLOW: &str = "otel_metric_overflow";

/// Series of one metric unless the configuration says otherwise: some 6 MiB with the buckets that are the default.
pub const DEFAULT_LIMIT: usize = 10_000;

/// The Collector's.
pub const DEFAULT_EXEMPLARS: usize = 5;

/// How series are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Series of one metric; 0 is no limit.
    pub limit: usize,
    /// How long a series stays that is not updated; none for ever.
    pub expires: Option<Duration>,
    /// Exemplars of one series.
    pub exemplars: usize,
    /// The bounds that every histogram shows, whether they have counted anything or not.
    pub bounds: Vec<f64>,
}

/// The series of all connectors. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Aggregates(Arc<Mutex<HashMap<Key, Weak<Aggregate>>>>);

/// A connector's id and its configuration: another configuration begins anew.
type Key = (String, String);

/// The series of one connector.
#[derive(Debug)]
pub struct Aggregate {
    settings: Settings,
    /// Held while a request is counted, so that it is seen whole or not at all.
    families: Mutex<Families>,
}

impl Aggregates {
    /// The series of the connector with this id and configuration, for as long as anybody has them.
    pub fn of(&self, id: &str, config_json: &str, settings: &Settings) -> Arc<Aggregate> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, aggregate| aggregate.strong_count() > 0);
        let place = all.entry((id.to_owned(), config_json.to_owned())).or_default();
        // Only how they are kept could differ, and that is in the configuration.
        place.upgrade().unwrap_or_else(|| {
            let made = Arc::new(Aggregate::new(settings.clone()));
            *place = Arc::downgrade(&made);
            made
        })
    }
}

impl Aggregate {
    fn new(settings: Settings) -> Self {
        Self { settings, families: Mutex::default() }
    }

    /// Counts the updates of one plugin in one request; gives back those that are for others.
    pub fn commit(&self, mut updates: Vec<MetricUpdate>, now: Instant) -> Vec<MetricUpdate> {
        if updates.is_empty() {
            return updates;
        }
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        families.sweep(&self.settings, now, false);
        updates.retain(|update| !self.count(&mut families, update, now));
        updates
    }

    /// False if it is none of the updates that are known here.
    fn count(&self, families: &mut Families, update: &MetricUpdate, now: Instant) -> bool {
        let MetricUpdate { metric, labels, value } = update;
        let names = &metric.labels[..];
        let settings = &self.settings;
        match (metric.kind, metric.name.rsplit_once('_')) {
            (MetricKind::Counter, Some((name, "bucket"))) => {
                let (Some((le, names)), Some((bound, labels))) = (names.split_last(), labels.split_last()) else {
                    return false;
                };
                let Some(bound) = bound.parse::<f64>().ok().filter(|_| le == "le") else { return false };
                let Some(family) = families.histogram(name, &metric.help, names) else { return false };
                family.series(settings, labels, now).bucket(bound, *value);
            }
            (MetricKind::Counter, Some((name, "sum"))) => {
                let Some(family) = families.histogram(name, &metric.help, names) else { return false };
                family.series(settings, labels, now).sum += value;
            }
            (MetricKind::Counter, _) => {
                let name = metric.name.strip_suffix("_total").unwrap_or(&metric.name);
                let Some(family) = families.counter(name, &metric.help, names) else { return false };
                family.series(settings, labels, now).count += value;
            }
            (MetricKind::Gauge, Some((name, "exemplar"))) => {
                let ([names @ .., _, _], [labels @ .., trace_id, span_id]) = (names, &labels[..]) else { return false };
                let exemplar = Exemplar::new(trace_id, span_id, *value);
                match (names.split_last(), labels.split_last()) {
                    (Some((le, _)), Some((bound, labels))) if le == "le" => {
                        families.exemplar(name, labels, bound.parse().ok(), exemplar, settings.exemplars);
                    }
                    _ => families.exemplar(name, labels, None, exemplar, settings.exemplars),
                }
            }
            _ => return false,
        }
        true
    }

    /// All series as they are between two requests.
    fn picture(&self, now: Instant) -> Families {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        families.sweep(&self.settings, now, true);
        families.clone()
    }
}
