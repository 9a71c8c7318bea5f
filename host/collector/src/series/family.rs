//! Metrics and their series.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::Settings;
use super::exponential::Exponential;

/// Metrics of one connector, each list of labels for itself; `spanmetrics` has three. A plugin may not take memory
/// without end by ever new names.
const MAX_METRICS: usize = 100;

/// Buckets of one series. The same holds for bounds.
const MAX_BUCKETS: usize = 500;

/// How often series that are not updated are looked for while others are.
const SWEEPS_PER_LIFE: u32 = 10;

/// All metrics of a connector.
#[derive(Debug, Clone, Default)]
pub(super) struct Families {
    pub all: Vec<Family>,
    swept: Option<Instant>,
}

/// One metric with one list of labels.
#[derive(Debug, Clone)]
pub(super) struct Family {
    pub name: String,
    pub help: String,
    pub is_histogram: bool,
    pub labels: Arc<[String]>,
    /// By the values of those labels: see [`Key`].
    pub series: HashMap<Arc<[u8]>, Series>,
    /// What there was no room for.
    pub overflow: Option<Series>,
}

/// One series. A counter has its count, a histogram a sum and buckets.
#[derive(Debug, Clone)]
pub(super) struct Series {
    updated: Instant,
    pub count: f64,
    pub sum: f64,
    /// Of a histogram that has no bounds of its own.
    pub exponential: Option<Exponential>,
    /// Upper bounds, ascending, each with what it counts that those below do not.
    pub buckets: Vec<(f64, f64)>,
    /// By bucket, none for a counter; the oldest first.
    pub exemplars: Vec<(Option<f64>, Exemplar)>,
}

/// A span that was counted.
#[derive(Debug, Clone)]
pub(super) struct Exemplar {
    pub trace_id: String,
    pub span_id: String,
    pub value: f64,
    pub at: SystemTime,
}

/// Label values in one piece, to be looked for with one look. It is kept by who looks for many, one after the other.
#[derive(Debug, Default)]
pub(super) struct Key(Vec<u8>);

/// Ends a value in a key: no byte of UTF-8.
const END: u8 = 0xff;

impl Key {
    /// The key of these values.
    pub(super) fn of<'v>(&mut self, values: impl Iterator<Item = &'v str>) -> &[u8] {
        self.0.clear();
        for value in values {
            self.0.extend_from_slice(value.as_bytes());
            self.0.push(END);
        }
        &self.0
    }
}

/// The values of a key.
pub(super) fn values(key: &[u8]) -> impl Iterator<Item = &str> {
    key.split_inclusive(|byte| *byte == END).map(|value| {
        let value = value.strip_suffix(&[END]).unwrap_or(value);
        str::from_utf8(value).unwrap_or_default()
    })
}

impl Exemplar {
    pub(super) fn new(trace_id: &str, span_id: &str, value: f64) -> Self {
        Self { trace_id: trace_id.to_owned(), span_id: span_id.to_owned(), value, at: SystemTime::now() }
    }
}

impl Families {
    /// The place of a counter; none if there are too many metrics.
    pub(super) fn counter(&mut self, name: &str, help: &str, labels: &[String]) -> Option<usize> {
        self.family(name, help, labels, false)
    }

    /// The place of a histogram; none if there are too many metrics.
    pub(super) fn histogram(&mut self, name: &str, help: &str, labels: &[String]) -> Option<usize> {
        self.family(name, help, labels, true)
    }

    fn family(&mut self, name: &str, help: &str, labels: &[String], is_histogram: bool) -> Option<usize> {
        let is_it =
            |known: &Family| known.is_histogram == is_histogram && known.name == name && *known.labels == *labels;
        if let Some(found) = self.all.iter().position(is_it) {
            return Some(found);
        }
        if self.all.len() >= MAX_METRICS {
            return None;
        }
        let (name, help, labels) = (name.to_owned(), help.to_owned(), labels.into());
        self.all.push(Family { name, help, is_histogram, labels, series: HashMap::new(), overflow: None });
        Some(self.all.len() - 1)
    }

    /// Notes an exemplar of a series, if there is the series: those past the limit have none.
    pub(super) fn exemplar(&mut self, name: &str, key: &[u8], bound: Option<f64>, exemplar: Exemplar, most: usize) {
        let of = |known: &&mut Family| known.name == name && known.is_histogram == bound.is_some();
        let series = self.all.iter_mut().filter(of).find_map(|family| family.series.get_mut(key));
        let Some(Series { exemplars, .. }) = series else { return };
        exemplars.retain(|(known, _)| *known != bound);
        exemplars.push((bound, exemplar));
        let surplus = exemplars.len().saturating_sub(most);
        exemplars.drain(..surplus);
    }

    /// Lets go of the series whose time is over; not with every request, unless `now_all`.
    pub(super) fn sweep(&mut self, settings: &Settings, now: Instant, now_all: bool) {
        let Some(expires) = settings.expires else { return };
        let is_due = |swept: Instant| now.saturating_duration_since(swept) >= expires / SWEEPS_PER_LIFE;
        if !now_all && !self.swept.is_none_or(is_due) {
            return;
        }
        self.swept = Some(now);
        let lives = |series: &Series| now.saturating_duration_since(series.updated) < expires;
        for family in &mut self.all {
            family.series.retain(|_, series| lives(series));
            family.overflow.take_if(|series| !lives(series));
        }
        self.all.retain(|family| !family.series.is_empty() || family.overflow.is_some());
    }
}

impl Family {
    /// Changes the series with these label values, or the one for all that there is no room for.
    pub(super) fn update(&mut self, settings: &Settings, key: &[u8], now: Instant, change: impl FnOnce(&mut Series)) {
        // Nothing is made for a series that is there.
        if let Some(series) = self.series.get_mut(key) {
            series.updated = now;
            change(series);
            return;
        }
        let bounds: &[f64] = if self.is_histogram { &settings.bounds } else { &[] };
        let new = || Series::new(bounds, now);
        let is_full = settings.limit > 0 && self.series.len() >= settings.limit;
        let series = if is_full {
            self.overflow.get_or_insert_with(new)
        } else {
            self.series.entry(key.into()).or_insert_with(new)
        };
        series.updated = now;
        change(series);
    }
}

impl Series {
    fn new(bounds: &[f64], now: Instant) -> Self {
        let buckets = bounds.iter().map(|&bound| (bound, 0.0)).collect();
        Self { updated: now, count: 0.0, sum: 0.0, exponential: None, buckets, exemplars: Vec::new() }
    }

    /// The exemplar of a bucket, or of a counter.
    pub(super) fn exemplar(&self, bound: Option<f64>) -> Option<&Exemplar> {
        self.exemplars.iter().find(|(of, _)| *of == bound).map(|(_, exemplar)| exemplar)
    }

    /// Adds to the bucket with this bound.
    pub(super) fn bucket(&mut self, bound: f64, count: f64) {
        match self.buckets.binary_search_by(|(known, _)| known.total_cmp(&bound)) {
            Ok(found) => {
                if let Some((_, known)) = self.buckets.get_mut(found) {
                    *known += count;
                }
            }
            Err(place) if self.buckets.len() < MAX_BUCKETS => self.buckets.insert(place, (bound, count)),
            // Past the limit it is counted in the last one, as what is beyond all bounds is.
            Err(_) => {
                if let Some((_, last)) = self.buckets.last_mut() {
                    *last += count;
                }
            }
        }
    }
}
