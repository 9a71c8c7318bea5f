//! What plugins are given beside the batch: a store that is one for all cores and counts what has
//! passed, and look-up tables that follow their files.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use prost::Message;
use sluice_tests::collector::{Config, Folder, Sluice, run};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::{process, send, wait};

use crate::swap::{stamp_now, text};
use crate::{guests, while_compiling};

/// The example that uses both.
#[track_caller]
fn stations() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let out = process::target().join("test-guests/stations.wasm");
        fs::create_dir_all(out.parent().unwrap()).unwrap();
        guests::build(&process::workspace().join("examples/stations"), &[OsStr::new("--out"), out.as_os_str()]);
        fs::read(out).unwrap()
    })
}

const TABLES: &str = "tables: { stations: { file: stations.csv, key: id } }";

/// Stations that may send so many spans in all.
fn settings(burst: u32) -> String {
    format!("module: stations.wasm\nconfig: {{ spans_per_s: 0, burst: {burst} }}\n{TABLES}")
}

fn folder(config: &Config, csv: &str) -> Folder {
    let folder = Folder::new(&config.yaml());
    folder.write("stations.wasm", stations());
    folder.write("stations.csv", csv);
    folder
}

/// So many spans of a station, each with this name.
fn request(seed: u64, spans: usize, station: &str, name: &str) -> Bytes {
    let mut request = Exporter::new(seed).structure(spans);
    for resource in &mut request.resource_spans {
        for scope in &mut resource.scope_spans {
            scope.spans.truncate(spans);
            for span in &mut scope.spans {
                let value = Some(AnyValue { value: Some(Value::StringValue(station.to_owned())) });
                span.attributes.push(KeyValue { key: "station.id".to_owned(), value, ..KeyValue::default() });
                name.clone_into(&mut span.name);
            }
        }
    }
    request.encode_to_vec().into()
}

/// The city that a span of a station gets now.
fn city(sluice: &Sluice, upstream: &Sink, station: &str) -> Option<String> {
    let before = upstream.spans();
    send::all(sluice.grpc(), &[request(7, 1, station, "train")]).unwrap();
    upstream.wait_for_spans(before + 1);
    text(upstream.decoded_spans().last().unwrap(), "station.city").map(str::to_owned)
}

/// Waits until the table has been loaded, or not, so many times since the start.
fn wait_table(sluice: &Sluice, times: usize) -> serde_json::Value {
    wait::until("the table's file to be noticed", || sluice.log().events("plugin.table").into_iter().nth(times - 1))
}

#[test]
fn a_table_follows_its_file_and_a_broken_file_keeps_it() {
    let upstream = Sink::start();
    let config = Config::to(&upstream).processor("wasm/stations", &settings(1000));
    let sluice = Sluice::start_in(folder(&config, "id,city\nGVA,Geneva\n"));
    assert_eq!(city(&sluice, &upstream, "GVA").as_deref(), Some("Geneva"));
    assert_eq!(city(&sluice, &upstream, "BRN"), None);

    sluice.folder().write("stations.csv", "id,city\nGVA,Genève\nBRN,Bern\n");
    let event = wait_table(&sluice, 1);
    assert_eq!((&event["outcome"], &event["rows"]), (&"loaded".into(), &2.into()), "{event}");
    assert_eq!(city(&sluice, &upstream, "GVA").as_deref(), Some("Genève"));
    assert_eq!(city(&sluice, &upstream, "BRN").as_deref(), Some("Bern"));

    sluice.folder().write("stations.csv", "id,city\nGVA,Geneva,8\n");
    let event = wait_table(&sluice, 2);
    assert_eq!((&event["outcome"], &event["table"]), (&"failed".into(), &"stations".into()), "{event}");
    assert!(event["reason"].as_str().unwrap().contains("stations.csv"), "{event}");
    assert_eq!(city(&sluice, &upstream, "GVA").as_deref(), Some("Genève"));
    let metrics = sluice.metrics();
    let of = |outcome| [("plugin", "wasm/stations"), ("table", "stations"), ("outcome", outcome)];
    assert_eq!(metrics.sum("sluice_plugin_table_loads_total", &of("loaded")), 2.0);
    assert_eq!(metrics.sum("sluice_plugin_table_loads_total", &of("failed")), 1.0);
    assert_eq!(metrics.sum("sluice_plugin_table_rows", &of("loaded")[..2]), 2.0);
    // No plugin was touched for it.
    let swaps = sluice.swaps("wasm/stations");
    assert_eq!(swaps.len(), 1);
    assert_eq!(swaps[0]["capabilities"], "store,tables", "what it uses is told");

    sluice.folder().write("stations.csv", "id,city\nGVA,Genf\n");
    assert_eq!(wait_table(&sluice, 3)["outcome"], "loaded");
    assert_eq!(city(&sluice, &upstream, "GVA").as_deref(), Some("Genf"));
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn a_share_is_one_for_all_connections_and_instances() {
    let upstream = Sink::start();
    let config = |memory: u32| {
        let settings = format!("{}\nlimits: {{ memory_mib: {memory} }}", settings(100));
        Config::to(&upstream).processor("wasm/stations", &settings)
    };
    let sluice = Sluice::start_in(folder(&config(32), "id,city\n"));
    let address = sluice.grpc();
    thread::scope(|scope| {
        for seed in 0..8 {
            scope.spawn(move || {
                let requests: Vec<_> = (0..10).map(|number| request(seed * 10 + number, 5, "GVA", "train")).collect();
                send::all(address, &requests).unwrap();
            });
        }
    });
    // Other instances, under other limits, find the same store.
    let seen = sluice.swaps("wasm/stations").len();
    sluice.rewrite(&config(33));
    assert_eq!(sluice.wait_swap("wasm/stations", seen)["outcome"], "swapped");
    send::all(address, &[request(99, 50, "GVA", "train"), request(98, 50, "BRN", "train")]).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    let arrived =
        |station| upstream.decoded_spans().iter().filter(|span| text(span, "station.id") == Some(station)).count();
    assert_eq!((arrived("GVA"), arrived("BRN")), (100, 50));
}

#[test]
fn a_request_that_a_later_plugin_refuses_costs_no_share() {
    let upstream = Sink::start();
    let config = Config::to(&upstream)
        .processor("wasm/stations", &settings(100))
        .processor("wasm/tester", "module: tester.wasm\nconfig: { does: trap, to: bad }");
    let folder = folder(&config, "id,city\n");
    folder.write("tester.wasm", guests::tester("one"));
    let sluice = Sluice::start_in(folder);
    let client = send::Grpc::new(sluice.grpc()).unwrap();
    for seed in 0..5 {
        assert!(client.send(&request(seed, 60, "GVA", "bad")).is_err());
    }
    send::all(sluice.grpc(), &[request(10, 60, "GVA", "good"), request(11, 60, "GVA", "good")]).unwrap();
    upstream.wait_for_spans(100);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), upstream.spans()), (0, 0, 100), "{}", end.stderr);
}

