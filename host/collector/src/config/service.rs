//! The section `service`: pipelines, extensions, telemetry.

use super::component::Id;
use super::mark::Mark;
use super::node::Node;
use super::section::{NOT_YET, Section};
use super::tree::Value;
use crate::telemetry::{logs, metrics};

/// The signals of the Collector that Sluice does not take.
const OTHER_SIGNALS: &[&str] = &["logs", "profiles"];

/// What runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Service {
    /// The extensions that run.
    pub extensions: Vec<Named>,
    /// The pipelines, in the order written.
    pub pipelines: Vec<Pipeline>,
    /// Those of metrics, from connectors to `prometheus` exporters.
    pub metrics: Vec<Pipeline>,
    /// What the process tells of itself.
    pub telemetry: Telemetry,
}

/// What the process tells of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Telemetry {
    /// Its log.
    pub logs: logs::Settings,
    /// Its figures.
    pub metrics: metrics::Settings,
}

/// From where through what to where.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// `traces[/name]` or `metrics[/name]`.
    pub id: Id,
    /// Where it is configured.
    pub mark: Mark,
    /// Where spans come from.
    pub receivers: Vec<Id>,
    /// What they go through, in this order.
    pub processors: Vec<Id>,
    /// Where they go to; each gets all of them.
    pub exporters: Vec<Id>,
    /// The connectors that it exports to; they are the last of `processors`.
    pub connectors: Vec<Id>,
    /// Where each component is named.
    pub(super) marks: Vec<(Id, Mark)>,
}

/// Equal when they do the same, wherever that is written.
impl PartialEq for Pipeline {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, &self.receivers, &self.processors, &self.exporters)
            == (&other.id, &other.receivers, &other.processors, &other.exporters)
    }
}

/// An id, and where it is named.
#[derive(Debug, Clone)]
pub struct Named {
    /// The id.
    pub id: Id,
    /// The place.
    pub mark: Mark,
}

/// Equal when the ids are.
impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Service {
    /// Reads the section.
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let extensions = ids(&mut section, "extensions");
        let telemetry = section.section("telemetry").map(Telemetry::read).unwrap_or_default();
        let (mut pipelines, mut metrics) = (Vec::new(), Vec::new());
        match section.section("pipelines") {
            Some(mut listed) => {
                let entries = listed.entries();
                if entries.is_empty() {
                    section.error("pipelines", "`pipelines` is empty: name one, like `traces`");
                }
                for (name, mark, node) in entries {
                    match pipeline_id(&name) {
                        Ok(id) => {
                            let signal = if id.kind() == "metrics" { &mut metrics } else { &mut pipelines };
                            signal.extend(node.into_section().map(|section| Pipeline::read(id, mark, section)));
                        }
                        Err(reason) => listed.error(&name, reason),
                    }
                }
            }
            None => section.complain("`service` needs `pipelines`"),
        }
        section.finish();
        Self { extensions, pipelines, metrics, telemetry }
    }
}

fn pipeline_id(name: &str) -> Result<Id, String> {
    let id = Id::parse(name).map_err(|reason| format!("`{name}` is no pipeline id: {reason}"))?;
    match id.kind() {
        "traces" | "metrics" => Ok(id),
        other if OTHER_SIGNALS.contains(&other) => {
            Err(format!("pipeline `{name}`: only `traces` and `metrics` pipelines are supported"))
        }
        other => Err(format!(
            "pipeline `{name}`: there is no signal `{other}`; only `traces` and `metrics` pipelines are supported"
        )),
    }
}

impl Pipeline {
    fn read(id: Id, mark: Mark, mut section: Section<'_>) -> Self {
        let mut marks = Vec::new();
        let mut list = |key: &str, needed: bool| {
            let empty =
                section.node(key).is_none_or(|node| matches!(node.value(), Value::List(list) if list.is_empty()));
            let named = ids(&mut section, key);
            if needed && empty {
                let hint = if section.has(key) { "is empty" } else { "is missing" };
                section.error(key, format!("pipeline `{id}`: `{key}` {hint}"));
            }
            let ids: Vec<_> = named.iter().map(|named| named.id.clone()).collect();
            marks.extend(named.into_iter().map(|Named { id, mark }| (id, mark)));
            ids
        };
        let (receivers, processors, exporters) =
            (list("receivers", true), list("processors", false), list("exporters", true));
        section.finish();
        Self { id, mark, receivers, processors, exporters, connectors: Vec::new(), marks }
    }
}

/// A list of ids, each once.
pub(crate) fn ids(section: &mut Section<'_>, key: &str) -> Vec<Named> {
    let mut named: Vec<Named> = Vec::new();
    for node in section.node(key).map(Node::into_list).unwrap_or_default() {
        let Some(text) = node.str() else { continue };
        match Id::parse(&text) {
            Ok(id) if named.iter().any(|known| known.id == id) => node.error(format!("`{id}` stands here twice")),
            Ok(id) => named.push(Named { id, mark: node.mark().clone() }),
            Err(reason) => node.error(format!("`{text}` is no id: {reason}")),
        }
    }
    named
}

impl Telemetry {
    fn read(mut section: Section<'_>) -> Self {
        let logs = section.section("logs").map(logs::Settings::read).unwrap_or_default();
        let metrics = section.section("metrics").map(metrics::Settings::read).unwrap_or_default();
        section.unsupported("traces", NOT_YET);
        section.unsupported("resource", NOT_YET);
        section.finish();
        Self { logs, metrics }
    }
}
