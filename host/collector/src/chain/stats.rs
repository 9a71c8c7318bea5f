//! The figures of plugins on /metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use prometheus::core::{Collector, Desc};
use prometheus::local::{LocalHistogram, LocalIntCounter};
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use sluice_sandbox::{CallError, Effects, FailureKind, Instance, Limits};

use super::breaker::State;
use super::custom::{CustomMetrics, OwnSeries};
use crate::config::processor::Settings;
use crate::series::{Aggregate, Aggregates};
use crate::swap::event::{Step, Swap};
use crate::swap::trial::Phase;

/// Call durations in seconds: a healthy call takes 5 µs to 1 ms, the default limit is 10 ms.
const DURATIONS: [f64; 12] = [5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 5e-2, 1e-1];

/// Durations of steps of a swap in seconds: from a module that is in the cache to a canary of an hour.
const STEPS: [f64; 14] = [1e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0, 900.0, 3_600.0];

/// How the Collector labels its figures of processors.
const ITEMS: &[&str] = &["processor", "otel_signal"];

/// Failures of one plugin that are logged in full, at most one in this time; the rest is counted.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// The metric families of all plugins.
#[derive(Clone)]
pub struct PluginMetrics {
    info: IntGaugeVec,
    calls: IntCounterVec,
    spans: IntCounterVec,
    incoming: IntCounterVec,
    outgoing: IntCounterVec,
    duration: HistogramVec,
    memory: IntGaugeVec,
    failures: IntCounterVec,
    restarts: IntCounterVec,
    breaker: IntGaugeVec,
    swaps: IntCounterVec,
    steps: HistogramVec,
    refusals: IntCounterVec,
    custom: CustomMetrics,
    series: Aggregates,
    tallies: Tallies,
}

type Tallies = Arc<Mutex<Vec<Weak<CoreStats>>>>;

/// The figures of one version of one plugin.
pub struct PluginStats {
    version: String,
    calls: IntCounter,
    entered: IntCounter,
    dropped: IntCounter,
    edited: IntCounter,
    incoming: IntCounter,
    outgoing: IntCounter,
    duration: Histogram,
    memory: IntGauge,
    restarts: IntCounter,
    breaker: IntGauge,
    failures: IntCounterVec,
    own: Arc<Own>,
    /// The series that its metrics make, and how many it may have.
    custom: (Arc<OwnSeries>, usize),
    /// The same if it is a connector.
    series: Option<Arc<Aggregate>>,
    logged: Mutex<Option<Instant>>,
    tallies: Tallies,
}

/// What was counted of one version alone; the series are of a plugin, whichever version serves.
#[derive(Default)]
struct Own {
    calls: AtomicU64,
    failures: AtomicU64,
    spans: AtomicU64,
    dropped: AtomicU64,
}

/// What a version of a plugin has done so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Calls.
    pub calls: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Spans that it got, of requests that were accepted.
    pub spans: u64,
    /// Spans of them that it dropped.
    pub dropped: u64,
}

/// What one core has counted of a version of a plugin and nobody has read yet. Cores that wrote
/// the same counters with every call would wait for each other's caches.
pub struct CoreStats(Mutex<Tally>);

struct Tally {
    calls: LocalIntCounter,
    entered: LocalIntCounter,
    dropped: LocalIntCounter,
    edited: LocalIntCounter,
    /// The Collector's figures, which are made of ours.
    incoming: IntCounter,
    outgoing: IntCounter,
    duration: LocalHistogram,
    memory: (IntGauge, i64),
    own: Arc<Own>,
}

impl CoreStats {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn called(&self, took: Duration, instance: &Instance) {
        let mut tally = self.tally();
        tally.calls.inc();
        tally.duration.observe(took.as_secs_f64());
        tally.memory.1 = instance.memory_bytes() as i64;
    }

    pub(super) fn count(&self, entered: u64, dropped: u64, edited: u64) {
        let tally = self.tally();
        tally.entered.inc_by(entered);
        tally.dropped.inc_by(dropped);
        tally.edited.inc_by(edited);
    }
}

impl Tally {
    fn flush(&mut self) {
        if self.calls.get() > 0 {
            self.memory.0.set(self.memory.1);
        }
        let Own { calls, spans, dropped, .. } = &*self.own;
        for (sum, counter) in [(calls, &self.calls), (spans, &self.entered), (dropped, &self.dropped)] {
            sum.fetch_add(counter.get(), Ordering::Relaxed);
        }
        let entered = self.entered.get();
        self.incoming.inc_by(entered);
        self.outgoing.inc_by(entered.saturating_sub(self.dropped.get()));
        for counter in [&mut self.calls, &mut self.entered, &mut self.dropped, &mut self.edited] {
            counter.flush();
        }
        self.duration.flush();
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.flush();
    }
}

