//! What a plugin says beside its edits: log lines and metrics of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry};
use sluice_sandbox::{LogLevel, LogLine, Metric, MetricKind, MetricUpdate};

/// The metrics that plugins define, as `sluice_plugin_custom_NAME{plugin,…}`.
#[derive(Clone)]
pub struct CustomMetrics {
    registry: Registry,
    families: Arc<Mutex<HashMap<String, Family>>>,
}

enum Family {
    Counter(CounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
    /// Two plugins define the name in different ways; the first has it, this was said once.
    Contested,
}

impl CustomMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone(), families: Arc::default() }
    }

    pub(super) fn apply(&self, plugin: &str, update: &MetricUpdate) {
        let metric = &*update.metric;
        let key = format!("{:?} {} {:?}", metric.kind, metric.name, metric.labels);
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(key).or_insert_with(|| self.register(plugin, metric));
        let mut values = vec![plugin];
        values.extend(update.labels.iter());
        match family {
            Family::Counter(family) => family.with_label_values(&values).inc_by(update.value),
            Family::Gauge(family) => family.with_label_values(&values).set(update.value),
            Family::Histogram(family) => family.with_label_values(&values).observe(update.value),
            Family::Contested => {}
        }
    }

    fn register(&self, plugin: &str, metric: &Metric) -> Family {
        let name = format!("sluice_plugin_custom_{}", metric.name);
        let mut labels = vec!["plugin"];
        labels.extend(metric.labels.iter().map(String::as_str));
        let made = match metric.kind {
            MetricKind::Counter => CounterVec::new(Opts::new(name, &metric.help), &labels)
                .and_then(|family| self.registry.register(Box::new(family.clone())).map(|()| Family::Counter(family))),
            MetricKind::Gauge => GaugeVec::new(Opts::new(name, &metric.help), &labels)
                .and_then(|family| self.registry.register(Box::new(family.clone())).map(|()| Family::Gauge(family))),
            MetricKind::Histogram => {
                HistogramVec::new(HistogramOpts::new(name, &metric.help), &labels).and_then(|family| {
                    self.registry.register(Box::new(family.clone())).map(|()| Family::Histogram(family))
                })
            }
        };
        made.unwrap_or_else(|error| {
            tracing::warn!(event = "plugin.metric", plugin, metric = metric.name, %error, "the metric is not shown");
            Family::Contested
        })
    }
}

/// Writes a plugin's log line into the collector's log.
pub(super) fn log(plugin: &str, line: &LogLine) {
    let message = &line.message;
    match line.level {
        LogLevel::Error => tracing::error!(event = "plugin.log", plugin, "{message}"),
        LogLevel::Warn => tracing::warn!(event = "plugin.log", plugin, "{message}"),
        LogLevel::Info => tracing::info!(event = "plugin.log", plugin, "{message}"),
        LogLevel::Debug => tracing::debug!(event = "plugin.log", plugin, "{message}"),
    }
}
