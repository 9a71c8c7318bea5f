//! Components: their ids, and how the sections that list them are read.

use std::fmt;

use super::mark::Mark;
use super::nearest::nearest;
use super::section::Section;

/// Types that the Collector's users know and that Sluice does not have.
const COLLECTORS: &[&str] = &[
    "alibabacloud_logservice",
    "awsemf",
    "awss3",
    "awsxray",
    "azuremonitor",
    "basicauth",
    "batch",
    "bearertokenauth",
    "cassandra",
    "clickhouse",
    "coralogix",
    "count",
    "cumulativetodelta",
    "datadog",
    "deltatorate",
    "dynatrace",
    "elasticsearch",
    "exceptions",
    "failover",
    "file",
    "file_storage",
    "filelog",
    "fluentforward",
    "forward",
    "geoip",
    "googlecloud",
    "groupbyattrs",
    "groupbytrace",
    "headers_setter",
    "health_check",
    "honeycombmarker",
    "hostmetrics",
    "interval",
    "isolationforest",
    "jaeger",
    "jaeger_remote_sampling",
    "k8s_attributes",
    "k8s_observer",
    "k8sattributes",
    "kafka",
    "kafkametrics",
    "loadbalancing",
    "logdedup",
    "logstransform",
    "logzio",
    "memory_limiter",
    "metricsgeneration",
    "metricstransform",
    "nop",
    "oauth2client",
    "oidc",
    "opamp",
    "opencensus",
    "opensearch",
    "otelarrow",
    "otlp",
    "otlp_grpc",
    "otlp_http",
    "otlphttp",
    "otlpjsonfile",
    "pprof",
    "prometheus",
    "prometheusremotewrite",
    "pulsar",
    "queuebatch",
    "rabbitmq",
    "redaction",
    "remotetap",
    "resource",
    "resource_detection",
    "resourcedetection",
    "routing",
    "schema",
    "sentry",
    "servicegraph",
    "sigv4auth",
    "skywalking",
    "solace",
    "span",
    "spanmetrics",
    "splunk_hec",
    "sumologic",
    "syslog",
    "tail_sampling",
    "tencentcloud_logservice",
    "transform",
    "unroll",
    "webhookevent",
    "zipkin",
    "zpages",
];

/// `type` or `type/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    kind: String,
    name: String,
}

impl Id {
    /// Reads an id.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) if !name.trim().is_empty() => (kind, name.trim()),
            Some(_) => return Err("nothing follows the `/`"),
            None => (text, ""),
        };
        let kind = kind.trim();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !kind.starts_with(|c: char| c.is_ascii_alphabetic()) || !kind.chars().all(word) {
            return Err("a type consists of letters, digits and `_`");
        }
        if name.chars().any(char::is_control) {
            return Err("a name has no control characters");
        }
        Ok(Self { kind: kind.to_owned(), name: name.to_owned() })
    }

    /// The type.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The name; empty if there is none.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, "/{}", self.name) }
    }
}

/// A component of the configuration.
#[derive(Debug, Clone)]
pub struct Component<S> {
    /// `type[/name]`, as written.
    pub id: Id,
    /// Where it is configured.
    pub mark: Mark,
    /// What it is configured to do.
    pub settings: S,
}

/// Equal when they do the same, wherever that is written.
impl<S: PartialEq> PartialEq for Component<S> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.settings == other.settings
    }
}

/// One of the sections that list components.
pub(super) struct Kind {
    /// `receiver`
    pub name: &'static str,
    /// `receivers`
    pub key: &'static str,
    /// The types there are.
    pub types: &'static [&'static str],
}

/// The type that an older name of the Collector stands for.
pub(super) fn present_name<'k>(key: &str, kind: &'k str) -> &'k str {
    match (key, kind) {
        ("exporters", "otlp") => "otlp_grpc",
        ("exporters", "otlphttp") => "otlp_http",
        ("processors", "resourcedetection") => "resource_detection",
        _ => kind,
    }
}

/// Reads all components of a kind. `read` gets a type and its settings and says `None` if there is
/// no such type.
pub(super) fn read<S>(
    top: &mut Section<'_>,
    kind: &Kind,
    read: impl Fn(&str, Section<'_>) -> Option<S>,
) -> Vec<Component<S>> {
    let Some(mut section) = top.section(kind.key) else { return Vec::new() };
    let mut components = Vec::new();
    for (text, mark, node) in section.entries() {
        let id = match Id::parse(&text) {
            Ok(id) => id,
            Err(reason) => {
                section.error(&text, format!("`{text}` is no {} id: {reason}", kind.name));
                continue;
            }
        };
        let Some(settings) = node.into_section() else { continue };
        let present = present_name(kind.key, id.kind());
        if !kind.types.contains(&present) && !kind.types.contains(&id.kind()) {
            section.error(&text, unknown(kind, id.kind()));
            continue;
        }
        // Which of both names the list has is of no concern here.
        let known = if kind.types.contains(&present) { present } else { id.kind() };
        if let Some(settings) = read(known, settings) {
            components.push(Component { id, mark, settings });
        }
    }
    components
}

fn unknown(kind: &Kind, name: &str) -> String {
    if COLLECTORS.contains(&name) {
        let hint = match (kind.key, name) {
            ("connectors", "failover") => "; the exporter `failover` does this one's work",
            ("processors", "spanmetrics") => "; it is a connector, name it under `connectors`",
            _ => "",
        };
        return format!("{} type `{name}` is not supported yet{hint}", kind.name);
    }
    let known = kind.types.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
    match nearest(name, kind.types.iter().copied()) {
        Some(nearest) => format!("unknown {} type `{name}`; did you mean `{nearest}`?", kind.name),
        None => format!("unknown {} type `{name}`; there are {known}", kind.name),
    }
}
