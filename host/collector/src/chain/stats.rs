//! The figures of plugins on /metrics.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use sluice_sandbox::{CallError, Effects, FailureKind, Instance};

use super::effects::CustomMetrics;

/// Call durations in seconds: a healthy call takes 5 µs to 1 ms, the default limit is 10 ms.
const DURATIONS: [f64; 12] = [5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 5e-2, 1e-1];

/// Failures of one plugin that are logged in full, at most one in this time; the rest is counted.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// The metric families of all plugins.
#[derive(Clone)]
pub struct PluginMetrics {
    info: IntGaugeVec,
    calls: IntCounterVec,
    spans: IntCounterVec,
    duration: HistogramVec,
    memory: IntGaugeVec,
    failures: IntCounterVec,
    restarts: IntCounterVec,
    swaps: IntCounterVec,
    custom: CustomMetrics,
}

/// The figures of one version of one plugin.
pub struct PluginStats {
    version: String,
    info: IntGauge,
    calls: IntCounter,
    entered: IntCounter,
    dropped: IntCounter,
    edited: IntCounter,
    duration: Histogram,
    memory: IntGauge,
    restarts: IntCounter,
    failures: IntCounterVec,
    custom: CustomMetrics,
    logged: Mutex<Option<Instant>>,
}

impl PluginMetrics {
    /// Registers the families.
    ///
    /// # Errors
    /// When the registry holds one of these names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone())).map(|()| family)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone())).map(|()| family)
        };
        let durations =
            HistogramOpts::new("sluice_plugin_duration_seconds", "Time of one call.").buckets(DURATIONS.to_vec());
        let duration = HistogramVec::new(durations, &["plugin"])?;
        registry.register(Box::new(duration.clone()))?;
        Ok(Self {
            info: gauge("sluice_plugin_info", "1 for the version that serves.", &["plugin", "version", "digest"])?,
            calls: counter("sluice_plugin_calls_total", "Calls of process.", &["plugin"])?,
            spans: counter(
                "sluice_plugin_spans_total",
                "Spans of requests that were accepted.",
                &["plugin", "outcome"],
            )?,
            duration,
            memory: gauge("sluice_plugin_memory_bytes", "Linear memory of the instance called last.", &["plugin"])?,
            failures: counter("sluice_plugin_failures_total", "Failed calls.", &["plugin", "version", "kind"])?,
            restarts: counter("sluice_plugin_restarts_total", "Instances replaced.", &["plugin"])?,
            swaps: counter(
                "sluice_plugin_swaps_total",
                "Attempts to change a plugin.",
                &["plugin", "outcome", "step"],
            )?,
            custom: CustomMetrics::new(registry),
        })
    }

    /// The figures of a version of a plugin; it is not shown as serving before [`PluginStats::serves`].
    pub fn plugin(&self, id: &str, version: &str, digest: &str) -> PluginStats {
        PluginStats {
            version: version.to_owned(),
            info: self.info.with_label_values(&[id, version, digest]),
            calls: self.calls.with_label_values(&[id]),
            entered: self.spans.with_label_values(&[id, "in"]),
            dropped: self.spans.with_label_values(&[id, "dropped"]),
            edited: self.spans.with_label_values(&[id, "edited"]),
            duration: self.duration.with_label_values(&[id]),
            memory: self.memory.with_label_values(&[id]),
            restarts: self.restarts.with_label_values(&[id]),
            failures: self.failures.clone(),
            custom: self.custom.clone(),
            logged: Mutex::new(None),
        }
    }

    /// No longer shows this version as serving.
    pub fn retire(&self, id: &str, version: &str, digest: &str) {
        // It was shown, or there is nothing to remove.
        let _ = self.info.remove_label_values(&[id, version, digest]);
    }

    /// Counts an attempt to change a plugin: `outcome` swapped or failed, `step` the last one.
    pub fn swapped(&self, id: &str, outcome: &str, step: &str) {
        self.swaps.with_label_values(&[id, outcome, step]).inc();
    }
}

impl PluginStats {
    /// Shows this version as the one that serves.
    pub fn serves(&self) {
        self.info.set(1);
    }

    pub(super) fn called(&self, took: Duration, restarts: u64, instance: &Instance) {
        self.calls.inc();
        // All cores write these: what does not change is not written.
        if restarts > 0 {
            self.restarts.inc_by(restarts);
        }
        self.duration.observe(took.as_secs_f64());
        let memory = instance.memory_bytes() as i64;
        if self.memory.get() != memory {
            self.memory.set(memory);
        }
    }

    pub(super) fn failed(&self, id: &str, error: &CallError) {
        self.failures.with_label_values(&[id, &self.version, error.kind.as_str()]).inc();
        let mut logged = self.logged.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *logged = Some(Instant::now());
            let (kind, reason, backtrace) =
                (error.kind.as_str(), &error.message, error.backtrace.as_deref().unwrap_or(""));
            tracing::warn!(event = "plugin.failure", plugin = id, version = self.version, kind, reason, backtrace);
        }
    }

    pub(super) fn count(&self, entered: u64, dropped: u64, edited: u64) {
        for (counter, spans) in [(&self.entered, entered), (&self.dropped, dropped), (&self.edited, edited)] {
            if spans > 0 {
                counter.inc_by(spans);
            }
        }
    }

    pub(super) fn commit(&self, id: &str, effects: Effects) {
        // Calls that went well although they were refused room; those that failed are counted as such.
        let full = effects.store.full_calls();
        if full > 0 {
            self.failures.with_label_values(&[id, &self.version, FailureKind::Store.as_str()]).inc_by(full);
        }
        effects.store.commit();
        for line in effects.logs {
            super::effects::log(id, &line);
        }
        for update in effects.metrics {
            self.custom.apply(id, &update);
        }
    }
}
