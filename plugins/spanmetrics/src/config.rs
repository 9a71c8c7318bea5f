//! The connector's keys.

use serde::de::IgnoredAny;
use sluice_sampling::duration;
use sluice_sdk::prelude::*;

use crate::Source;
use crate::buckets::{self, Buckets, Unit};
use crate::columns::Wanted;
use crate::labels::Label;
use crate::meter::{Meter, Plan, What};
use crate::names;

const NAMESPACE: &str = "traces.span.metrics";

/// Labels that a metric may have beside those of its buckets and exemplars, for all the host takes.
const MAX_LABELS: usize = 29;

/// Buckets that an exponential histogram may have: with one, nothing could be told apart, and series should be small.
const MAX_SIZES: std::ops::RangeInclusive<i64> = 2..=500;

/// The labels that every series has, unless they are excluded.
const DEFAULTS: [(&str, Source); 4] = [
    ("service.name", Source::Service),
    ("span.name", Source::Name),
    ("span.kind", Source::Kind),
    ("status.code", Source::Status),
];

/// The connector's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    dimensions: Option<Vec<Dimension>>,
    calls_dimensions: Option<Vec<Dimension>>,
    exclude_dimensions: Option<Vec<String>>,
    include_instrumentation_scope: Option<Vec<String>>,
    histogram: Option<Histogram>,
    exemplars: Option<Exemplars>,
    events: Option<Events>,
    namespace: Option<String>,
    aggregation_temporality: Option<String>,
    #[serde(default)]
    add_resource_attributes: bool,
    #[serde(default)]
    enable_metrics_sampling_method: bool,
    // The host's, which keeps the series.
    #[serde(rename = "aggregation_cardinality_limit")]
    _limit: Option<IgnoredAny>,
    #[serde(rename = "metrics_expiration")]
    _metrics_expiration: Option<IgnoredAny>,
    #[serde(rename = "series_expiration")]
    _series_expiration: Option<IgnoredAny>,
    // Without effect.
    metrics_flush_interval: Option<IgnoredAny>,
    dimensions_cache_size: Option<IgnoredAny>,
    resource_metrics_cache_size: Option<IgnoredAny>,
    resource_metrics_key_attributes: Option<Vec<String>>,
    metric_timestamp_cache_size: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dimension {
    name: String,
    default: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Histogram {
    #[serde(default)]
    disable: bool,
    #[serde(default)]
    unit: Unit,
    explicit: Option<Explicit>,
    exponential: Option<Exponential>,
    dimensions: Option<Vec<Dimension>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Explicit {
    buckets: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exponential {
    max_size: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Exemplars {
    #[serde(default)]
    enabled: bool,
    // The host's.
    #[serde(rename = "max_per_data_point")]
    _max_per_data_point: Option<IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Events {
    #[serde(default)]
    enabled: bool,
    dimensions: Option<Vec<Dimension>>,
}

/// What is wrong, as it is found.
#[derive(Default)]
struct Problems(Vec<ConfigError>);

impl Problems {
    fn tell(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(ConfigError::new(path, message));
    }
}

impl Config {
    /// Keys that are set and change nothing, because they are about what the Collector sends from time to time.
    pub(crate) fn without_effect(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("metrics_flush_interval", self.metrics_flush_interval.is_some()),
            ("dimensions_cache_size", self.dimensions_cache_size.is_some()),
            ("resource_metrics_cache_size", self.resource_metrics_cache_size.is_some()),
            (
                "resource_metrics_key_attributes",
                self.resource_metrics_key_attributes.as_ref().is_some_and(|keys| !keys.is_empty()),
            ),
            ("metric_timestamp_cache_size", self.metric_timestamp_cache_size.is_some()),
        ];
        keys.into_iter().filter_map(|(key, is_set)| is_set.then_some(key))
    }

    /// What counts, and what it needs.
    pub(crate) fn read(self) -> Result<(Vec<Meter>, Wanted), Vec<ConfigError>> {
        let mut problems = Problems::default();
        self.refuse(&mut problems);
        let histogram = self.histogram.unwrap_or_default();
        let bounds = histogram.bounds(&mut problems);
        histogram.check_exponential(&mut problems);
        let events = self.events.unwrap_or_default();
        let exemplars = self.exemplars.unwrap_or_default().enabled;
        let scopes = self.include_instrumentation_scope.unwrap_or_default();
        let mut wanted = Wanted { scopes, events: events.enabled, ids: exemplars, ..Wanted::default() };
        let excluded = self.exclude_dimensions.unwrap_or_default();
        let is_excluded = |name: &str| excluded.iter().any(|excluded| excluded == name);
        let mut common: Vec<Label> = DEFAULTS
            .into_iter()
            .filter(|(name, _)| !is_excluded(name))
            .map(|(name, source)| Label::new(name, source))
            .collect();
        if !wanted.scopes.is_empty() {
            common.push(Label::new("span.instrumentation.scope.name", Source::ScopeName));
            common.push(Label::new("span.instrumentation.scope.version", Source::ScopeVersion));
        }
        let common = add("dimensions", self.dimensions, &common, &mut wanted, &mut problems);
        let of_calls = add("calls_dimensions", self.calls_dimensions, &common, &mut wanted, &mut problems);
        let of_durations = add("histogram.dimensions", histogram.dimensions, &common, &mut wanted, &mut problems);
        if events.enabled && events.dimensions.as_ref().is_none_or(Vec::is_empty) {
            problems.tell("events", "`events` needs `dimensions` when it is enabled");
        }
        let of_events = add("events.dimensions", events.dimensions, &common, &mut wanted, &mut problems);
        if !problems.0.is_empty() {
            return Err(problems.0);
        }
        let namespace = self.namespace.as_deref().unwrap_or(NAMESPACE);
        let named = |name: &str| names::metric(&format!("{namespace}.{name}"));
        let unit = histogram.unit;
        let plan = |what, labels| Plan { what, labels, counter: None, histogram: None, unit, exemplars };
        let buckets = histogram.exponential.is_none().then(|| Buckets::new(&bounds, unit));
        let durations = (named(&format!("duration.{}", unit.word())), buckets);
        let is_same = of_calls.len() == common.len() && of_durations.len() == common.len();
        let mut plans = vec![Plan { counter: Some(named("calls")), ..plan(What::Spans, of_calls) }];
        if !histogram.disable {
            match plans.first_mut().filter(|_| is_same) {
                // One look at each span does for both.
                Some(calls) => calls.histogram = Some(durations),
                None => plans.push(Plan { histogram: Some(durations), ..plan(What::Spans, of_durations) }),
            }
        }
        if events.enabled {
            plans.push(Plan { counter: Some(named("events")), ..plan(What::Events, of_events) });
        }
        Ok((plans.into_iter().map(Meter::new).collect(), wanted))
    }

    fn refuse(&self, problems: &mut Problems) {
        match self.aggregation_temporality.as_deref() {
            None | Some("" | "AGGREGATION_TEMPORALITY_CUMULATIVE") => {}
            Some("AGGREGATION_TEMPORALITY_DELTA") => problems
                .tell("aggregation_temporality", "delta temporality is not supported yet: series are cumulative"),
            Some(_) => problems.tell("aggregation_temporality", "must be `AGGREGATION_TEMPORALITY_CUMULATIVE`"),
        }
        for (key, is_set) in [
            ("add_resource_attributes", self.add_resource_attributes),
            ("enable_metrics_sampling_method", self.enable_metrics_sampling_method),
        ] {
            if is_set {
                problems.tell(key, format!("`{key}: true` is not supported yet"));
            }
        }
        for (i, name) in self.exclude_dimensions.iter().flatten().enumerate() {
            // Sluice's series have none of the collector's own.
            if !DEFAULTS.iter().any(|(known, _)| known == name) && name != "collector.instance.id" {
                let known = "`service.name`, `span.name`, `span.kind` and `status.code` can be";
                problems.tell(format!("exclude_dimensions[{i}]"), format!("`{name}` cannot be excluded; {known}"));
            }
        }
    }
}

impl Histogram {
    fn check_exponential(&self, problems: &mut Problems) {
        let Some(exponential) = &self.exponential else { return };
        if self.explicit.is_some() {
            problems.tell("histogram", "use either `explicit` or `exponential` buckets");
        }
        if exponential.max_size.is_some_and(|size| !MAX_SIZES.contains(&size)) {
            let (least, most) = (MAX_SIZES.start(), MAX_SIZES.end());
            problems.tell("histogram.exponential.max_size", format!("must be between {least} and {most} buckets"));
        }
    }

    /// The bounds in nanoseconds.
    fn bounds(&self, problems: &mut Problems) -> Vec<u64> {
        let Some(texts) = self.explicit.as_ref().and_then(|explicit| explicit.buckets.as_ref()) else {
            return buckets::DEFAULT.to_vec();
        };
        let mut bounds = Vec::with_capacity(texts.len());
        for (i, text) in texts.iter().enumerate() {
            let path = format!("histogram.explicit.buckets[{i}]");
            let nanos = duration(text).and_then(|bound| u64::try_from(bound.as_nanos()).ok());
            match nanos {
                Some(bound) if bounds.last().is_some_and(|last| *last >= bound) => {
                    problems.tell(path, "bounds must ascend");
                }
                Some(bound) => bounds.push(bound),
                None => problems.tell(path, format!("`{text}` is no duration like `100us`, `2ms` or `1.5s`")),
            }
        }
        bounds
    }
}

/// The labels `common` and those of these dimensions.
fn add(
    path: &str,
    own: Option<Vec<Dimension>>,
    common: &[Label],
    wanted: &mut Wanted,
    problems: &mut Problems,
) -> Vec<Label> {
    let mut labels = common.to_vec();
    for (i, Dimension { name, default }) in own.into_iter().flatten().enumerate() {
        let label = Label::new(&name, Source::Attribute(wanted.key(&name), default));
        let path = format!("{path}[{i}].name");
        // The excluded ones stay reserved, as in the Collector.
        let is_reserved = DEFAULTS.iter().any(|(known, _)| *known == name);
        if name.is_empty() {
            problems.tell(path, "a dimension needs a name");
        } else if is_reserved || labels.iter().any(|known| known.name == label.name) {
            problems.tell(
                path,
                format!("there is another dimension `{name}`, or one that gives the label `{}`", label.name),
            );
        } else if ["le", "trace_id", "span_id", "plugin"].contains(&label.name.as_str()) {
            problems.tell(path, format!("the label `{}` has a meaning of its own", label.name));
        } else {
            labels.push(label);
        }
    }
    if labels.len() > MAX_LABELS {
        problems.tell(path, format!("{} labels are more than the {MAX_LABELS} that a metric may have", labels.len()));
    }
    labels
}
