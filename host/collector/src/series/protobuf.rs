//! Series in Prometheus' protobuf format, the only one that shows native histograms: messages of the type
//! `io.prometheus.client.MetricFamily`, each behind its length. The types are written by the field numbers that
//! `client_model` has published.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use super::Aggregate;
use super::exponential::Exponential;
use super::family::{self, Series};
use super::shown::{Shown, Style, shown};

/// What native histograms of Prometheus can be: their `schema` is the scale.
const COARSEST_SCHEMA: i32 = -4;
const FINEST_SCHEMA: i32 = 8;

/// Of the enum `MetricType`.
const COUNTER: i32 = 0;
const HISTOGRAM: i32 = 4;

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    // A counter is 0, which is written out: the field is optional there.
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelPair>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(int64, tag = "6")]
    timestamp_ms: i64,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Counter {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(message, optional, tag = "2")]
    exemplar: Option<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    sample_count: u64,
    #[prost(double, tag = "2")]
    sample_sum: f64,
    #[prost(message, repeated, tag = "3")]
    buckets: Vec<Bucket>,
    #[prost(double, tag = "4")]
    sample_count_float: f64,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(double, tag = "8")]
    zero_count_float: f64,
    #[prost(message, repeated, tag = "12")]
    positive_spans: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "13")]
    positive_deltas: Vec<i64>,
    #[prost(double, repeated, tag = "14")]
    positive_counts: Vec<f64>,
    #[prost(message, repeated, tag = "16")]
    exemplars: Vec<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative_count: u64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
    #[prost(message, optional, tag = "3")]
    exemplar: Option<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelPair>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(message, optional, tag = "3")]
    timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// All series of these connectors.
pub fn encode<'a>(aggregates: impl Iterator<Item = &'a Aggregate>, style: &Style) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let timestamp_ms = if style.timestamps { now.as_millis() as i64 } else { 0 };
    let mut out = Vec::new();
    for (name, shown) in shown(aggregates, style) {
        out.extend(family(&name, shown, style, timestamp_ms).encode_length_delimited_to_vec());
    }
    out
}

fn family(name: &str, shown: Shown, style: &Style, timestamp_ms: i64) -> MetricFamily {
    let Shown { help, is_histogram, series } = shown;
    let metrics = series.into_iter().map(|(labels, series)| Metric {
        labels: labels.into_iter().map(|(name, value)| LabelPair { name, value }).collect(),
        counter: (!is_histogram).then(|| Counter { value: series.count.round(), exemplar: exemplar(&series, None) }),
        timestamp_ms,
        histogram: is_histogram.then(|| histogram(&series)),
    });
    let (kind, suffix) = if is_histogram { (HISTOGRAM, "") } else { (COUNTER, style.total()) };
    MetricFamily { name: format!("{name}{suffix}"), help, kind: Some(kind), metrics: metrics.collect() }
}

fn histogram(series: &Series) -> Histogram {
    if let Some(exponential) = &series.exponential {
        let exemplars = series.exemplars.iter().map(|(_, exemplar)| exemplar.into()).collect();
        return Histogram { sample_sum: series.sum, exemplars, ..native(exponential) };
    }
    let mut count = 0.0;
    let mut buckets = Vec::with_capacity(series.buckets.len() + 1);
    for &(upper_bound, own) in &series.buckets {
        count += own;
        let exemplar = exemplar(series, Some(upper_bound));
        buckets.push(Bucket { cumulative_count: whole(count), upper_bound, exemplar });
    }
    Histogram { sample_count: whole(count), sample_sum: series.sum, buckets, ..Histogram::default() }
}

