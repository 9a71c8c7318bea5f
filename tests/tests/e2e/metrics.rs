//! What operators look at: the Collector's metric names and ours, health, and logs that machines
//! read.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sluice_tests::collector::{Config, Folder, Sluice, config};
use sluice_tests::send::http::get;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::{process, send, wait, wire};

use crate::guests;

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
        ("otelcol_processor_incoming_items", &[("processor", "filter"), ("otel_signal", "traces")], sent),
        ("otelcol_processor_outgoing_items", &[("processor", "filter"), ("otel_signal", "traces")], sent - dropped),
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

/// The names in the first column of the table in this section of the documentation.
fn documented(section: &str) -> BTreeSet<String> {
    let page = fs::read_to_string(process::workspace().join("docs/operating.md")).unwrap();
    let (_, section) = page.split_once(&format!("\n## {section}\n")).unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let first = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let names = first.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(|name| name.split('{').next().unwrap());
    names.map(str::to_owned).collect()
}

#[test]
fn the_table_of_metrics_has_all_that_are_shown_and_no_others() {
    let (near, far, folder) = (Sink::start(), Sink::start(), tempfile::tempdir().unwrap());
    let queue = "sending_queue: { storage: file_storage }";
    let plain = format!("endpoint: '{}'\ntls: {{ insecure: true }}", near.address());
    let config = Config::new()
        .extension("file_storage", &format!("directory: '{}'", folder.path().display()))
        .processor("wasm/tables", "module: one.wasm\nconfig: { does: stamp }\ntables: { t: { file: t.csv, key: id } }")
        .processor("wasm/traps", "module: two.wasm\nconfig: { does: trap }\non_failure: open")
        .exporter("otlp_grpc/near", &plain)
        .exporter("otlp_grpc/far", &config::grpc(&far, queue))
        .exporter("otlp_grpc/second", &plain)
        .exporter("failover", "exporters: [otlp_grpc/near, otlp_grpc/second]")
        .pipeline("traces", &["otlp"], &["wasm/tables", "wasm/traps"], &["failover", "otlp_grpc/far"]);
    let files = Folder::new(&config.yaml());
    files.write("one.wasm", guests::tester("one"));
    files.write("two.wasm", guests::tester("two"));
    files.write("t.csv", "id\n1\n");
    let sluice = Sluice::start_in(files);
    send::all(sluice.grpc(), &[Exporter::new(133).request(5)]).unwrap();
    sluice.folder().write("one.wasm", "junk");
    assert_eq!(sluice.wait_swap("wasm/tables", 1)["outcome"], "failed");
    let reply = get(sluice.address("telemetry", ""), "/metrics").unwrap();
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let shown: BTreeSet<_> = types.map(str::to_owned).collect();
    // What only a bug makes, and what the plugins here do not have.
    let rare = ["sluice_account_missing_spans", "sluice_plugin_custom_NAME"].map(str::to_owned);
    let expected: BTreeSet<_> = documented("Metrics").into_iter().filter(|name| !rare.contains(name)).collect();
    assert_eq!(shown, expected);
}

/// The names of the events in a folder's sources, those of tests left out.
fn events_of(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            events_of(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let source = text.split("\nmod tests {").next().unwrap();
            let events = source.split("event = \"").skip(1).filter_map(|rest| rest.split('"').next());
            names.extend(events.map(str::to_owned));
        }
    }
}

#[test]
fn the_table_of_events_has_all_that_are_told_and_no_others() {
    let mut told = BTreeSet::new();
    events_of(&process::workspace().join("host"), &mut told);
    assert!(!told.is_empty(), "no event in the sources");
    // Named by a function, after the folder that others could enter.
    told.extend(["last_good.folder", "state_dir"].map(str::to_owned));
    assert_eq!(told, documented("The log"));
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