#[test]
fn what_a_plugin_needs_and_is_not_given_is_told_by_name() {
    let upstream = Sink::start();
    let told = |settings: &str, csv: &str| {
        let folder = folder(&Config::to(&upstream).processor("wasm/stations", settings), csv);
        let output = run(&["validate"], Some(&folder.config()));
        assert_eq!(output.code, 1, "{}", output.stderr);
        output.stderr
    };
    let config = "module: stations.wasm\nconfig: { spans_per_s: 0, burst: 1 }";
    let without = told(config, "id,city\n");
    assert!(without.contains("the plugin needs the look-up table `stations`"), "{without}");
    let refused = told(&format!("{config}\n{TABLES}\ncapabilities: [tables]"), "id,city\n");
    assert!(refused.contains("the capability `store`, which `capabilities` does not allow"), "{refused}");
    let broken = told(&format!("{config}\n{TABLES}"), "id,city\nGVA\n");
    assert!(broken.contains("table `stations`: ") && broken.contains("stations.csv"), "{broken}");
}

#[test]
fn the_table_of_the_host_tells_what_the_operator_allows() {
    let upstream = Sink::start();
    let settings = "module: tester.wasm\nconfig: { does: host }\ntables: { host: { env: [TOLD], pod_labels: labels } }";
    let folder = Folder::new(&Config::to(&upstream).processor("wasm/tester", settings).yaml());
    folder.write("tester.wasm", guests::tester("one"));
    folder.write("labels", "color=\"green\"\n");
    let variables = [("TOLD", OsString::from("a secret")), ("UNTOLD", OsString::from("another"))];
    let sluice = Sluice::spawn(folder, &variables);
    sluice.wait_ready();
    let uname = std::process::Command::new("uname").arg("-n").output().unwrap();
    let name = String::from_utf8(uname.stdout).unwrap();
    let expected = |color: &str| Some(format!("Some({:?}) Some(\"a secret\") None Some({color:?})", name.trim()));
    assert_eq!(stamp_now(&sluice, &upstream, "stamp"), expected("green"));
    sluice.folder().write("labels", "color=\"blue\"\n");
    let event = wait_table(&sluice, 1);
    assert_eq!((&event["table"], &event["outcome"]), (&"host".into(), &"loaded".into()), "{event}");
    assert_eq!(stamp_now(&sluice, &upstream, "stamp"), expected("blue"));
    assert_eq!(sluice.terminate().code, 0);
}

/// What a kill may cost is a second of writes. Twice as much, and the tests have to see it, is 2 s.
const LATEST: Duration = Duration::from_millis(1_500);

/// When a store was last written in the `state` of this folder.
fn written(state: &Folder) -> Option<SystemTime> {
    let files = fs::read_dir(state.path("state/stores")).into_iter().flatten().flatten();
    // What is being written has another name.
    let stores = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "store"));
    stores.filter_map(|store| store.metadata().ok()?.modified().ok()).max()
}

