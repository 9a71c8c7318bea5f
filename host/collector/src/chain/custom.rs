//! The metrics that plugins define, as `sluice_plugin_custom_NAME{plugin,…}`.
//!
//! What enters is the updates of requests that have passed; what leaves is series on /metrics. A plugin has so many
//! series and no more, whichever of its instances and versions has made them: what is beyond is dropped, and whoever
//! commits is told. The series of a plugin go when nobody has its [`OwnSeries`] any more, as it has left the
//! configuration then.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use prometheus::core::Collector;
use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry};
use sluice_sandbox::{Labels, Metric, MetricKind, MetricUpdate};

/// The custom metrics of all plugins.
#[derive(Clone)]
pub struct CustomMetrics {
    registry: Registry,
    all: Arc<Mutex<All>>,
}

#[derive(Default)]
struct All {
    /// By name. Plugins may give one name to different metrics.
    families: HashMap<String, Vec<Family>>,
    plugins: HashMap<String, Known>,
}

/// A plugin that has series, or could have.
#[derive(Default)]
struct Known {
    owner: Weak<OwnSeries>,
    series: usize,
}

/// One metric.
struct Family {
    metric: Arc<Metric>,
    /// None if the name is another metric's already, which was said once.
    shown: Option<Shown>,
    /// By plugin.
    series: HashMap<String, HashSet<Labels>>,
}

enum Shown {
    Counter(CounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

/// The series of one plugin, for as long as anybody has this.
pub struct OwnSeries {
    plugin: String,
    metrics: CustomMetrics,
}

impl CustomMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone(), all: Arc::default() }
    }

    /// The series of a plugin: those that it has, if it is there already.
    pub(super) fn of(&self, plugin: &str) -> Arc<OwnSeries> {
        let mut all = self.all();
        let known = all.plugins.entry(plugin.to_owned()).or_default();
        known.owner.upgrade().unwrap_or_else(|| {
            let own = Arc::new(OwnSeries { plugin: plugin.to_owned(), metrics: self.clone() });
            known.owner = Arc::downgrade(&own);
            own
        })
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OwnSeries {
    /// Counts updates, but for those that would make more than `most` series; tells whether there were such.
    pub(super) fn commit(&self, updates: &[MetricUpdate], most: usize) -> bool {
        if updates.is_empty() {
            return false;
        }
        let (mut all, mut dropped) = (self.metrics.all(), false);
        let All { families, plugins } = &mut *all;
        let Some(Known { series: count, .. }) = plugins.get_mut(&self.plugin) else { return false };
        for update in updates {
            let found = find(families, &update.metric);
            let (is_there, is_new) =
                (found.is_some(), !found.is_some_and(|family| family.has(&self.plugin, &update.labels)));
            if is_new && *count >= most {
                dropped = true;
                continue;
            }
            if !is_there {
                let made = Family::new(&update.metric, &self.plugin, &self.metrics.registry);
                families.entry(update.metric.name.clone()).or_default().push(made);
            }
            let Some(family) = find(families, &update.metric) else { continue };
            if is_new {
                *count += 1;
                family.series.entry(self.plugin.clone()).or_default().insert(update.labels.clone());
            }
            family.update(&self.plugin, update);
        }
        dropped
    }
}

fn find<'f>(families: &'f mut HashMap<String, Vec<Family>>, metric: &Metric) -> Option<&'f mut Family> {
    families.get_mut(&metric.name)?.iter_mut().find(|family| family.is_of(metric))
}

impl Drop for OwnSeries {
    fn drop(&mut self) {
        let mut all = self.metrics.all();
        let All { families, plugins } = &mut *all;
        // Who has come since has taken them over.
        if plugins.get(&self.plugin).is_none_or(|known| known.owner.strong_count() > 0) {
            return;
        }
        plugins.remove(&self.plugin);
        let registry = &self.metrics.registry;
        families.retain(|_, of_name| {
            of_name.retain_mut(|family| family.forget(&self.plugin, registry));
            !of_name.is_empty()
        });
    }
}

impl Family {
    fn new(metric: &Arc<Metric>, plugin: &str, registry: &Registry) -> Self {
        let shown = Shown::new(plugin, metric, registry);
        Self { metric: Arc::clone(metric), shown, series: HashMap::new() }
    }

    /// Help texts may change from version to version; the first stays.
    fn is_of(&self, metric: &Metric) -> bool {
        self.metric.kind == metric.kind && self.metric.labels == metric.labels
    }

    fn has(&self, plugin: &str, labels: &Labels) -> bool {
        self.series.get(plugin).is_some_and(|series| series.contains(labels))
    }

    fn update(&self, plugin: &str, update: &MetricUpdate) {
        let values = values(plugin, &update.labels);
        match &self.shown {
            Some(Shown::Counter(family)) => family.with_label_values(&values).inc_by(update.value),
            Some(Shown::Gauge(family)) => family.with_label_values(&values).set(update.value),
            Some(Shown::Histogram(family)) => {
                let series = family.with_label_values(&values);
                update.values().for_each(|value| series.observe(value));
            }
            None => {}
        }
    }

