//! Connectors: the last plugin of the traces pipelines that export to them, and where the series come from that
//! metrics pipelines bring to `prometheus` exporters.

use std::time::Duration;

use sluice_sandbox::{Access, Limits};

use super::check::place;
use super::component::{Component, Id, Kind};
use super::duration;
use super::processor::{self, OnPoison};
use super::section::{NOT_YET, Node, Problems, Section};
use super::service::{Pipeline, Service};
use super::{EXPORTERS, Names, check};
use crate::exporter::scrape;
use crate::series;

/// The types of connectors there are.
pub const TYPES: &[&str] = &["spanmetrics"];

/// Connectors, as they are listed.
pub(super) const CONNECTORS: Kind = Kind { name: "connector", key: "connectors", types: TYPES };

/// The exporter that takes series.
const PROMETHEUS: &str = "prometheus";

/// Calls into the host in one call unless the operator says otherwise: a few for each series of a slice, and spans
/// may have many events.
const HOST_CALLS: u32 = 100_000;

/// What a connector may read unless the operator allows less.
const ALL: [&str; 2] = ["*", "tables:*"];

/// The Collector's buckets of `spanmetrics`, in milliseconds.
const BOUNDS_MS: [f64; 16] =
    [2.0, 4.0, 6.0, 8.0, 10.0, 50.0, 100.0, 200.0, 400.0, 800.0, 1e3, 1.4e3, 2e3, 5e3, 1e4, 1.5e4];

/// A `prometheus` exporter and the connectors whose series it shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Scrape {
    /// The exporter's settings.
    pub settings: scrape::Settings,
    /// The connectors.
    pub connectors: Vec<Feed>,
}

/// A connector, as far as its series are known by it.
#[derive(Debug, Clone, PartialEq)]
pub struct Feed {
    /// The component id.
    pub id: String,
    /// Its plugin's configuration.
    pub config_json: String,
    /// How its series are kept.
    pub series: series::Settings,
}

/// Reads a connector: a plugin, of whose keys some are about the series that the host keeps.
pub(super) fn read(kind: &str, mut section: Section<'_>) -> Option<processor::Settings> {
    if !CONNECTORS.types.contains(&kind) {
        return None;
    }
    let series = series(&mut section);
    // Its series have a limit of their own.
    let limits = Limits { host_calls: HOST_CALLS, metric_series: u32::MAX, ..Limits::default() };
    let mut settings = processor::bundled(kind, section, limits);
    settings.series = Some(series);
    settings.on_poison.get_or_insert(OnPoison::Pass);
    // It counts what others get, too, and leaves it as it is.
    let read = settings.access.map_or_else(|| ALL.map(str::to_owned).to_vec(), |access| access.read);
    settings.access = Some(Access { read, write: Vec::new() });
    Some(settings)
}

fn series(section: &mut Section<'_>) -> series::Settings {
    let limit = section.u64_or("aggregation_cardinality_limit", series::DEFAULT_LIMIT as u64);
    let lives = ["metrics_expiration", "series_expiration"].map(|key| section.duration_or(key, Duration::ZERO));
    let exemplars = section.section("exemplars");
    let exemplars = exemplars.and_then(|mut exemplars| exemplars.u64("max_per_data_point"));
    let (bounds, max_size) = section.section("histogram").map_or_else(|| (BOUNDS_MS.to_vec(), None), buckets);
    series::Settings {
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        expires: lives.into_iter().filter(|life| !life.is_zero()).min(),
        exemplars: exemplars.map_or(series::DEFAULT_EXEMPLARS, |most| most as usize),
        bounds,
        max_size: max_size.map_or(series::DEFAULT_MAX_SIZE, |most| most as usize),
    }
}

/// The bounds in the unit of the histogram, or none and how many buckets an exponential one may have. The plugin tells
/// what is wrong with them.
fn buckets(mut histogram: Section<'_>) -> (Vec<f64>, Option<u64>) {
    match histogram.node("exponential").and_then(Node::into_section) {
        Some(mut exponential) => (Vec::new(), exponential.u64("max_size")),
        None => (bounds(histogram), None),
    }
}

fn bounds(mut histogram: Section<'_>) -> Vec<f64> {
    let in_seconds = histogram.node("unit").is_some_and(|unit| unit.text() == Some("s"));
    let buckets = histogram.section("explicit").and_then(|mut explicit| explicit.node("buckets"));
    let Some(buckets) = buckets else {
        return BOUNDS_MS.iter().map(|ms| if in_seconds { ms / 1e3 } else { *ms }).collect();
    };
    let nanos = buckets.list().into_iter().filter_map(|bound| duration::parse(bound.text()?).ok());
    nanos.map(|bound| bound.as_nanos() as f64 / if in_seconds { 1e9 } else { 1e6 }).collect()
}