/// Waits until a store is written again, in time, and gives how long that took.
#[track_caller]
fn wait_written(state: &Folder, last: Option<SystemTime>) -> Duration {
    let began = Instant::now();
    let in_time = wait::within(LATEST, || (written(state) != last).then_some(()));
    assert!(in_time.is_some(), "the store was not written within {LATEST:?}");
    began.elapsed()
}

/// The plugin with its store in the `state` of this folder, if it is to be kept.
fn kept_in(state: &Folder, upstream: &Sink, persistent: bool) -> Config {
    let settings = format!("{}\nstore: {{ persistent: {persistent} }}", settings(100));
    let extension = format!("state_dir: '{}'", state.path("state").display());
    Config::to(upstream).extension("sluice", &extension).processor("wasm/stations", &settings)
}

#[test]
fn a_kept_store_outlives_a_kill() {
    let upstream = Sink::start();
    let state = Folder::new("");
    let config = |persistent| kept_in(&state, &upstream, persistent);
    let late = Cell::new(Duration::ZERO);
    // How many of 60 spans pass in a process of its own, which is killed when they are written.
    let passed = |persistent, share| {
        let sluice = Sluice::start_in(folder(&config(persistent), "id,city\n"));
        let (before, client) = (upstream.spans(), send::Grpc::new(sluice.grpc()).unwrap());
        // The second half comes right after a write, and so waits for the next one for the longest time.
        for half in 0..2 {
            let last = written(&state);
            client.send(&request(before + half, 30, "GVA", "train")).unwrap();
            if persistent && share > 0 {
                late.set(late.get().max(wait_written(&state, last)));
            }
        }
        let held = [("level", "destination"), ("outcome", "held")];
        let none_is_held = || (sluice.metrics().sum("sluice_account_spans", &held) == 0.0).then_some(());
        wait::until("all that has passed to be delivered", none_is_held);
        sluice.signal(9);
        assert_eq!(sluice.wait_end().code, 128 + 9);
        assert_eq!(upstream.spans() - before, share);
    };
    passed(true, 60);
    passed(true, 40);
    passed(true, 0);
    // One that is not kept begins empty.
    passed(false, 60);
    println!("the store was written at the latest {:?} after the answer", late.get());
    // A clean end writes what there is.
    let of = |station| {
        let sluice = Sluice::start_in(folder(&config(true), "id,city\n"));
        let before = upstream.spans();
        send::all(sluice.grpc(), &[request(1, 60, station, "train")]).unwrap();
        assert_eq!(sluice.terminate().code, 0);
        upstream.spans() - before
    };
    assert_eq!((of("BRN"), of("BRN")), (60, 40));
}

#[test]
fn a_refused_configuration_leaves_a_kept_store_where_it_is() {
    let upstream = Sink::start();
    let state = Folder::new("");
    let config = |persistent| kept_in(&state, &upstream, persistent);
    let sluice = Sluice::start_in(folder(&config(true), "id,city\n"));
    // The store alone would not be kept any more; what is refused is another processor.
    sluice.rewrite(&config(false).processor("filter", "trace_conditions: ['no condition']"));
    let told = sluice.wait_swap("filter", 0);
    assert_eq!((&told["outcome"], &told["step"]), (&"failed".into(), &"configure".into()), "{told}");
    let last = written(&state);
    send::Grpc::new(sluice.grpc()).unwrap().send(&request(1, 60, "GVA", "train")).unwrap();
    wait_written(&state, last);
    sluice.signal(9);
    assert_eq!(sluice.wait_end().code, 128 + 9);
    let again = Sluice::start_in(folder(&config(true), "id,city\n"));
    let before = upstream.spans();
    send::all(again.grpc(), &[request(2, 60, "GVA", "train")]).unwrap();
    assert_eq!(again.terminate().code, 0);
    assert_eq!(upstream.spans() - before, 40);
}

#[test]
fn a_kept_store_is_written_while_another_plugin_is_compiled() {
    let upstream = Sink::start();
    let state = Folder::new("");
    let extension = format!("state_dir: '{}'", state.path("state").display());
    let settings = format!("{}\nstore: {{ persistent: true }}", settings(1_000));
    let config = Config::to(&upstream).extension("sluice", &extension).processor("wasm/stations", &settings);
    let folder = folder(&while_compiling::with_slow(config), "id,city\n");
    let sluice = while_compiling::start_in(folder);
    while_compiling::compile_for_minutes(&sluice);
    for seed in 0..4 {
        let last = written(&state);
        send::all(sluice.grpc(), &[request(seed, 10, "GVA", "train")]).unwrap();
        wait_written(&state, last);
    }
    assert!(while_compiling::is_compiling(&sluice));
    sluice.signal(9);
    assert_eq!(sluice.wait_end().code, 128 + 9);
}

#[test]
fn a_kept_store_needs_a_place() {
    let upstream = Sink::start();
    let settings = format!("{}\nstore: {{ persistent: true }}", settings(1));
    let folder = folder(&Config::to(&upstream).processor("wasm/stations", &settings), "id,city\n");
    let output = run(&["validate"], Some(&folder.config()));
    assert!(output.code == 1 && output.stderr.contains("needs `state_dir`"), "{}", output.stderr);
}
