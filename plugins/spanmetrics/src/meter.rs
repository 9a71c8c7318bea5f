//! A meter counts the spans, or events, of a batch by one list of labels, and records what it has counted.

use sluice_sdk::metrics::{Kind, Metric};
use sluice_sdk::{Refusal, Texts};

use crate::buckets::{Buckets, Unit};
use crate::columns::Columns;
use crate::keys::Keys;
use crate::labels::Label;
use crate::tally::{Place, Sums, Tally};

/// The labels of exemplars, and of buckets.
const TRACE_ID: &str = "trace_id";
const SPAN_ID: &str = "span_id";
const LE: &str = "le";

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Spans,
    Events,
}

/// What a meter gives.
pub(crate) struct Plan {
    pub what: What,
    pub labels: Vec<Label>,
    /// The name of a counter.
    pub counter: Option<String>,
    /// The name of a histogram of durations, its unit included, and its buckets; an exponential one has them from the host.
    pub histogram: Option<(String, Option<Buckets>)>,
    pub unit: Unit,
    pub exemplars: bool,
}

/// Counts by labels.
pub(crate) struct Meter {
    plan: Plan,
    tally: Tally,
    /// Of an exponential histogram: the number of a series, a value, and how often it counts.
    values: Vec<(usize, f64, f64)>,
    metrics: Option<Metrics>,
}

/// The metrics that the host knows.
#[derive(Clone, Copy)]
struct Metrics {
    counter: Option<Metric>,
    /// Buckets and sum.
    histogram: Option<(Metric, Metric)>,
    /// Of the counter, of the histogram.
    exemplars: (Option<Metric>, Option<Metric>),
}

impl Meter {
    pub(crate) fn new(plan: Plan) -> Self {
        let buckets = plan.buckets().map_or(1, Buckets::len);
        Self { plan, tally: Tally::new(buckets), values: Vec::new(), metrics: None }
    }

    pub(crate) fn counts_events(&self) -> bool {
        self.plan.what == What::Events
    }

    /// Counts spans, or events of them, each as often as it stands for.
    pub(crate) fn add(&mut self, columns: &Columns, observed: impl Iterator<Item = (Place, f64)>) {
        let keys = Keys::new(&self.plan.labels, columns);
        for (place, weight) in observed {
            let value = self.plan.unit.of_nanos(columns.duration_nanos(place.row));
            let bucket = self.plan.buckets().map_or(0, |buckets| buckets.of(value));
            let series = self.tally.add(&keys, place, weight, value, bucket);
            if self.plan.is_exponential() {
                self.values.push((series, value, weight));
            }
        }
        self.values.sort_unstable_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
        self.values.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0 && next.1.to_bits() == kept.1.to_bits();
            if is_same {
                kept.2 += next.2;
            }
            is_same
        });
    }

    /// Hands over what was counted, and begins anew.
    pub(crate) fn record(&mut self, columns: &Columns) -> Result<(), Refusal> {
        let metrics = match self.metrics {
            Some(metrics) => metrics,
            None => *self.metrics.insert(self.plan.define()?),
        };
        let mut values = self.values.chunk_by(|one, other| one.0 == other.0);
        for sums in self.tally.iter() {
            self.plan.record(metrics, columns, &sums, values.next().unwrap_or_default())?;
        }
        self.tally.clear();
        self.values.clear();
        Ok(())
    }
}

impl Plan {
    fn buckets(&self) -> Option<&Buckets> {
        self.histogram.as_ref().and_then(|(_, buckets)| buckets.as_ref())
    }

    fn is_exponential(&self) -> bool {
        self.histogram.as_ref().is_some_and(|(_, buckets)| buckets.is_none())
    }

    fn define(&self) -> Result<Metrics, Refusal> {
        let define = |kind, name: &str, help: &str, more: &[&str]| {
            let mut labels: Vec<&str> = self.labels.iter().map(|label| label.name.as_str()).collect();
            labels.extend(more);
            Metric::define(kind, name, help, &labels)
        };
        let exemplar = |name: &str, more: &[&str]| {
            let defined = || define(Kind::Gauge, &format!("{name}_exemplar"), "The last of a series.", more);
            self.exemplars.then(defined).transpose()
        };
        let (mut counter, mut histogram, mut exemplars) = (None, None, (None, None));
        if let Some(name) = &self.counter {
            let help = if self.what == What::Spans { "Spans." } else { "Events of spans." };
            counter = Some(define(Kind::Counter, name, help, &[])?);
            exemplars.0 = exemplar(name, &[TRACE_ID, SPAN_ID])?;
        }
        if let Some((name, buckets)) = &self.histogram {
            let help = "Durations of spans.";
            let what = if buckets.is_some() { "bucket" } else { "exponential" };
            let buckets = define(Kind::Counter, &format!("{name}_{what}"), help, &[LE])?;
            histogram = Some((buckets, define(Kind::Counter, &format!("{name}_sum"), help, &[])?));
            exemplars.1 = exemplar(name, &[LE, TRACE_ID, SPAN_ID])?;
        }
        Ok(Metrics { counter, histogram, exemplars })
    }

    /// Records what was added to a series, with its values, each with its number, if that is what the histogram is of.
    fn record(
        &self,
        metrics: Metrics,
        columns: &Columns,
        sums: &Sums<'_>,
        values: &[(usize, f64, f64)],
    ) -> Result<(), Refusal> {
        let mut labels = Texts::default();
        for label in &self.labels {
            label.write(columns, sums.place, &mut labels);
        }
        if let Some(counter) = metrics.counter {
            counter.record_texts(&mut labels, sums.count)?;
            // The last span of the last bucket that has any.
            let row = (0..sums.counts.len()).rev().find_map(|bucket| sums.row(bucket));
            self.exemplar(metrics.exemplars.0, columns, row, &mut labels)?;
        }
        let Some((buckets, sum)) = metrics.histogram else { return Ok(()) };
        sum.record_texts(&mut labels, sums.sum)?;
        for &(_, value, count) in values {
            with_label(&mut labels, value.to_string().as_bytes(), |labels| buckets.record_texts(labels, count))?;
        }
        for (bucket, &count) in sums.counts.iter().enumerate() {
            let Some(row) = sums.row(bucket) else { continue };
            let le = self.buckets().map_or("+Inf", |names| names.name(bucket));
            with_label(&mut labels, le.as_bytes(), |labels| {
                if !self.is_exponential() {
                    buckets.record_texts(labels, count)?;
                }
                self.exemplar(metrics.exemplars.1, columns, Some(row), labels)
            })?;
        }
        Ok(())
    }

    fn exemplar(
        &self,
        metric: Option<Metric>,
        columns: &Columns,
        row: Option<usize>,
        labels: &mut Texts,
    ) -> Result<(), Refusal> {
        let Some((metric, row)) = metric.zip(row) else { return Ok(()) };
        let Some([trace_id, span_id]) = columns.ids(row) else { return Ok(()) };
        let value = self.unit.of_nanos(columns.duration_nanos(row));
        with_label(labels, trace_id.as_bytes(), |labels| {
            with_label(labels, span_id.as_bytes(), |labels| metric.record_texts(labels, value))
        })
    }
}

/// Does something with one label more.
fn with_label(
    labels: &mut Texts,
    value: &[u8],
    work: impl FnOnce(&mut Texts) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let before = (labels.ends.len(), labels.bytes.len());
    labels.push(value);
    let done = work(labels);
    labels.ends.truncate(before.0);
    labels.bytes.truncate(before.1);
    done
}
