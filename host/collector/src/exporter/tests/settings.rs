//! The settings.

use std::time::Duration;

use crate::config::section::read_text;
use crate::exporter::{self, Settings};
use crate::otlp::compression::Encoding;

fn read(kind: &str, yaml: &str) -> (Settings, Vec<String>) {
    let (settings, problems) = read_text("e.yaml", yaml, |section| exporter::read(kind, section).unwrap());
    (settings, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn grpc_speaks_tls_unless_told_otherwise() {
    const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    for (yaml, uri) in [
        ("endpoint: up:4317", "https://up:4317"),
        ("endpoint: up:4317\ntls: { insecure: true }", "http://up:4317"),
        ("endpoint: http://up:4317/", "http://up:4317"),
        ("endpoint: dns:///up:4317", "https://up:4317"),
        ("endpoint: '[::1]:4317'", "https://[::1]:4317"),
    ] {
        let (Settings::OtlpGrpc(settings), problems) = read("otlp", yaml) else { panic!("{yaml}") };
        assert!(problems.is_empty(), "{yaml}: {problems:?}");
        assert_eq!(settings.uri.to_string(), format!("{uri}{PATH}"), "{yaml}");
        assert_eq!((settings.compression, settings.timeout), (Encoding::Gzip, Some(Duration::from_secs(5))));
    }
}

#[test]
fn a_zero_of_keepalive_is_its_default_as_in_grpc() {
    let with = |keepalive: &str| read("otlp", &format!("endpoint: up:1\nkeepalive: {{ {keepalive} }}"));
    assert_eq!(with("time: 0s, timeout: 0"), with(""));
}

#[test]
fn http_appends_the_path_to_an_endpoint_but_not_to_a_traces_endpoint() {
    for (yaml, uri) in [
        ("endpoint: https://up/otlp/", "https://up/otlp/v1/traces"),
        ("traces_endpoint: https://up/here", "https://up/here"),
    ] {
        let (Settings::OtlpHttp(settings), problems) = read("otlphttp", yaml) else { panic!("{yaml}") };
        assert!(problems.is_empty(), "{yaml}: {problems:?}");
        assert_eq!((settings.uri.to_string().as_str(), settings.timeout), (uri, Some(Duration::from_secs(30))));
    }
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    for (kind, yaml, told) in [
        ("otlp", "compression: none", "an `endpoint` is needed"),
        ("otlp", "endpoint: 'http://up:1/path'", "it must not have a path"),
        ("otlp", "endpoint: up:1\ncompression: snappy", "e.yaml:2:14: error: `compression` must be `gzip`"),
        ("otlp", "endpoint: up:1\ntls: { insecure_skip_verify: true }", "`insecure_skip_verify` is not supported"),
        (
            "otlphttp",
            "endpoint: up:4318",
            "e.yaml:1:1: error: `endpoint`: `up:4318/v1/traces` is no address: it has to be `http://host:port` or `https://host:port`",
        ),
        (
            "otlphttp",
            "timeout: 1s\ntraces_endpoint: /here",
            "e.yaml:2:1: error: `traces_endpoint`: `/here` is no address: it has to be `http://host:port`",
        ),
        ("otlphttp", "endpoint: http://up:4318\nheaders: { 'a b': c }", "`a b` is no header name"),
        ("otlphttp", "endpoint: http://up:4318\nretry_on_failure: { multiplier: 0 }", "`multiplier` must be from 1"),
        ("otlphttp", "endpoint: http://up:4318\nretry_on_failure: { multiplier: 2000000 }", "from 1 to 1000000"),
        ("otlp", "endpoint: up:1\nretry_on_failure: { randomization_factor: 2 }", "`randomization_factor` must"),
        ("file", "format: json", "a `path` is needed"),
        ("file", "path: a\nrotation: { max_megabytes: 1 }", "`rotation` is not supported yet"),
        ("debug", "verbosity: loud", "`verbosity` must be `basic`"),
    ] {
        let (_, problems) = read(kind, yaml);
        assert!(problems.len() == 1 && problems[0].contains(told), "{yaml}: {problems:?}");
    }
}

#[test]
fn an_address_that_is_empty_is_told_with_its_key_and_what_to_write() {
    const GRPC: &str = "an `endpoint` is needed: where to send, like `localhost:4317`";
    const HTTP: &str = "an `endpoint` or a `traces_endpoint` is needed: where to send, like `http://localhost:4318`";
    for (kind, yaml, place, told) in [
        ("otlp_grpc", "timeout: 1s\nendpoint: ''", "e.yaml:2:1", GRPC),
        ("otlp_grpc", "timeout: 1s\nendpoint: ' '", "e.yaml:2:1", GRPC),
        ("otlp_grpc", "timeout: 1s\nendpoint:", "e.yaml:2:1", GRPC),
        ("otlp_grpc", "timeout: 1s", "e.yaml:1:1", GRPC),
        ("otlp_http", "timeout: 1s\nendpoint: ''", "e.yaml:2:1", HTTP),
        ("otlp_http", "timeout: 1s\nendpoint: /", "e.yaml:2:1", HTTP),
        ("otlp_http", "timeout: 1s\ntraces_endpoint: ''", "e.yaml:2:1", HTTP),
        ("otlp_http", "timeout: 1s\nendpoint: ' '", "e.yaml:2:1", HTTP),
        ("otlp_http", "timeout: 1s", "e.yaml:1:1", HTTP),
        // What is no text is told as that, once.
        ("otlp_grpc", "endpoint: 4317", "e.yaml:1:11", "`endpoint` must be a string (put it in quotes), not a number"),
        (
            "otlp_http",
            "traces_endpoint: 4318",
            "e.yaml:1:18",
            "`traces_endpoint` must be a string (put it in quotes), not a number",
        ),
    ] {
        assert_eq!(read(kind, yaml).1, [format!("{place}: error: {told}")], "{kind} {yaml}");
    }
    // As in the Collector, an empty address for traces is none.
    assert_eq!(read("otlp_http", "endpoint: http://up:4318\ntraces_endpoint: ''").1, [""; 0]);
}

#[test]
fn secrets_in_headers_do_not_show() {
    let (settings, _) = read("otlp", "endpoint: up:1\nheaders: { authorization: hunter2 }");
    assert!(!format!("{settings:?}").contains("hunter2"));
}