/// Whole numbers as such; where samplers have made spans stand for a fraction more, as the format's other kind of numbers.
fn native(exponential: &Exponential) -> Histogram {
    let mut shown = exponential.clone();
    shown.coarsen_to(FINEST_SCHEMA);
    let mut native = Histogram::default();
    let is_whole = |count: &f64| count.fract() == 0.0;
    let total = shown.total();
    let is_all_whole = is_whole(&shown.zeros) && shown.counts.iter().all(is_whole);
    if is_all_whole {
        (native.sample_count, native.zero_count) = (whole(total), whole(shown.zeros));
    } else {
        (native.sample_count_float, native.zero_count_float) = (total, shown.zeros);
    }
    // Values that far apart in so few buckets cannot be shown as Prometheus has them: how many there are can.
    let Some(first) = i32::try_from(shown.offset).ok().filter(|_| shown.scale >= COARSEST_SCHEMA) else {
        (native.zero_count, native.zero_count_float) = (0, 0.0);
        return native;
    };
    native.schema = shown.scale;
    // There the index is that of the bucket's end.
    native.positive_spans = vec![BucketSpan { offset: first + 1, length: shown.counts.len() as u32 }];
    if is_all_whole {
        let mut before = 0;
        native.positive_deltas = shown
            .counts
            .iter()
            .map(|&count| {
                let delta = count as i64 - before;
                before = count as i64;
                delta
            })
            .collect();
    } else {
        native.positive_counts = shown.counts.into();
    }
    native
}

fn whole(count: f64) -> u64 {
    count.round() as u64
}

fn exemplar(series: &Series, bound: Option<f64>) -> Option<Exemplar> {
    series.exemplar(bound).map(Into::into)
}

impl From<&family::Exemplar> for Exemplar {
    fn from(exemplar: &family::Exemplar) -> Self {
        let label = |name: &str, value: &str| LabelPair { name: name.to_owned(), value: value.to_owned() };
        let at = exemplar.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            labels: vec![label("trace_id", &exemplar.trace_id), label("span_id", &exemplar.span_id)],
            value: exemplar.value,
            timestamp: Some(Timestamp { seconds: at.as_secs() as i64, nanos: at.subsec_nanos() as i32 }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "whole numbers are exact")]

    use super::*;

    fn of(max_buckets: usize, values: &[(f64, f64)]) -> Histogram {
        let mut exponential = Exponential::new(max_buckets);
        for (value, count) in values {
            exponential.add(*value, *count);
        }
        native(&exponential)
    }

    fn span(histogram: &Histogram) -> (i32, i32, u32) {
        let [BucketSpan { offset, length }] = histogram.positive_spans[..] else { return (0, 0, 0) };
        (histogram.schema, offset, length)
    }

    /// Bucket `i` of Prometheus ends at `2^(i * 2^-schema)`, so 1, 2, 4 and 8 are in 0, 1, 2 and 3 at schema 0.
    #[test]
    fn buckets_are_called_by_their_ends_and_count_what_changes() {
        let shown = of(4, &[(1.0, 3.0), (2.0, 1.0), (8.0, 5.0), (0.0, 2.0)]);
        assert_eq!(span(&shown), (0, 0, 4));
        assert_eq!(shown.positive_deltas, [3, -2, -1, 5], "3, 1, 0, 5");
        assert_eq!((shown.sample_count, shown.zero_count), (11, 2));
        assert_eq!((shown.sample_count_float, shown.positive_counts.len()), (0.0, 0));
    }

    #[test]
    fn a_scale_that_prometheus_does_not_have_is_made_coarser_or_not_shown() {
        // At schema 8, 2 ends the bucket 256.
        assert_eq!(span(&of(160, &[(2.0, 1.0)])), (8, 256, 1));
        let far = of(2, &[(1e-300, 1.0), (1e300, 2.0)]);
        assert_eq!((far.sample_count, far.positive_spans.len(), far.zero_count), (3, 0, 0));
    }

    #[test]
    fn fractions_of_spans_are_shown_as_fractions() {
        let shown = of(4, &[(1.0, 1.25), (4.0, 2.0), (0.0, 0.5)]);
        assert_eq!((shown.sample_count, shown.zero_count), (0, 0));
        assert_eq!((shown.sample_count_float, shown.zero_count_float), (3.75, 0.5));
        assert!(shown.positive_deltas.is_empty());
        let (schema, first, length) = span(&shown);
        // From 1 to 4 in at most four buckets: their ends are 1, 2 and 4, or 1, 1.41…, 2, 2.83… and 4.
        assert_eq!((schema, first, length), (0, 0, 3));
        assert_eq!(shown.positive_counts, [1.25, 0.0, 2.0]);
    }
}
