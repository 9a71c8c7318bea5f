//! What a plugin says beside its edits. Staged by each call, and the host's to commit once the
//! request has passed its whole chain.

use std::sync::Arc;

use sluice_state::Staged;

use crate::failure::FailureKind;

/// The effects of one or more calls, in order.
#[derive(Debug, Default)]
pub struct Effects {
    /// Log lines.
    pub logs: Vec<LogLine>,
    /// Updates of metrics.
    pub metrics: Vec<MetricUpdate>,
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

/// One update of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricUpdate {
    /// The metric; one for all updates that an instance makes of it.
    pub metric: Arc<Metric>,
    /// A value for each of its labels.
    pub labels: Vec<String>,
    /// The value.
    pub value: f64,
}