    /// Lets a plugin's series go; tells whether there are others. If there are none, the metric is gone, too.
    fn forget(&mut self, plugin: &str, registry: &Registry) -> bool {
        for labels in self.series.remove(plugin).into_iter().flatten() {
            let values = values(plugin, &labels);
            // It was shown, or there is nothing to remove.
            let _ = match &self.shown {
                Some(Shown::Counter(family)) => family.remove_label_values(&values),
                Some(Shown::Gauge(family)) => family.remove_label_values(&values),
                Some(Shown::Histogram(family)) => family.remove_label_values(&values),
                None => Ok(()),
            };
        }
        if self.series.is_empty()
            && let Some(shown) = self.shown.take()
        {
            // It was registered when it was made.
            let _ = registry.unregister(shown.collector());
        }
        !self.series.is_empty()
    }
}

impl Shown {
    /// None, with a line in the log, if it cannot be shown: the name is another metric's.
    fn new(plugin: &str, metric: &Metric, registry: &Registry) -> Option<Self> {
        let name = format!("sluice_plugin_custom_{}", metric.name);
        let mut labels = vec!["plugin"];
        labels.extend(metric.labels.iter().map(String::as_str));
        let made = match metric.kind {
            MetricKind::Counter => CounterVec::new(Opts::new(name, &metric.help), &labels).map(Self::Counter),
            MetricKind::Gauge => GaugeVec::new(Opts::new(name, &metric.help), &labels).map(Self::Gauge),
            MetricKind::Histogram => {
                HistogramVec::new(HistogramOpts::new(name, &metric.help), &labels).map(Self::Histogram)
            }
        };
        let shown = made.and_then(|made| registry.register(made.collector()).map(|()| made));
        shown
            .inspect_err(|error| {
                tracing::warn!(event = "plugin.metric", plugin, metric = metric.name, %error, "the metric is not shown");
            })
            .ok()
    }

    fn collector(&self) -> Box<dyn Collector> {
        match self {
            Self::Counter(family) => Box::new(family.clone()),
            Self::Gauge(family) => Box::new(family.clone()),
            Self::Histogram(family) => Box::new(family.clone()),
        }
    }
}

fn values<'v>(plugin: &'v str, labels: &'v Labels) -> Vec<&'v str> {
    std::iter::once(plugin).chain(labels.iter()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, label: &str, value: &str) -> MetricUpdate {
        let (kind, name, help) = (MetricKind::Counter, name.to_owned(), "Things.".to_owned());
        let metric = Arc::new(Metric { kind, name, help, labels: vec![label.to_owned()] });
        MetricUpdate { metric, labels: [value].into_iter().collect(), value: 1.5, more: Vec::new() }
    }

    /// Every series that is shown: name, label values, value.
    fn shown(registry: &Registry) -> Vec<String> {
        let mut all = Vec::new();
        for family in registry.gather() {
            for metric in family.get_metric() {
                let labels: Vec<_> = metric.get_label().iter().map(|label| label.value().to_owned()).collect();
                all.push(format!("{} {} {}", family.name(), labels.join(" "), metric.get_counter().get_value()));
            }
        }
        all.sort();
        all
    }

    #[test]
    fn a_plugin_has_so_many_series_over_all_metrics_and_known_ones_go_on() {
        let registry = Registry::new();
        let metrics = CustomMetrics::new(&registry);
        let (one, other) = (metrics.of("a"), metrics.of("b"));
        assert!(!one.commit(&[count("calls", "depot", "x"), count("drops", "depot", "x")], 2));
        assert!(metrics.of("a").commit(&[count("calls", "depot", "y"), count("calls", "depot", "x")], 2));
        assert!(one.commit(&[count("more", "depot", "x")], 2), "whoever asks, it is the same plugin");
        assert!(!other.commit(&[count("calls", "depot", "y")], 2), "another plugin has its own");
        let name = |rest: &str| format!("sluice_plugin_custom_{rest}");
        assert_eq!(shown(&registry), ["calls x a 3", "calls y b 1.5", "drops x a 1.5"].map(name));
    }

    #[test]
    fn the_series_of_a_plugin_go_with_the_last_who_has_them() {
        let registry = Registry::new();
        let metrics = CustomMetrics::new(&registry);
        let (one, again, other) = (metrics.of("a"), metrics.of("a"), metrics.of("b"));
        one.commit(&[count("calls", "depot", "x"), count("drops", "depot", "x")], 2);
        other.commit(&[count("calls", "depot", "x")], 2);
        drop(one);
        assert_eq!(shown(&registry).len(), 3, "another version of it serves");
        drop(again);
        assert_eq!(shown(&registry), ["sluice_plugin_custom_calls x b 1.5"]);
        assert!(!metrics.of("a").commit(&[count("drops", "site", "x")], 1), "it begins anew");
        drop(other);
        assert_eq!(metrics.all().families.len(), 0);
        assert_eq!(metrics.all().plugins.len(), 0);
    }

    #[test]
    fn of_two_metrics_with_one_name_the_first_is_shown_and_both_have_series() {
        let registry = Registry::new();
        let metrics = CustomMetrics::new(&registry);
        let (one, other) = (metrics.of("a"), metrics.of("b"));
        one.commit(&[count("calls", "depot", "x")], 1);
        other.commit(&[count("calls", "site", "x")], 1);
        assert_eq!(shown(&registry), ["sluice_plugin_custom_calls x a 1.5"]);
        assert!(other.commit(&[count("calls", "site", "y")], 1), "what is not shown is a series, too");
    }
}
