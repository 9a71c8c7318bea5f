//! What operators look at: the Collector's metric names and ours, health, and logs that machines
//! read.

use sluice_tests::collector::{Config, Sluice};
use sluice_tests::send::http::get;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::{send, wait, wire};

#[test]
fn the_figures_are_those_of_what_was_sent() {
    let upstream = Sink::start();
    let filter = r#"traces: { span: ['name == "GET /health"'] }"#;
    let sluice = Sluice::start(&Config::to(&upstream).processor("filter", filter));
    let mut exporter = Exporter::new(131);
    let requests = exporter.requests(20, 40);
    let sent = requests.iter().map(|request| wire::count(request).unwrap()).sum::<u64>();
    let dropped = exporter.shop().checks() as u64;
    send::all(sluice.grpc(), &requests).unwrap();
    upstream.wait_for_spans(sent - dropped);

    let figures = [
        ("otelcol_receiver_accepted_spans", &[("receiver", "otlp"), ("transport", "grpc")][..], sent),
        ("otelcol_exporter_sent_spans", &[("exporter", "otlp_grpc")], sent - dropped),
        ("sluice_plugin_spans_total", &[("plugin", "filter"), ("outcome", "in")], sent),
        ("sluice_plugin_spans_total", &[("plugin", "filter"), ("outcome", "dropped")], dropped),
        ("sluice_plugin_info", &[("plugin", "filter")], 1),
        ("sluice_account_spans", &[("level", "receiver"), ("outcome", "received")], sent),
        ("sluice_account_spans", &[("level", "destination"), ("outcome", "delivered")], sent - dropped),
    ];
    for (name, labels, value) in figures {
        let now = || Some(sluice.metrics().sum(name, labels)).filter(|now| *now == value as f64);
        wait::until(&format!("{name}{labels:?} to be {value}; now {}", sluice.metrics().sum(name, labels)), now);
    }
    let metrics = sluice.metrics();
    for name in [
        "otelcol_exporter_queue_size",
        "otelcol_exporter_queue_capacity",
        "otelcol_process_uptime",
        "otelcol_process_memory_rss",
        "sluice_plugin_calls_total",
        "sluice_plugin_duration_seconds_sum",
        "sluice_plugin_memory_bytes",
    ] {
        assert!(metrics.has(name), "{name} is not on /metrics");
    }
}

#[test]
fn health_is_told() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream).extension("health_check", "endpoint: '127.0.0.1:0'"));
    assert_eq!(get(sluice.address("health_check", ""), "/").unwrap().status, 200);
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn every_line_of_the_log_is_one_json_object() {
    let upstream = Sink::start();
    let sluice =
        Sluice::start(&Config::to(&upstream).processor("redaction", "allow_all_keys: true\ndetectors: [payment_card]"));
    send::all(sluice.grpc(), &Exporter::new(132).requests(3, 20)).unwrap();
    let end = sluice.terminate();
    for line in end.stderr.lines() {
        let object = serde_json::from_str::<serde_json::Value>(line).unwrap_or_default();
        assert!(object.is_object(), "not an object: {line}");
    }
}
