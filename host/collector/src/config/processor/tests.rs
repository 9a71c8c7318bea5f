#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sluice_sandbox::{Access, Limits, Profile};
use sluice_state::{Format, NamedFile, OwnFile, Spec};

use super::{Facts, Marks, OnFailure, OnPoison, Processor, Restart, Rollout, Settings, Strategy, Table, read};
use crate::config::mark::{Mark, Origin};
use crate::config::section::read_text;

fn plugin(kind: &str, yaml: &str) -> Settings {
    let (processor, problems) = read_text("c.yaml", yaml, |section| read(kind, section));
    assert!(problems.is_empty(), "{problems}");
    match processor {
        Some(Processor::Plugin(settings)) => *settings,
        other => panic!("{other:?}"),
    }
}

const EVERYTHING: &str = "\
module: plugins/waybill.wasm
sha256: 9F2C000000000000000000000000000000000000000000000000000000000000
public_key: RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
profile: compat
config: { watch: [\"WB-2025-0001\"], depth: 3 }
limits:
  memory_mib: 64
  timeout: 20ms
  output_mib: 1
  host_calls: 5
  log_lines_per_s: 6
  log_bytes_per_s: 7
  metric_series: 8
  store_mib: 9
  component_mib: 2
  compile_timeout: 1m
on_failure: open
on_poison: refuse
restart: { initial_interval: 1ms, max_interval: 2s, budget: 3, window: 4m }
unsafe_fail_open: true
access: { read: [\"spans.name\"], write: [] }
capabilities: []
tables:
  stations: { file: data/stations.csv, key: id }
  cells: { file: cells, key: cell, format: jsonl, max_mib: 2 }
  places: { file: data/places.mmdb, max_mib: 100 }
  host: { env: [NODE_NAME], files: { k8s.pod.name: pod/name }, pod_labels: pod/labels, pod_annotations: pod/notes }
store: { persistent: true }
rollout: { strategy: canary, share: 0.25, for: 2h, probation: 1m, max_failure_ratio: 0.5, max_latency_ratio: 7, max_drop_ratio: 0.75 }
";

#[test]
fn every_key_of_a_plugin_is_read() {
    let settings = plugin("wasm", EVERYTHING);
    assert_eq!(settings.kind, "wasm");
    assert_eq!(settings.module, Some("plugins/waybill.wasm".into()));
    assert_eq!(settings.sha256.as_deref(), Some("9f2c000000000000000000000000000000000000000000000000000000000000"));
    let key = settings.public_key.as_ref().map(ToString::to_string);
    assert_eq!(key.as_deref(), Some("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"));
    assert_eq!(settings.config_json, json!({ "watch": ["WB-2025-0001"], "depth": 3 }).to_string());
    let limits = Limits {
        memory_bytes: 64 << 20,
        timeout: Duration::from_millis(20),
        output_bytes: 1 << 20,
        host_calls: 5,
        log_lines_per_s: 6,
        log_bytes_per_s: 7,
        metric_series: 8,
        store_bytes: 9 << 20,
        component_bytes: 2 << 20,
        compile_timeout: Duration::from_mins(1),
    };
    assert_eq!(settings.limits, limits);
    assert_eq!(settings.profile, Profile::Compat);
    assert_eq!(settings.on_failure, OnFailure::Open);
    assert_eq!(settings.on_poison, Some(OnPoison::Refuse));
    let restart = Restart {
        initial_interval: Duration::from_millis(1),
        max_interval: Duration::from_secs(2),
        budget: 3,
        window: Duration::from_mins(4),
    };
    assert_eq!(settings.restart, restart);
    assert!(settings.unsafe_fail_open);
    assert_eq!(settings.access, Some(Access { read: vec!["spans.name".to_owned()], write: Vec::new() }));
    assert_eq!(settings.capabilities, Some(Vec::new()));
    let file = |file: &str, key: &str, format, mib: usize| {
        Table::File(Spec { file: file.into(), format, key: key.to_owned(), most_bytes: mib << 20 })
    };
    let facts = Facts {
        env: vec!["NODE_NAME".to_owned()],
        files: vec![("k8s.pod.name".to_owned(), "pod/name".into())],
        pod_labels: Some("pod/labels".into()),
        pod_annotations: Some("pod/notes".into()),
    };
    let tables = [
        ("stations".to_owned(), file("data/stations.csv", "id", Format::Csv, 64)),
        ("cells".to_owned(), file("cells", "cell", Format::JsonLines, 2)),
        ("places".to_owned(), file("data/places.mmdb", "", Format::MaxMind, 100)),
        ("host".to_owned(), Table::Host(facts)),
    ];
    assert_eq!((settings.tables.as_slice(), settings.persistent_store), (&tables[..], true));
    let rollout = Rollout {
        strategy: Strategy::Canary,
        share: 0.25,
        duration: Duration::from_hours(2),
        probation: Duration::from_mins(1),
        max_failure_ratio: 0.5,
        max_latency_ratio: 7.0,
        max_drop_ratio: 0.75,
    };
    assert_eq!(settings.rollout, rollout);
    let files: Vec<_> = settings.files().collect();
    let tables = ["data/stations.csv", "cells", "data/places.mmdb", "pod/name", "pod/labels", "pod/notes"];
    let module = ["plugins/waybill.wasm", "plugins/waybill.wasm.minisig"];
    assert_eq!(files, [&module[..], &tables].concat().into_iter().map(PathBuf::from).collect::<Vec<_>>());
}

#[test]
fn what_is_wrong_with_a_table_is_told_where_it_stands() {
    let yaml = "module: a.wasm\ntables:\n  a: { file: a.txt, key: k }\n  b: { file: b.csv }\n  c: { key: k, max_mib: 0 }\n  \
        host: { file: x.csv, files: { env.A: a } }\n  d*: { file: d.csv, key: k, columns: [] }\n  e: { file: e.csv, key: k, format: xml }\n  f: 3\n  g: { file: g.mmdb, key: k }\n  h: { file: , key: }\n";
    let (_, problems) = read_text("c.yaml", yaml, |section| read("wasm", section));
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let expected = [
        "c.yaml:3:8: error: `file`: the file's name does not say its format: add `format: csv`, `jsonl` or `mmdb`",
        "c.yaml:4:3: error: a table needs `key`, the column by which its rows are found",
        "c.yaml:5:3: error: a table needs `file`",
        "c.yaml:5:16: error: `max_mib` must be from 1 to 4095",
        "c.yaml:6:11: error: `file`: the table `host` is filled by Sluice; give yours another name",
        "c.yaml:6:33: error: `env.A`: a name must not be empty, nor begin with one of `os.`, `host.`, `container.`, `env.`, `k8s.pod.label.`, `k8s.pod.annotation.`",
        "c.yaml:7:3: error: `d*`: a table's name must not be empty and must not end in `*`",
        "c.yaml:7:30: error: unknown key `columns`; known here: `file`, `format`, `key`, `max_mib`",
        "c.yaml:8:37: error: `format` must be `csv` or `jsonl` or `mmdb`",
        "c.yaml:9:6: error: `f` must be a mapping, not a number",
        "c.yaml:10:22: error: a MaxMind database has no `key`: its keys are IP addresses",
        "c.yaml:11:8: error: a table needs `file`",
        "c.yaml:11:16: error: a table needs `key`, the column by which its rows are found",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_bundled_type_has_the_same_keys_in_its_block() {
    let block = EVERYTHING.replace("config: { watch: [\"WB-2025-0001\"], depth: 3 }\n", "");
    let yaml = format!("watch: [\"WB-2025-0001\"]\ndepth: 3\nsluice:\n  {}", block.trim_end().replace('\n', "\n  "));
    let (bundled, wasm) = (plugin("redaction", &yaml), plugin("wasm", EVERYTHING));
    let like = |settings: Settings| Settings { kind: String::new(), config_json: String::new(), ..settings };
    let json = |settings: &Settings| serde_json::from_str::<serde_json::Value>(&settings.config_json).unwrap();
    assert_eq!(json(&bundled), json(&wasm));
    assert_eq!(like(bundled), like(wasm));
}

#[test]
fn pauses_that_shrink_are_told() {
    let yaml = "module: a.wasm\nrestart: { initial_interval: 2s, max_interval: 1s, window: 0 }\non_poison: open\n";
    let (_, problems) = read_text("c.yaml", yaml, |section| read("wasm", section));
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let expected = [
        "c.yaml:2:34: error: `max_interval` must not be less than `initial_interval`",
        "c.yaml:2:52: error: `window` must be more than 0",
        "c.yaml:3:12: error: `on_poison` must be `quarantine` or `drop` or `refuse`",
    ];
    assert_eq!(told, expected);
}

#[test]
fn the_code_in_the_binary_needs_no_key() {
    let yaml = "sluice: { public_key: RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3 }";
    let (_, problems) = read_text("c.yaml", yaml, |section| read("filter", section));
    assert_eq!(
        problems.to_string().trim(),
        "c.yaml:1:11: error: `public_key` needs `module`: what is in the binary is trusted as the binary is"
    );
}

#[test]
fn a_capability_that_does_not_exist_is_a_slip_in_its_place() {
    let read = |list: &str| {
        let yaml = format!("sluice:\n  capabilities: {list}\n");
        read_text("c.yaml", &yaml, |section| read("filter", section)).1.to_string()
    };
    assert_eq!(read("[log, metrics, clock, random, store, tables]"), "");
    assert_eq!(read("[log, stroe]"), "c.yaml:2:23: error: unknown capability `stroe`; did you mean `store`?\n");
    let all = "there are `log`, `metrics`, `clock`, `random`, `store`, `tables`";
    assert_eq!(read("[bogus]"), format!("c.yaml:2:18: error: unknown capability `bogus`; {all}\n"));
}

#[test]
fn a_bundled_type_without_the_block_has_the_defaults() {
    let settings = plugin("filter", "error_mode: ignore\n");
    assert_eq!(settings.config_json, "{\"error_mode\":\"ignore\"}");
    assert_eq!(settings.limits, Limits::default());
    assert_eq!((settings.on_failure, settings.access, settings.capabilities), (OnFailure::Closed, None, None));
    assert_eq!((settings.on_poison, settings.restart), (None, Restart::default()));
    assert_eq!(plugin("filter", "").config_json, "{}");
}

#[test]
fn a_file_that_a_plugin_names_is_beside_the_file_that_its_path_stands_in() {
    let yaml = "providers: { maxmind: { database_path: City.mmdb } }\nsluice: { tables: { other: { file: a.csv, key: a } } }\n";
    let origin = Arc::new(Origin { folder: "/etc/sluice".into(), ..Origin::default() });
    let mut settings = plugin("geoip", yaml);
    assert_eq!(settings.config_json, "{\"providers\":{\"maxmind\":{\"database_path\":\"City.mmdb\"}}}");
    settings.config_marks = Marks(vec![("providers/maxmind/database_path".to_owned(), Mark::new(&origin, 1, 1))]);
    let own = |path: &str, format, key: &str, place: &str| {
        let (name, path, key) = ("t".to_owned(), path.to_owned(), key.to_owned());
        settings.own_table(&OwnFile {
            named: NamedFile { name, path, format: 0, key },
            format,
            place: place.to_owned(),
        })
    };
    let spec = |file: &str, format, key: &str, mib: usize| Spec {
        file: file.into(),
        format,
        key: key.to_owned(),
        most_bytes: mib << 20,
    };
    let database = own("City.mmdb", Format::MaxMind, "", "providers.maxmind.database_path");
    assert_eq!(database, spec("/etc/sluice/City.mmdb", Format::MaxMind, "", 1024));
    let elsewhere = own("/var/a.csv", Format::Csv, "id", "providers.maxmind.database_path");
    assert_eq!(elsewhere, spec("/var/a.csv", Format::Csv, "id", 64));
    assert_eq!(own("a.csv", Format::Csv, "id", "nowhere"), spec("a.csv", Format::Csv, "id", 64));
    assert!(settings.gives_table("other") && !settings.gives_table("t"));
}

#[test]
fn the_table_of_resource_detection_is_given_once() {
    let (_, problems) =
        read_text("c.yaml", "sluice: { tables: { host: {} } }\n", |section| read("resource_detection", section));
    let told = "c.yaml:1:1: error: the table `host` comes with the processor: take it out of `sluice.tables`";
    assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [told]);
}

#[test]
fn detectors_know_what_their_keys_name_and_no_more() {
    let facts = |yaml: &str| match plugin("resource_detection", yaml).tables.as_slice() {
        [(name, Table::Host(facts))] if name == "host" => facts.clone(),
        other => panic!("{other:?}"),
    };
    let env = ["OTEL_RESOURCE", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME"].map(str::to_owned);
    assert_eq!(facts(""), Facts { env: env.to_vec(), ..Facts::default() });
    assert_eq!(facts("detectors: [system]\n"), Facts::default());
    let block = "k8s_downward_api: { env: { k8s.node.name: NODE_NAME }, files: { k8s.pod.name: pod/name }, pod_labels: pod/labels, \
        pod_annotations: pod/notes, labels: [app] }\n";
    assert_eq!(facts(&format!("detectors: [system]\n{block}")), Facts::default(), "nobody asks for it");
    let expected = Facts {
        env: vec!["NODE_NAME".to_owned()],
        files: vec![("k8s.pod.name".to_owned(), "pod/name".into())],
        pod_labels: Some("pod/labels".into()),
        pod_annotations: Some("pod/notes".into()),
    };
    assert_eq!(facts(&format!("detectors: [k8s_downward_api]\n{block}")), expected);
    let yaml = "detectors: [k8s_downward_api]\nk8s_downward_api: { files: { host.name: x } }\n";
    let (_, problems) = read_text("c.yaml", yaml, |section| read("resource_detection", section));
    assert!(problems.to_string().contains("nor begin with one of `os.`, `host.`"), "{problems}");
}

#[test]
fn yaml_types_stay_in_json() {
    let yaml =
        "a: 1\nb: 1.5\nc: '1'\nd: true\ne: null\nf: [x, {y: z}]\ng: -9223372036854775808\nh: 0x10\ni: yes\nj: 1e3\n";
    let passed: serde_json::Value = serde_json::from_str(&plugin("attributes", yaml).config_json).unwrap();
    // YAML 1.2, core schema.
    let expected = json!({
        "a": 1, "b": 1.5, "c": "1", "d": true, "e": null, "f": ["x", { "y": "z" }], "g": i64::MIN, "h": 16, "i": "yes", "j": 1000.0,
    });
    assert_eq!(passed, expected);
}

#[test]
fn a_plugin_s_path_becomes_a_place() {
    let settings = plugin("attributes", "actions:\n  - key: a\n    action: insert\n  - { key: b.c, action: nope }\n");
    let place = |path: &str| settings.config_mark(path).map(ToString::to_string);
    assert_eq!(place("actions[1].action").as_deref(), Some("c.yaml:4:17"));
    assert_eq!(place("actions/0/key").as_deref(), Some("c.yaml:2:5"));
    assert_eq!(place("actions[1].valu").as_deref(), Some("c.yaml:4:5"), "the nearest part around it");
    assert_eq!(place("actions[7]").as_deref(), Some("c.yaml:1:1"));
    assert_eq!(place(""), None);
    assert_eq!(place("nope"), None);
}

#[test]
fn the_last_collector_s_memory_limiter_and_batch_are_read() {
    // From their READMEs.
    let limiter = "check_interval: 1s\nlimit_mib: 4000\nspike_limit_mib: 800\n";
    let batch = "send_batch_size: 10000\ntimeout: 10s\nsend_batch_max_size: 11000\nmetadata_keys: [tenant_id]\nmetadata_cardinality_limit: 30\n";
    for (kind, yaml, expected) in
        [("memory_limiter", limiter, Processor::Limiter(3200 << 20)), ("batch", batch, Processor::Elsewhere)]
    {
        let (processor, problems) = read_text("c.yaml", yaml, |section| read(kind, section));
        assert_eq!(processor, Some(expected));
        assert!(!problems.has_errors(), "{problems}");
    }
}