impl PluginMetrics {
    /// Registers the families. What connectors count goes into `series`.
    ///
    /// # Errors
    /// When the registry holds one of these names already.
    pub fn new(registry: &Registry, series: &Aggregates) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
        let counter = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let durations =
            HistogramOpts::new("sluice_plugin_duration_seconds", "Time of one call.").buckets(DURATIONS.to_vec());
        let steps = HistogramOpts::new("sluice_plugin_swap_step_seconds", "Time of one step of a swap.");
        let steps = steps.buckets(STEPS.to_vec());
        let metrics = Self {
            info: gauge("sluice_plugin_info", "1 for the version that serves.", &["plugin", "version", "digest"])?,
            calls: counter("sluice_plugin_calls_total", "Calls of process.", &["plugin"])?,
            spans: counter(
                "sluice_plugin_spans_total",
                "Spans of requests that were accepted.",
                &["plugin", "outcome"],
            )?,
            incoming: counter("otelcol_processor_incoming_items", "Spans that a processor got.", ITEMS)?,
            outgoing: counter("otelcol_processor_outgoing_items", "Spans that a processor passed on.", ITEMS)?,
            duration: HistogramVec::new(durations, &["plugin"])?,
            memory: gauge("sluice_plugin_memory_bytes", "Linear memory of the instance called last.", &["plugin"])?,
            failures: counter("sluice_plugin_failures_total", "Failed calls.", &["plugin", "version", "kind"])?,
            restarts: counter("sluice_plugin_restarts_total", "Instances replaced.", &["plugin"])?,
            breaker: gauge("sluice_plugin_breaker_state", "0 closed, 1 probing, 2 open.", &["plugin"])?,
            swaps: counter(
                "sluice_plugin_swaps_total",
                "Attempts to change a plugin.",
                &["plugin", "outcome", "step"],
            )?,
            steps: HistogramVec::new(steps, &["plugin", "step", "outcome"])?,
            refusals: counter("sluice_plugin_refusals_total", "Versions that were refused.", &["plugin", "reason"])?,
            custom: CustomMetrics::new(registry),
            series: series.clone(),
            tallies: Tallies::default(),
        };
        registry.register(Box::new(metrics.clone()))?;
        Ok(metrics)
    }

    fn families(&self) -> [&dyn Collector; 13] {
        let Self { info, calls, spans, incoming, outgoing, duration, memory, failures, restarts, breaker, .. } = self;
        let Self { swaps, steps, refusals, .. } = self;
        [info, calls, spans, incoming, outgoing, duration, memory, failures, restarts, breaker, swaps, steps, refusals]
    }

    /// The series of a plugin, if it is a connector.
    pub fn series(&self, id: &str, settings: &Settings) -> Option<Arc<Aggregate>> {
        settings.series.as_ref().map(|series| self.series.of(id, &settings.config_json, series))
    }

    /// The figures of a version of a plugin; it is not shown as serving before [`PluginMetrics::serves`].
    /// What it counts goes into `series`, if it is a connector. Its own metrics may have `most` series.
    pub fn plugin(&self, id: &str, version: &str, series: Option<Arc<Aggregate>>, most: u32) -> PluginStats {
        // What a connector counts is bounded there; its limit here is none.
        let most = if series.is_some() { Limits::default().metric_series } else { most };
        PluginStats {
            version: version.to_owned(),
            calls: self.calls.with_label_values(&[id]),
            entered: self.spans.with_label_values(&[id, "in"]),
            dropped: self.spans.with_label_values(&[id, "dropped"]),
            edited: self.spans.with_label_values(&[id, "edited"]),
            incoming: self.incoming.with_label_values(&[id, "traces"]),
            outgoing: self.outgoing.with_label_values(&[id, "traces"]),
            duration: self.duration.with_label_values(&[id]),
            memory: self.memory.with_label_values(&[id]),
            restarts: self.restarts.with_label_values(&[id]),
            breaker: self.breaker.with_label_values(&[id]),
            failures: self.failures.clone(),
            own: Arc::default(),
            custom: (self.custom.of(id), most as usize),
            series,
            logged: Mutex::new(None),
            tallies: Arc::clone(&self.tallies),
        }
    }

    /// Shows this version as the one that serves. What is tried, or was refused, is not shown.
    pub fn serves(&self, id: &str, version: &str, digest: &str) {
        self.info.with_label_values(&[id, version, digest]).set(1);
    }

    /// No longer shows this version as serving.
    pub fn retire(&self, id: &str, version: &str, digest: &str) {
        // It was shown, or there is nothing to remove.
        let _ = self.info.remove_label_values(&[id, version, digest]);
    }

    /// A plugin is there no more: nothing is shown of what it is now. What it has counted stays.
    pub fn leaves(&self, id: &str) {
        for gauge in [&self.breaker, &self.memory] {
            // What is not there need not be removed.
            let _ = gauge.remove_label_values(&[id]);
        }
    }

    /// Counts an attempt to change a plugin by how it ended, and what its steps took. The last one ended as the
    /// attempt did; those before it have passed.
    pub fn swapped(&self, swap: &Swap) {
        let Swap { plugin, outcome, step: last, .. } = swap;
        self.swaps.with_label_values(&[plugin, *outcome, *last]).inc();
        for (step, took) in swap.ms.untold() {
            let outcome = if step.as_str() == *last { *outcome } else { "passed" };
            self.steps.with_label_values(&[plugin, step.as_str(), outcome]).observe(took.as_secs_f64());
        }
    }

    /// Counts a version whose turn for a canary has not come.
    pub fn waits(&self, id: &str) {
        self.swaps.with_label_values(&[id, "waits", Step::Trial(Phase::Canary).as_str()]).inc();
    }

    /// Counts a version that was refused before it served, by the word for why.
    pub fn refused(&self, id: &str, reason: &str) {
        self.refusals.with_label_values(&[id, reason]).inc();
    }
}

