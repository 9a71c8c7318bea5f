//! What a plugin says beside its edits. Staged by each call, and the host's to commit once the
//! request has passed its whole chain.

mod merge;

use std::sync::Arc;

use sluice_state::Staged;

use crate::failure::FailureKind;

use merge::Places;
pub(crate) use merge::series;

/// The effects of one or more calls, in order.
#[derive(Debug, Default)]
pub struct Effects {
    /// Log lines.
    pub logs: Vec<LogLine>,
    /// Updates of metrics, one a series.
    pub metrics: Vec<MetricUpdate>,
    places: Places,
    metric_bytes: usize,
    /// Work on the plugin's store. Dropped uncommitted, it is taken back.
    pub store: Staged,
    /// The limits of log lines and metrics that calls ran into which went well all the same; one
    /// entry a call and limit.
    pub limited: Vec<FailureKind>,
}

/// How serious a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something is broken.
    Error,
    /// Something is odd.
    Warn,
    /// Something happened.
    Info,
    /// Of use to the plugin's author.
    Debug,
}

/// A line of a plugin's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How serious.
    pub level: LogLevel,
    /// The text, cut to 1 KiB.
    pub message: String,
}

impl LogLine {
    /// What a line with this text takes in memory.
    pub(crate) fn bytes_of(message: &str) -> usize {
        size_of::<Self>() + message.len()
    }
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows; updates are added.
    Counter,
    /// Updates replace.
    Gauge,
    /// Updates are recorded.
    Histogram,
}

/// A metric as the plugin defined it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// What it is.
    pub kind: MetricKind,
    /// Its name as the plugin gave it.
    pub name: String,
    /// Its help text.
    pub help: String,
    /// The names of its labels.
    pub labels: Vec<String>,
}

/// One update of one series, or several that came one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricUpdate {
    /// The metric; one for all updates that an instance makes of it.
    pub metric: Arc<Metric>,
    /// A value for each of its labels.
    pub labels: Labels,
    /// The value: of a counter the sum of all, of a gauge the last one, of a histogram the first.
    pub value: f64,
    /// Of a histogram, those after the first.
    pub more: Vec<f64>,
}

impl MetricUpdate {
    /// All values.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        std::iter::once(self.value).chain(self.more.iter().copied())
    }
}

/// The values of a series' labels, back to back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    ends: Vec<u32>,
    text: String,
}

impl Labels {
    /// Those that end there; none if they do not fit the text, or if it is not UTF-8.
    pub(crate) fn new(ends: Vec<u32>, bytes: Vec<u8>) -> Option<Self> {
        let text = String::from_utf8(bytes).ok()?;
        let is_whole = ends.last().map_or(0, |end| *end as usize) == text.len();
        let fit = ends.is_sorted() && ends.iter().all(|end| text.is_char_boundary(*end as usize));
        (is_whole && fit).then_some(Self { ends, text })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Value `i`; empty if there is none.
    pub fn get(&self, i: usize) -> &str {
        let from = i.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        let end = self.ends.get(i).map_or(from, |end| *end as usize);
        self.text.get(from..end).unwrap_or_default()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// What they take in memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.ends[..]) + self.text.len()
    }
}

impl<T: AsRef<str>> FromIterator<T> for Labels {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut labels = Self::default();
        for value in values {
            labels.text.push_str(value.as_ref());
            labels.ends.push(labels.text.len() as u32);
        }
        labels
    }
}
