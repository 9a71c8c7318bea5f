//! Series that connectors make of spans.
//!
//! What enters is the updates of metrics of requests that have passed, from all cores and all versions of a
//! connector's plugin; what leaves is a picture of all series when somebody asks for one. So a swap loses nothing
//! and counts nothing twice. Series are bounded: past the limit, what is new is counted in one series with the label
//! `otel_metric_overflow="true"`. A series that is not updated for some time goes, if that is configured.
//!
//! A histogram is updated by counters named `NAME_bucket`, whose last label is `le` and which count apart what the
//! buckets below have, and `NAME_sum`. One without bounds of its own is updated by `NAME_exponential` instead of
//! `NAME_bucket`: there `le` is the value that was counted. The gauge `NAME_exemplar` has the last labels `trace_id` and `span_id`, and
//! before them `le` if it belongs to a bucket. Any other counter is one.

mod exponential;
mod family;
mod protobuf;
mod shown;
#[cfg(test)]
mod tests;
mod text;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use sluice_sandbox::{Metric, MetricKind, MetricUpdate};

use exponential::Exponential;
use family::{Exemplar, Families, Key as SeriesKey, Series};
pub use protobuf::encode;
pub use shown::Style;
pub use text::render;

/// The label of the series past the limit.
const OVERFLOW: &str = "otel_metric_overflow";

/// Series of one metric unless the configuration says otherwise: some 6 MiB with the buckets that are the default.
pub const DEFAULT_LIMIT: usize = 10_000;

/// Buckets of an exponential histogram unless the configuration says otherwise, as in the Collector.
pub const DEFAULT_MAX_SIZE: usize = 160;

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
    /// Buckets that an exponential histogram may have.
    pub max_size: usize,
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
        // An instance has one of each metric; what its name means is found out once.
        let mut known: Vec<(Arc<Metric>, Means)> = Vec::new();
        let mut key = SeriesKey::default();
        updates.retain(|update| {
            let found = known.iter().find(|(metric, _)| Arc::ptr_eq(metric, &update.metric)).map(|(_, means)| *means);
            let means = found.unwrap_or_else(|| {
                let means = Means::of(&update.metric, &mut families);
                known.push((Arc::clone(&update.metric), means));
                means
            });
            !self.count(&mut families, means, update, &mut key, now)
        });
        updates
    }

    /// False if it is none of the updates that are known here.
    fn count(
        &self,
        families: &mut Families,
        means: Means,
        update: &MetricUpdate,
        key: &mut SeriesKey,
        now: Instant,
    ) -> bool {
        // Histograms are none that are known here, so the value is one.
        let MetricUpdate { metric, labels, value, .. } = update;
        let (settings, value) = (&self.settings, *value);
        let last = |nth: usize| labels.len().checked_sub(nth).map_or("", |at| labels.get(at));
        // All but the last so many labels name the series.
        let mut change = |place: usize, besides: usize, change: &dyn Fn(&mut Series)| {
            let Some(family) = families.all.get_mut(place) else { return false };
            let key = key.of(labels.iter().take(labels.len().saturating_sub(besides)));
            family.update(settings, key, now, change);
            true
        };
        match means {
            Means::Count(place) => change(place, 0, &|series| series.count += value),
            Means::Sum(place) => change(place, 0, &|series| series.sum += value),
            Means::Bucket(place) => {
                let Ok(bound) = last(1).parse() else { return false };
                change(place, 1, &|series| series.bucket(bound, value))
            }
            Means::Exponential(place) => {
                let Ok(counted) = last(1).parse() else { return false };
                change(place, 1, &|series| {
                    let new = || Exponential::new(settings.max_size);
                    series.exponential.get_or_insert_with(new).add(counted, value);
                })
            }
            Means::Exemplar { of_bucket } => {
                let Some((name, _)) = metric.name.rsplit_once('_') else { return false };
                let exemplar = Exemplar::new(last(2), last(1), value);
                let (bound, besides) = if of_bucket { (last(3).parse().ok(), 3) } else { (None, 2) };
                let key = key.of(labels.iter().take(labels.len().saturating_sub(besides)));
                families.exemplar(name, key, bound, exemplar, settings.exemplars);
                true
            }
            Means::Nothing => false,
        }
    }

    /// All series as they are between two requests.
    fn picture(&self, now: Instant) -> Families {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        families.sweep(&self.settings, now, true);
        families.clone()
    }
}

/// What an update of a metric means; of some with the place of the family that it is for.
#[derive(Debug, Clone, Copy)]
enum Means {
    Count(usize),
    Sum(usize),
    Bucket(usize),
    Exponential(usize),
    Exemplar {
        of_bucket: bool,
    },
    /// It is for others.
    Nothing,
}

impl Means {
    fn of(metric: &Metric, families: &mut Families) -> Self {
        let (names, help) = (&metric.labels[..], &metric.help[..]);
        let found = match (metric.kind, metric.name.rsplit_once('_')) {
            (MetricKind::Counter, Some((name, what @ ("bucket" | "exponential")))) => {
                let bounded = names.split_last().filter(|(le, _)| *le == "le");
                let place = bounded.and_then(|(_, names)| families.histogram(name, help, names));
                place.map(if what == "bucket" { Self::Bucket } else { Self::Exponential })
            }
            (MetricKind::Counter, Some((name, "sum"))) => families.histogram(name, help, names).map(Self::Sum),
            (MetricKind::Counter, _) => {
                let name = metric.name.strip_suffix("_total").unwrap_or(&metric.name);
                families.counter(name, help, names).map(Self::Count)
            }
            (MetricKind::Gauge, Some((_, "exemplar"))) => {
                let more =
                    names.split_last_chunk::<2>().map(|(names, _)| names.last().is_some_and(|last| last == "le"));
                more.map(|of_bucket| Self::Exemplar { of_bucket })
            }
            _ => None,
        };
        found.unwrap_or(Self::Nothing)
    }
}
