//! Figures for Prometheus: one registry, and the address where it is scraped.

use std::sync::Arc;

use http::StatusCode;
use prometheus::{Encoder as _, IntGauge, Opts, Registry, TextEncoder};

use super::process::Process;
use super::server::{self, Answer, Site};
use crate::config::Mark;
use crate::config::section::{NOT_YET, Section};
use crate::receiver::Endpoint;
use crate::series::Aggregates;

/// The Collector's.
const DEFAULT_HOST: &str = "localhost";
/// The Collector's.
const DEFAULT_PORT: u64 = 8888;

/// The text format of Prometheus.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The settings of `service.telemetry.metrics`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where `/metrics` is served.
    pub readers: Vec<Reader>,
}

/// An address where `/metrics` is served.
#[derive(Debug, Clone, PartialEq)]
pub struct Reader {
    /// Where.
    pub endpoint: Endpoint,
    /// Whether the configuration says so; a default address may be taken by another process.
    pub configured: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { readers: vec![Reader::new(&format!("{DEFAULT_HOST}:{DEFAULT_PORT}"), Mark::default(), false)] }
    }
}

impl Reader {
    fn new(text: &str, mark: Mark, configured: bool) -> Self {
        Self { endpoint: Endpoint { text: text.to_owned(), mark }, configured }
    }
}

impl Settings {
    /// Reads the settings.
    pub fn read(mut section: Section<'_>) -> Self {
        let mut settings = Self::default();
        if section.has("readers") {
            settings.readers = section.sections("readers").into_iter().filter_map(reader).collect();
        }
        if let Some(address) = section.str("address") {
            if section.has("readers") {
                section.error("address", "`address` and `readers` say the same; take `address` out");
            } else {
                section.warning("address", "`address` is the Collector's older way; name a `pull` reader in `readers`");
                let reader = Reader::new(&address, section.mark("address"), true);
                if let Some(problem) = reader.endpoint.problem() {
                    section.error("address", format!("`address`: {problem}"));
                }
                settings.readers = vec![reader];
            }
        }
        if section.one_of("level", &["none", "basic", "normal", "detailed"], "normal") == "none" {
            settings.readers.clear();
        }
        section.unsupported("views", NOT_YET);
        section.finish();
        settings
    }
}

/// `{pull: {exporter: {prometheus: {host, port}}}}`
fn reader(mut section: Section<'_>) -> Option<Reader> {
    section.unsupported("periodic", NOT_YET);
    let pull = section.section("pull");
    if pull.is_none() && !section.has("periodic") {
        section.complain("a reader is `pull: { exporter: { prometheus: { host, port } } }`");
    }
    section.finish();
    let mut pull = pull?;
    let exporter = pull.section("exporter");
    if exporter.is_none() {
        pull.complain("`pull` needs `exporter: { prometheus: { host, port } }`");
    }
    pull.finish();
    let mut exporter = exporter?;
    let prometheus = exporter.section("prometheus");
    if prometheus.is_none() {
        exporter.complain("the only `exporter` of a `pull` reader is `prometheus`");
    }
    exporter.finish();
    let mut prometheus = prometheus?;
    let mark = if prometheus.has("port") { prometheus.mark("port") } else { prometheus.here().clone() };
    let configured = prometheus.has("port") || prometheus.has("host");
    let host = prometheus.str_or("host", DEFAULT_HOST);
    let port = prometheus.u64_or("port", DEFAULT_PORT);
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    let reader = Reader::new(&format!("{host}:{port}"), mark, configured);
    if u16::try_from(port).is_err() {
        prometheus.error("port", "`port` must be from 0 to 65535");
    } else if let Some(problem) = reader.endpoint.problem() {
        prometheus.error("host", format!("`host`: {problem}"));
    }
    for key in ["without_scope_info", "without_type_suffix", "without_units"] {
        if !prometheus.bool_or(key, true) {
            prometheus.error(key, format!("`{key}: false` is {NOT_YET}"));
        }
    }
    prometheus.unsupported("with_resource_constant_labels", NOT_YET);
    prometheus.finish();
    Some(reader)
}

/// All figures of the process. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    series: Aggregates,
}

impl Default for Metrics {
    /// A registry with the figures of the process and its version.
    fn default() -> Self {
        let registry = Registry::new();
        // The names are right and stand here once, so nothing of it can fail.
        let _ = Process::new().and_then(|process| registry.register(Box::new(process)));
        let info = Opts::new("sluice_build_info", "1, with the version of the program.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let _ = IntGauge::with_opts(info).and_then(|info| {
            info.set(1);
            registry.register(Box::new(info))
        });
        Self { registry, series: Aggregates::default() }
    }
}

impl Metrics {
    /// Where others register theirs.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The series of connectors, which are shown apart.
    pub fn series(&self) -> &Aggregates {
        &self.series
    }

    /// All figures in the text format of Prometheus.
    ///
    /// # Errors
    /// When a family has no metric.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn answer(&self) -> Answer {
        match self.encode() {
            Ok(text) => server::text(StatusCode::OK, CONTENT_TYPE, text),
            Err(error) => server::text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
        }
    }
}

/// `GET /metrics` at all addresses of the settings.
pub fn sites(settings: &Settings, metrics: &Metrics) -> impl Iterator<Item = Site> {
    let metrics = metrics.clone();
    let respond = server::pages(move |path| (path == "/metrics").then(|| metrics.answer()));
    let site = move |reader: &Reader| Site {
        component: "telemetry".to_owned(),
        endpoint: reader.endpoint.clone(),
        configured: reader.configured,
        respond: Arc::clone(&respond),
    };
    settings.readers.iter().map(site)
}