/// Adds up what the cores have counted since the last time.
fn flush(tallies: &Tallies) {
    tallies.lock().unwrap_or_else(PoisonError::into_inner).retain(|tally| {
        let Some(tally) = tally.upgrade() else { return false };
        tally.tally().flush();
        true
    });
}

impl Collector for PluginMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.families().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        flush(&self.tallies);
        self.families().into_iter().flat_map(Collector::collect).collect()
    }
}

impl PluginStats {
    /// Shows the state of its breaker.
    pub(super) fn breaker(&self, state: State) {
        self.breaker.set(state as i64);
    }

    /// What one core counts of it.
    pub(super) fn on_core(&self) -> Arc<CoreStats> {
        let stats = Arc::new(CoreStats(Mutex::new(Tally {
            calls: self.calls.local(),
            entered: self.entered.local(),
            dropped: self.dropped.local(),
            edited: self.edited.local(),
            incoming: self.incoming.clone(),
            outgoing: self.outgoing.clone(),
            duration: self.duration.local(),
            memory: (self.memory.clone(), 0),
            own: Arc::clone(&self.own),
        })));
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&stats));
        stats
    }

    /// What it has done so far.
    pub fn totals(&self) -> Totals {
        flush(&self.tallies);
        let Own { calls, failures, spans, dropped } = &*self.own;
        let of = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        Totals { calls: of(calls), failures: of(failures), spans: of(spans), dropped: of(dropped) }
    }

    /// Counts a call that nothing came of but whether it failed.
    pub(super) fn tried(&self) {
        self.own.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn restarted(&self, restarts: u64) {
        if restarts > 0 {
            self.restarts.inc_by(restarts);
        }
    }

    pub(super) fn failed(&self, id: &str, error: &CallError) {
        self.own.failures.fetch_add(1, Ordering::Relaxed);
        self.failures.with_label_values(&[id, &self.version, error.kind.as_str()]).inc();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *logged = Some(Instant::now());
            let (kind, reason, backtrace) =
                (error.kind.as_str(), &error.message, error.backtrace.as_deref().unwrap_or(""));
            tracing::warn!(event = "plugin.failure", plugin = id, version = self.version, kind, reason, backtrace);
        }
    }

    pub(super) fn commit(&self, id: &str, effects: Effects) {
        // Calls that went well although they ran into a limit; those that failed are counted as such.
        let limited = |kind: FailureKind, calls| {
            if calls > 0 {
                self.failures.with_label_values(&[id, &self.version, kind.as_str()]).inc_by(calls);
            }
        };
        limited(FailureKind::Store, effects.store.full_calls());
        effects.limited.iter().for_each(|kind| limited(*kind, 1));
        effects.store.commit();
        for line in effects.logs {
            super::effects::log(id, &line);
        }
        let others = match &self.series {
            Some(series) => series.commit(effects.metrics, Instant::now()),
            None => effects.metrics,
        };
        let (custom, most) = &self.custom;
        if custom.commit(&others, *most) && !effects.limited.contains(&FailureKind::Metrics) {
            limited(FailureKind::Metrics, 1);
        }
    }
}