/// Reads the `prometheus` exporters. What is wrong with ids and types is told where the others are read.
pub(super) fn prometheus_exporters(top: &mut Section<'_>) -> Vec<Component<scrape::Settings>> {
    let Some(mut section) = top.section(EXPORTERS.key) else { return Vec::new() };
    let mut found = Vec::new();
    for (text, mark, node) in section.entries() {
        let Ok(id) = Id::parse(&text) else { continue };
        if let Some(section) = (id.kind() == PROMETHEUS).then(|| node.into_section()).flatten() {
            found.push(Component { id, mark, settings: scrape::Settings::read(section) });
        }
    }
    found
}

/// Makes connectors the last plugins of the pipelines that export to them, and gives `prometheus` exporters their
/// connectors. What cannot be wired so is told.
pub(super) fn wire(
    service: &mut Service,
    connectors: &[Component<processor::Settings>],
    exporters: Vec<Component<scrape::Settings>>,
    names: &Names,
    problems: &Problems,
) -> Vec<Component<Scrape>> {
    check_pipelines(service, names, problems);
    for pipeline in &mut service.pipelines {
        let all = std::mem::take(&mut pipeline.exporters);
        (pipeline.connectors, pipeline.exporters) = all.into_iter().partition(|id| is_connector(names, id));
        pipeline.processors.extend_from_slice(&pipeline.connectors);
    }
    let scrape = |Component { id, mark, settings }: Component<scrape::Settings>| {
        let pipelines: Vec<_> = service.metrics.iter().filter(|pipeline| pipeline.exporters.contains(&id)).collect();
        let feeds = |known: &&Component<processor::Settings>| {
            pipelines.iter().any(|pipeline| pipeline.receivers.contains(&known.id))
        };
        let feed = |Component { id, settings, .. }: &Component<processor::Settings>| {
            let series = settings.series.clone()?;
            Some(Feed { id: id.to_string(), config_json: settings.config_json.clone(), series })
        };
        let connectors = connectors.iter().filter(feeds).filter_map(feed).collect();
        (!pipelines.is_empty()).then_some(Component { id, mark, settings: Scrape { settings, connectors } })
    };
    exporters.into_iter().filter_map(scrape).collect()
}

fn is_connector(names: &Names, id: &Id) -> bool {
    check::defines(names, &CONNECTORS, id)
}

fn check_pipelines(service: &Service, names: &Names, problems: &Problems) {
    let tell = |pipeline: &Pipeline, id: &Id, reason: String| {
        problems.borrow_mut().error(&place(pipeline, id), format!("pipeline `{}`: {reason}", pipeline.id));
    };
    let gives = |id: &Id| service.metrics.iter().any(|pipeline| pipeline.receivers.contains(id));
    let takes = |id: &Id| service.pipelines.iter().any(|pipeline| pipeline.exporters.contains(id));
    for pipeline in &service.pipelines {
        for id in pipeline.receivers.iter().filter(|id| is_connector(names, id)) {
            tell(pipeline, id, format!("connector `{id}` gives metrics: name it in a pipeline `metrics`"));
        }
        for id in pipeline.exporters.iter().filter(|id| id.kind() == PROMETHEUS) {
            tell(pipeline, id, format!("exporter `{id}` takes metrics, no spans: name it in a pipeline `metrics`"));
        }
        for id in pipeline.exporters.iter().filter(|id| is_connector(names, id) && !gives(id)) {
            tell(
                pipeline,
                id,
                format!("connector `{id}` is no receiver of a pipeline `metrics`: nobody would see what it counts"),
            );
        }
    }
    for pipeline in &service.metrics {
        for id in &pipeline.receivers {
            if !is_connector(names, id) {
                tell(pipeline, id, format!("`{id}` as a receiver of metrics is {NOT_YET}; connectors are"));
            } else if !takes(id) {
                tell(
                    pipeline,
                    id,
                    format!("connector `{id}` is no exporter of a pipeline `traces`: it would get no spans"),
                );
            }
        }
        for id in &pipeline.processors {
            tell(pipeline, id, format!("`{id}`: processors of metrics are {NOT_YET}"));
        }
        for id in pipeline.exporters.iter().filter(|id| id.kind() != PROMETHEUS) {
            tell(pipeline, id, format!("`{id}` as an exporter of metrics is {NOT_YET}; `prometheus` is"));
        }
    }
}
