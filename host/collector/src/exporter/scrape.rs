//! The `prometheus` exporter: series of connectors, for whoever asks for them.

use std::sync::Arc;

use http::header::ACCEPT;
use http::request::Parts;
use http::{Method, StatusCode};

use crate::config::section::{NOT_YET, Section};
use crate::receiver::Endpoint;
use crate::series::{self, Aggregate, Style};
use crate::telemetry::server::{self, Site};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROTOBUF: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// The settings of a `prometheus` exporter.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where `/metrics` is served.
    pub endpoint: Endpoint,
    /// Before every name, as Prometheus has it; empty for none.
    pub namespace: String,
    /// Labels of every series.
    pub const_labels: Vec<(String, String)>,
    /// Samples have the time at which they are shown.
    pub send_timestamps: bool,
    /// Those who ask for it get the format of `OpenMetrics`.
    pub open_metrics: bool,
    /// Units and types end the names of metrics.
    pub suffixes: bool,
}

impl Settings {
    /// Reads the settings.
    pub fn read(mut section: Section<'_>) -> Self {
        let endpoint = if section.str("endpoint").is_some_and(|text| !text.is_empty()) {
            Endpoint::read(&mut section, "")
        } else {
            section.error("endpoint", "an `endpoint` is needed: where `/metrics` is served, like `localhost:8889`");
            Endpoint { text: String::new(), mark: section.mark("endpoint") }
        };
        let mut suffixes = section.bool_or("add_metric_suffixes", true);
        match section.one_of("translation_strategy", &STRATEGIES, "") {
            "UnderscoreEscapingWithSuffixes" => suffixes = true,
            "UnderscoreEscapingWithoutSuffixes" => suffixes = false,
            "" => {}
            other => section.error("translation_strategy", format!("`{other}` is {NOT_YET}")),
        }
        let settings = Self {
            endpoint,
            namespace: name(&section.str_or("namespace", "")),
            const_labels: const_labels(&mut section),
            send_timestamps: section.bool_or("send_timestamps", false),
            open_metrics: section.bool_or("enable_open_metrics", false),
            suffixes,
        };
        if section.has("metric_expiration") {
            section.duration_or("metric_expiration", std::time::Duration::ZERO);
            let instead = "series go when their connector lets go of them, see its `metrics_expiration`";
            section.warning("metric_expiration", format!("`metric_expiration` changes nothing: {instead}"));
        }
        if let Some(mut conversion) = section.section("resource_to_telemetry_conversion") {
            for key in ["enabled", "exclude_service_attributes"] {
                if conversion.bool_or(key, false) {
                    conversion.error(key, format!("`{key}: true` is {NOT_YET}"));
                }
            }
            conversion.finish();
        }
        if !section.bool_or("without_scope_info", true) {
            section.error("without_scope_info", format!("`without_scope_info: false` is {NOT_YET}"));
        }
        for key in server::LATER.iter().chain(&LATER) {
            section.unsupported(key, NOT_YET);
        }
        section.finish();
        settings
    }

    /// What is served of these connectors' series.
    pub fn site(&self, id: &str, aggregates: Vec<Arc<Aggregate>>) -> Site {
        let settings = self.clone();
        let answer = move |request: &Parts| settings.answer(request, &aggregates);
        Site {
            component: id.to_owned(),
            endpoint: self.endpoint.clone(),
            configured: true,
            respond: Arc::new(move |request: &Parts| server::now(answer(request))),
        }
    }

    fn answer(&self, request: &Parts, aggregates: &[Arc<Aggregate>]) -> server::Answer {
        if request.method != Method::GET && request.method != Method::HEAD {
            return server::text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n");
        }
        if request.uri.path() != "/metrics" {
            return server::text(StatusCode::NOT_FOUND, "text/plain", "there is nothing here but /metrics\n");
        }
        let accepted = request.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let format = format(accepted, self.open_metrics);
        let style = Style {
            open_metrics: format == OPEN_METRICS,
            timestamps: self.send_timestamps,
            namespace: self.namespace.clone(),
            const_labels: self.const_labels.clone(),
            suffixes: self.suffixes,
        };
        let aggregates = aggregates.iter().map(AsRef::as_ref);
        if format == PROTOBUF {
            return server::text(StatusCode::OK, format, series::encode(aggregates, &style));
        }
        server::text(StatusCode::OK, format, series::render(aggregates, &style))
    }
}

/// The format that is asked for most, of several the first; text for those who ask for none that is known.
fn format<'a>(accepted: impl Iterator<Item = &'a str>, open_metrics: bool) -> &'static str {
    let (mut best, mut most) = (TEXT, 0.0);
    for range in accepted.flat_map(|ranges| ranges.split(',')) {
        let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
        let parameter = |wanted: &str| {
            let mut pairs = parameters.split(';').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(key, _)| key.trim().eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.trim().trim_matches('"'))
        };
        let is_families = parameter("proto") == Some("io.prometheus.client.MetricFamily")
            && parameter("encoding") == Some("delimited");
        let found = match name.trim() {
            "application/vnd.google.protobuf" if is_families => PROTOBUF,
            "application/openmetrics-text" if open_metrics => OPEN_METRICS,
            "text/plain" | "text/*" | "*/*" => TEXT,
            _ => continue,
        };
        let q = parameter("q").map_or(1.0, |q| q.parse().unwrap_or(0.0));
        if q > most {
            (best, most) = (found, q);
        }
    }
    best
}

const STRATEGIES: [&str; 4] = [
    "UnderscoreEscapingWithSuffixes",
    "UnderscoreEscapingWithoutSuffixes",
    "NoUTF8EscapingWithSuffixes",
    "NoTranslation",
];

/// Keys of the Collector's exporter, beside those of what serves it.
const LATER: [&str; 4] = ["sending_queue", "retry_on_failure", "timeout", "resource_constant_labels"];

fn const_labels(section: &mut Section<'_>) -> Vec<(String, String)> {
    let labels = section.string_map("const_labels");
    labels.into_iter().map(|(key, value)| (name(&key), value)).collect()
}

/// A name as Prometheus has it.
fn name(text: &str) -> String {
    let made: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if made.starts_with(|c: char| c.is_ascii_digit()) { format!("_{made}") } else { made }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What servers of Prometheus ask for, without native histograms and with them, and what others do.
    #[test]
    fn the_format_that_is_asked_for_most_is_shown() {
        let open = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                    text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6";
        let cases = [
            (vec![open], true, OPEN_METRICS),
            (vec![open], false, TEXT),
            (vec![native, open], true, PROTOBUF),
            (vec![open, native], false, PROTOBUF),
            (vec!["application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text"], true, TEXT),
            (vec!["text/html, application/openmetrics-text; version=1.0.0, text/plain"], true, OPEN_METRICS),
            (vec!["application/openmetrics-text;q=0, text/plain;q=0.1"], true, TEXT),
            (vec![], true, TEXT),
        ];
        for (accepted, open_metrics, expected) in cases {
            assert_eq!(format(accepted.iter().copied(), open_metrics), expected, "{accepted:?} {open_metrics}");
        }
    }
}
