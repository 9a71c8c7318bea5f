//! A meter counts the spans, or events, of a batch by one list of labels, and records what it has counted.

use sluice_sdk::metrics::{Kind, Metric};
use sluice_sdk::{Refusal, Texts};

use crate::buckets::{Buckets, Unit};
use crate::columns::Columns;
use crate::labels::{END, Label};
use crate::tally::{Sums, Tally};

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
    /// The name of a histogram of durations, its unit included, and its buckets.
    pub histogram: Option<(String, Buckets)>,
    pub unit: Unit,
    pub exemplars: bool,
}

/// Counts by labels.
pub(crate) struct Meter {
    plan: Plan,
    tally: Tally,
    key: Vec<u8>,
    metrics: Option<Metrics>,
}

/// A span, or an event of it, and how many it stands for.
pub(crate) struct Observed {
    pub row: usize,
    pub event: Option<usize>,
    pub weight: f64,
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
        let buckets = plan.histogram.as_ref().map_or(1, |(_, buckets)| buckets.len());
        Self { plan, tally: Tally::new(buckets), key: Vec::new(), metrics: None }
    }

    pub(crate) fn counts_events(&self) -> bool {
        self.plan.what == What::Events
    }

    /// Counts a span, or an event of it.
    pub(crate) fn add(&mut self, columns: &Columns, observed: &Observed) {
        let Observed { row, event, weight } = *observed;
        self.key.clear();
        for label in &self.plan.labels {
            label.write(columns, row, event, &mut self.key);
        }
        let value = self.plan.unit.of_nanos(columns.duration_nanos(row));
        let bucket = self.plan.histogram.as_ref().map_or(0, |(_, buckets)| buckets.of(value));
        self.tally.add(&self.key, row, weight, value, bucket);
    }

    /// Hands over what was counted, and begins anew.
    pub(crate) fn record(&mut self, columns: &Columns) -> Result<(), Refusal> {
        let metrics = match self.metrics {
            Some(metrics) => metrics,
            None => *self.metrics.insert(self.plan.define()?),
        };
        for sums in self.tally.iter() {
            self.plan.record(metrics, columns, &sums)?;
        }
        self.tally.clear();
        Ok(())
    }
}

impl Plan {
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
        if let Some((name, _)) = &self.histogram {
            let help = "Durations of spans.";
            let buckets = define(Kind::Counter, &format!("{name}_bucket"), help, &[LE])?;
            histogram = Some((buckets, define(Kind::Counter, &format!("{name}_sum"), help, &[])?));
            exemplars.1 = exemplar(name, &[LE, TRACE_ID, SPAN_ID])?;
        }
        Ok(Metrics { counter, histogram, exemplars })
    }

    fn record(&self, metrics: Metrics, columns: &Columns, sums: &Sums<'_>) -> Result<(), Refusal> {
        let mut labels = Texts::default();
        for value in sums.key.strip_suffix(&[END]).unwrap_or_default().split(|&byte| byte == END) {
            if labels.len() < self.labels.len() {
                labels.push(value);
            }
        }
        if let Some(counter) = metrics.counter {
            counter.record_texts(&mut labels, sums.count)?;
            // The last span of the last bucket that has any.
            let row = (0..sums.counts.len()).rev().find_map(|bucket| sums.row(bucket));
            self.exemplar(metrics.exemplars.0, columns, row, &mut labels)?;
        }
        let (Some((buckets, sum)), Some((_, names))) = (metrics.histogram, &self.histogram) else { return Ok(()) };
        sum.record_texts(&mut labels, sums.sum)?;
        for (bucket, &count) in sums.counts.iter().enumerate() {
            let Some(row) = sums.row(bucket) else { continue };
            let before = (labels.ends.len(), labels.bytes.len());
            labels.push(names.name(bucket).as_bytes());
            buckets.record_texts(&mut labels, count)?;
            self.exemplar(metrics.exemplars.1, columns, Some(row), &mut labels)?;
            labels.ends.truncate(before.0);
            labels.bytes.truncate(before.1);
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
        let before = (labels.ends.len(), labels.bytes.len());
        labels.push(trace_id.as_bytes());
        labels.push(span_id.as_bytes());
        metric.record_texts(labels, self.unit.of_nanos(columns.duration_nanos(row)))?;
        labels.ends.truncate(before.0);
        labels.bytes.truncate(before.1);
        Ok(())
    }
}
