//! Files that a plugin's own configuration names: the plugin says so when it takes it, the host opens them.

use std::fs;

use serde_json::json;
use sluice_tests::collector::{Config, Folder, Output, Sluice, run};
use sluice_tests::sink::Sink;
use sluice_tests::{send, wait};

use crate::guests;
use crate::sampling::{request, span};
use crate::swap::text;

/// The tester under these settings, with a file in a folder beside the configuration.
fn folder(config: &Config, csv: &str) -> Folder {
    let folder = Folder::new(&config.yaml());
    folder.write("tester.wasm", guests::tester("one"));
    fs::create_dir(folder.path("tables")).unwrap();
    replace(&folder, csv);
    folder
}

fn replace(folder: &Folder, csv: &str) {
    fs::write(folder.path("tables/new"), csv).unwrap();
    fs::rename(folder.path("tables/new"), folder.path("tables/stations.csv")).unwrap();
}

const CITY: &str = "module: tester.wasm\nconfig:\n  does: city\n  stations: tables/stations.csv";

/// The city that the next span gets.
fn city(sluice: &Sluice, upstream: &Sink) -> Option<String> {
    let before = upstream.spans();
    send::all(sluice.grpc(), &[request("shop", vec![span(1, "call", vec![])])]).unwrap();
    upstream.wait_for_spans(before + 1);
    text(upstream.decoded_spans().last().unwrap(), "stamp").map(str::to_owned)
}

#[test]
fn a_file_that_the_plugin_names_is_opened_and_followed() {
    let upstream = Sink::start();
    let config = Config::to(&upstream).processor("wasm/tester", CITY);
    let sluice = Sluice::start_in(folder(&config, "id,city\nGVA,Geneva\n"));
    assert_eq!(city(&sluice, &upstream).as_deref(), Some("Geneva"));
    replace(sluice.folder(), "id,city\nGVA,Genf\n");
    let event = |times: usize| {
        wait::until("the file to be noticed", || sluice.log().events("plugin.table").into_iter().nth(times))
    };
    assert_eq!((&event(0)["outcome"], &event(0)["table"]), (&"loaded".into(), &"stations".into()));
    assert_eq!(city(&sluice, &upstream).as_deref(), Some("Genf"));
    replace(sluice.folder(), "id\nGVA\n");
    assert_eq!(event(1)["outcome"], "failed");
    assert_eq!(city(&sluice, &upstream).as_deref(), Some("Genf"), "what is broken leaves what is there");
    assert_eq!(sluice.swaps("wasm/tester").len(), 1, "no plugin was touched for it");
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

/// What `validate` says of the tester under these settings.
fn validated(settings: &str, csv: Option<&str>) -> (Output, Config) {
    let config = Config::to(&Sink::start()).processor("wasm/tester", settings);
    let folder = folder(&config, "id,city\n");
    match csv {
        Some(csv) => replace(&folder, csv),
        None => fs::remove_file(folder.path("tables/stations.csv")).unwrap(),
    }
    (run(&["validate"], Some(&folder.config())), config)
}

#[test]
fn a_file_that_the_operator_has_not_written_is_never_opened() {
    let (output, _) = validated("module: tester.wasm\nconfig: { does: pry }", None);
    let told = "the plugin names the file `/etc/passwd`, which stands nowhere in its configuration";
    assert!(output.code == 1 && output.stderr.contains(told), "{}", output.stderr);
    // Whoever writes it there wants it opened: it is tried, and is no such table.
    let (output, _) = validated("module: tester.wasm\nconfig: { does: pry, stations: /etc/passwd }", None);
    assert!(output.code == 1 && output.stderr.contains("table `passwd`: /etc/passwd: "), "{}", output.stderr);
}

#[test]
fn a_file_that_does_not_serve_is_told_of_where_it_is_named() {
    for (csv, reason) in [
        (None, "table `stations`: cannot read "),
        (Some("name,city\nGVA,Geneva\n"), "no column is called `id`, which is the `key`"),
        (Some("id,city\nGVA,Geneva\nGVA,Genf\n"), "the key `GVA` stands in rows 1 and 2"),
    ] {
        let (output, config) = validated(CITY, csv);
        let line = 1 + config.yaml().lines().position(|line| line.contains("stations:")).unwrap();
        let place = format!("config.yaml:{line}:");
        let told = [reason, &place, "`stations`: ", "tables/stations.csv"];
        assert!(output.code == 1 && told.iter().all(|text| output.stderr.contains(text)), "{}", output.stderr);
    }
}

#[test]
fn the_operator_s_own_table_is_used_instead() {
    let upstream = Sink::start();
    let settings = format!("{CITY}\ntables: {{ stations: {{ file: other.csv, key: code }} }}");
    let folder = folder(&Config::to(&upstream).processor("wasm/tester", &settings), "id,city\nGVA,Geneva\n");
    folder.write("other.csv", "code,city\nGVA,Ginevra\n");
    let sluice = Sluice::start_in(folder);
    assert_eq!(city(&sluice, &upstream).as_deref(), Some("Ginevra"));
    assert_eq!(sluice.terminate().account.missing(), 0);
}

#[test]
fn the_files_are_shown_before_the_plugin_runs() {
    let config = Config::to(&Sink::start()).processor("wasm/tester", CITY);
    let folder = folder(&config, "id,city\n");
    let inspect = |args: &[&str]| {
        let output = run(&[&["plugin", "inspect", "wasm/tester"][..], args].concat(), Some(&folder.config()));
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stdout
    };
    let seen: serde_json::Value = serde_json::from_str(&inspect(&["--json"])).unwrap();
    let file = json!({ "table": "stations", "path": "tables/stations.csv", "format": "csv", "place": "stations" });
    assert_eq!(seen["files"], json!([file]));
    assert_eq!(seen["access"]["read"]["configured"]["tables"], json!(["*", "stations"]));
    let text = inspect(&[]);
    assert!(text.contains("files\n  tables/stations.csv (csv, `stations`) is the table stations"), "{text}");
}
