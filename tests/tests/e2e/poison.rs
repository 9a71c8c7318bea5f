//! A span that a plugin fails on costs that span, and no other: it is dropped and counted, refused, or
//! set aside. A plugin that fails on everything is left alone until it has recovered.

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;
use sluice_tests::collector::{Config, Folder, Sluice, run};
use sluice_tests::send::{self, Grpc, http};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::{wait, wire};
use tonic::Code;

use crate::swap::text;
use crate::{guests, odd};

/// A request of so many spans; the tester does its worst on those at these places.
pub fn request(spans: u8, bad: &[u8]) -> Bytes {
    let name = |span| if bad.contains(&span) { "bad" } else { "good" };
    let spans: Vec<_> = (0..spans).map(|span| odd::span(1, span, &[odd::field(5, name(span).as_bytes())])).collect();
    odd::request(&spans)
}

/// A request on which nobody but the plugin is to blame.
pub fn all_bad() -> Bytes {
    request(20, &(0..20).collect::<Vec<_>>())
}

/// What a plugin can do, what it needs to be caught, and the kind of failure that it is counted as.
pub const WORST: [(&str, &str, &str); 6] = [
    // Filling the memory takes time, too, and must not be counted as that.
    ("trap", "timeout: 5s", "trap"),
    ("loop", "timeout: 30ms", "timeout"),
    ("grow", "timeout: 5s", "memory"),
    ("deny", "timeout: 5s", "host_refused"),
    ("edits", "timeout: 5s, output_mib: 2", "output"),
    ("calls", "timeout: 5s, host_calls: 200", "host_calls"),
];

fn settings(behaviour: &str, limits: &str, more: &str) -> String {
    format!("module: tester.wasm\nconfig: {{ does: {behaviour}, to: bad }}\nlimits: {{ {limits} }}\n{more}")
}

pub fn folder(config: &Config) -> Folder {
    let folder = Folder::new(&config.yaml());
    folder.write("tester.wasm", guests::tester("one"));
    folder
}

pub fn start(upstream: &Sink, behaviour: &str, limits: &str, more: &str) -> Sluice {
    Sluice::start_in(folder(&Config::to(upstream).processor("wasm/tester", &settings(behaviour, limits, more))))
}

fn failures(sluice: &Sluice, kind: &str) -> (f64, f64) {
    let metrics = sluice.metrics();
    let of = [("plugin", "wasm/tester"), ("kind", kind)];
    (metrics.sum("sluice_plugin_failures_total", &of), metrics.sum("sluice_plugin_failures_total", &of[..1]))
}

#[test]
fn one_bad_span_costs_one_span() {
    for (behaviour, limits, kind) in WORST {
        let upstream = Sink::start();
        let sluice = start(&upstream, behaviour, limits, "");
        let client = Grpc::new(sluice.grpc()).unwrap();
        client.send(&request(100, &[37])).unwrap();
        // After a timeout calls are made on the side thread: that serves as well.
        client.send(&request(100, &[])).unwrap();
        assert_eq!(failures(&sluice, kind), (1.0, 1.0), "{behaviour}: counted once, under its own name");
        let entered = [("plugin", "wasm/tester"), ("outcome", "in")];
        assert_eq!(sluice.metrics().sum("sluice_plugin_spans_total", &entered), 199.0, "{behaviour}");
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
        assert_eq!(end.account.dropped_by("wasm/tester"), 1, "{behaviour}");
        assert!(end.stderr.contains(r#""dropped":{"wasm/tester":{"poison":1}}"#), "{}", end.stderr);
        let good = [request(100, &[]), without(37)];
        assert_eq!(wire::difference(&good, &upstream.wires()).unwrap(), None, "{behaviour}");
    }
}

#[test]
fn failures_are_told_once_a_second_at_most_and_all_of_them_are_counted() {
    const REQUESTS: u32 = 100;
    let upstream = Sink::start();
    let sluice = start(&upstream, "trap", "timeout: 5s", "");
    let client = Grpc::new(sluice.grpc()).unwrap();
    let begin = Instant::now();
    for _ in 0..REQUESTS {
        client.send(&request(5, &[3])).unwrap();
    }
    let seconds = begin.elapsed().as_secs() as usize;
    assert_eq!(failures(&sluice, "trap"), (f64::from(REQUESTS), f64::from(REQUESTS)));
    // What was written is read once the process has ended: the answer may overtake a line.
    let end = sluice.terminate();
    let told = end.stderr.lines().filter(|line| line.contains(r#""event":"plugin.failure""#)).count();
    assert!((1..=seconds + 1).contains(&told), "{told} lines in {seconds} s");
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.dropped_by("wasm/tester"), i64::from(REQUESTS));
}

/// A request of 100 good spans without one of them.
fn without(gone: u8) -> Bytes {
    let spans: Vec<_> =
        (0..100).filter(|span| *span != gone).map(|span| odd::span(1, span, &[odd::field(5, b"good")])).collect();
    odd::request(&spans)
}

#[test]
fn a_span_that_must_not_be_dropped_keeps_its_request_with_the_sender() {
    let upstream = Sink::start();
    let sluice = start(&upstream, "trap", "timeout: 5s", "on_poison: refuse");
    let client = Grpc::new(sluice.grpc()).unwrap();
    assert_eq!(client.send(&request(10, &[3])).unwrap_err().code(), Code::Unavailable);
    client.send(&request(10, &[])).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), end.account.sum("receiver", "refused")), (0, 0, 10), "{}", end.stderr);
    assert_eq!(upstream.spans(), 10);
}

#[test]
fn what_counts_in_a_plugin_counts_once_however_often_it_was_tried() {
    let upstream = Sink::start();
    // The first plugin counts its calls with the store; the second fails on one span of the request.
    let config = Config::to(&upstream)
        .processor(
            "wasm/floods",
            "module: tester.wasm\nconfig: { does: series }\nlimits: { timeout: 5s, metric_series: 30 }",
        )
        .processor("wasm/tester", &settings("trap", "timeout: 5s", ""));
    let sluice = Sluice::start_in(folder(&config));
    Grpc::new(sluice.grpc()).unwrap().send(&request(100, &[99])).unwrap();
    let metrics = sluice.metrics();
    assert_eq!(metrics.sum("sluice_plugin_custom_floods", &[("plugin", "wasm/floods")]), 30.0, "one call");
    assert_eq!(metrics.all("sluice_plugin_custom_floods").count(), 30, "and no more series than the limit");
    assert_eq!(metrics.sum("sluice_plugin_failures_total", &[("plugin", "wasm/floods"), ("kind", "metrics")]), 1.0);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn a_plugin_that_logs_without_end_is_cut_short_and_counted() {
    let upstream = Sink::start();
    let sluice = start(&upstream, "chatter", "timeout: 5s, log_lines_per_s: 7", "");
    let client = Grpc::new(sluice.grpc()).unwrap();
    let begin = Instant::now();
    client.send(&request(3, &[1])).unwrap();
    let seconds = begin.elapsed().as_secs() as usize;
    assert_eq!(failures(&sluice, "log"), (1.0, 1.0));
    // What was written is read once the process has ended: the answer may overtake a line.
    let end = sluice.terminate();
    let lines = end.stderr.lines().filter(|line| line.contains(r#""event":"plugin.log""#)).count();
    // Seven before the call's first second is over, and seven for each that begins while it runs.
    assert!((1..=7 * (seconds + 2)).contains(&lines), "{lines} lines in {seconds} s");
    let told: Vec<_> = end.stderr.lines().filter(|line| line.contains(r#""event":"plugin.log_limit""#)).collect();
    assert!(matches!(&told[..], [once] if once.contains(r#""limit":"log_lines_per_s""#)), "{told:?}");
    assert_eq!(end.account.missing(), 0);
}

fn state(sluice: &Sluice) -> f64 {
    sluice.metrics().sum("sluice_plugin_breaker_state", &[("plugin", "wasm/tester")])
}

#[test]
fn a_plugin_that_goes_on_failing_is_left_alone_and_comes_back() {
    let upstream = Sink::start();
    let restart = "restart: { initial_interval: 20ms, max_interval: 200ms, budget: 2, window: 1m }";
    let config = Config::to(&upstream)
        .extension("health_check", "endpoint: '127.0.0.1:0'")
        .processor("wasm/tester", &settings("trap", "timeout: 5s", restart));
    let sluice = Sluice::start_in(folder(&config));
    let (client, health) = (Grpc::new(sluice.grpc()).unwrap(), sluice.address("health_check", ""));
    let health = || http::get(health, "/").unwrap();
    client.send(&request(5, &[])).unwrap();
    assert_eq!((state(&sluice), health().status.as_u16()), (0.0, 200));

    let fails = || assert!(client.send(&all_bad()).is_err());
    wait::until("the breaker to open", || {
        fails();
        (state(&sluice) == 2.0).then_some(())
    });
    let unready = wait::until("the process not to be ready", || {
        fails();
        Some(health()).filter(|answer| answer.status == 503)
    });
    assert!(String::from_utf8_lossy(&unready.body).contains("processor wasm/tester"), "{unready:?}");
    assert!(sluice.metrics().sum("sluice_plugin_restarts_total", &[("plugin", "wasm/tester")]) >= 1.0);
    let told = sluice.log().find("plugin.failure").unwrap();
    assert!(told["backtrace"].as_str().unwrap().contains("process"), "{told}");

    // Nobody sends any more: an empty probe closes it.
    wait::until("the breaker to close", || (state(&sluice) == 0.0).then_some(()));
    wait::until("the process to be ready", || (health().status == 200).then_some(()));
    send::all(sluice.grpc(), &[request(7, &[])]).unwrap();
    let states: Vec<_> =
        sluice.log().events("plugin.breaker").into_iter().map(|event| event["state"].clone()).collect();
    assert_eq!(states.last().unwrap(), "closed", "{states:?}");
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), upstream.spans()), (0, 0, 12), "{}", end.stderr);
}

#[test]
fn another_version_begins_with_a_closed_breaker() {
    let upstream = Sink::start();
    let restart = "restart: { initial_interval: 10m, max_interval: 10m, budget: 0 }";
    let config =
        |behaviour| Config::to(&upstream).processor("wasm/tester", &settings(behaviour, "timeout: 5s", restart));
    let sluice = Sluice::start_in(folder(&config("trap")));
    let client = Grpc::new(sluice.grpc()).unwrap();
    assert!(client.send(&all_bad()).is_err());
    assert_eq!(state(&sluice), 2.0);
    assert!(client.send(&request(5, &[])).is_err(), "it is not called for ten minutes");
    sluice.rewrite(&config("stamp"));
    sluice.wait_swap("wasm/tester", 1);
    client.send(&all_bad()).unwrap();
    assert_eq!(state(&sluice), 0.0);
    assert_eq!(sluice.terminate().account.missing(), 0);
}

/// Runs `sluice quarantine …` and gives its exit code and what it printed.
fn quarantine(config: &Path, args: &[&str]) -> (i32, String, String) {
    let output = run(&[&["quarantine"], args].concat(), Some(config));
    (output.code, output.stdout, output.stderr)
}

/// The records, as `list --json` shows them.
fn records(config: &Path) -> Vec<Value> {
    let (code, listed, stderr) = quarantine(config, &["list", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(&listed).unwrap()
}

fn with_quarantine(upstream: &Sink, behaviour: &str, more: &str) -> Config {
    Config::to(upstream)
        .extension("sluice", "state_dir: state")
        .processor("wasm/tester", &settings(behaviour, "timeout: 5s", more))
        .processor("attributes", "actions: [{ key: last, value: seen, action: upsert }]")
}

#[test]
fn a_bad_span_is_kept_with_its_story_and_exported_once_when_it_is_replayed() {
    let upstream = Sink::start();
    let sluice = Sluice::start_in(folder(&with_quarantine(&upstream, "trap", "")));
    let config = sluice.folder().config();
    let client = Grpc::new(sluice.grpc()).unwrap();
    client.send(&request(10, &[3])).unwrap();
    upstream.wait_for_spans(9);

    let kept = records(&config);
    let [record] = kept.as_slice() else { panic!("{kept:?}") };
    let of = |key: &str| record[key].as_str().unwrap();
    assert_eq!((of("plugin"), of("kind"), of("version"), of("pipeline")), ("wasm/tester", "trap", "one", "traces"));
    assert_eq!((record["spans"].as_u64(), of("digest").len(), of("time").len()), (Some(1), 64, 24), "{record}");
    let (_, table, _) = quarantine(&config, &["list"]);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [["ID", "TIME", "PLUGIN", "KIND", "SPANS"], [of("id"), of("time"), "wasm/tester", "trap", "1"]]);
    let (code, shown, stderr) = quarantine(&config, &["show", of("id"), "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert!(shown["backtrace"].as_str().unwrap().contains("process"), "{shown}");
    let span = &shown["request"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!((&span["name"], &span["attributes"]), (&"bad".into(), &Value::Null), "as it came: {shown}");
    let cell = [("level", "pipeline"), ("outcome", "quarantined"), ("by", "wasm/tester")];
    assert_eq!(sluice.metrics().sum("sluice_account_spans", &cell), 1.0);

    // The plugin is mended; the span goes through it and what follows, not through what was before.
    sluice.rewrite(&with_quarantine(&upstream, "stamp", ""));
    sluice.wait_swap("wasm/tester", 1);
    let (code, said, stderr) = quarantine(&config, &["replay", of("id")]);
    assert_eq!((code, said.as_str()), (0, &*format!("{}: 1 spans replayed", of("id"))), "{stderr}");
    let (code, _, stderr) = quarantine(&config, &["replay", of("id")]);
    assert_eq!(code, 1);
    assert!(stderr.contains("there is no record"), "{stderr}");
    assert!(records(&config).is_empty());
    upstream.wait_for_spans(10);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), upstream.spans()), (0, 0, 10), "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "received"), 11);
    let spans = upstream.decoded_spans();
    let bad: Vec<_> = spans.iter().filter(|span| span.name == "bad").collect();
    assert_eq!(bad.len(), 1);
    assert_eq!((text(bad[0], "stamp"), text(bad[0], "last")), (Some("one"), Some("seen")));
}

#[test]
fn what_was_set_aside_survives_a_kill() {
    let upstream = Sink::start();
    let mut sluice = Sluice::start_in(folder(&with_quarantine(&upstream, "trap", "")));
    Grpc::new(sluice.grpc()).unwrap().send(&request(10, &[3, 4])).unwrap();
    sluice.signal(libc::SIGKILL);
    wait::until("its end", || (!sluice.runs()).then_some(()));
    let kept = records(&sluice.folder().config());
    assert_eq!(kept.iter().map(|record| record["spans"].as_u64().unwrap()).sum::<u64>(), 2, "{kept:?}");
}

#[test]
fn a_plugin_that_fails_on_everything_can_have_it_all_set_aside() {
    let upstream = Sink::start();
    let sluice =
        Sluice::start_in(folder(&with_quarantine(&upstream, "trap", "on_failure: quarantine\nrestart: { budget: 1 }")));
    let config = sluice.folder().config();
    let client = Grpc::new(sluice.grpc()).unwrap();
    // The plugin pauses, then its breaker opens: none of it makes a difference to the sender.
    (0..5).for_each(|_| drop(client.send(&all_bad()).unwrap()));
    let kept = records(&config);
    assert_eq!(kept.iter().map(|record| record["spans"].as_u64().unwrap()).sum::<u64>(), 100);
    let kinds: Vec<_> = kept.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert!(kinds[0] == "trap" && kinds[1..].contains(&"breaker"), "{kinds:?}");
    let (code, _, stderr) = quarantine(&config, &["replay", "1-0"]);
    assert!(code == 1 && stderr.contains("there is no record `1-0`"), "{stderr}");
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), upstream.spans()), (0, 0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("pipeline", "quarantined"), 100);
    let (code, _, stderr) = quarantine(&end_config(&upstream).config(), &["list"]);
    assert!(code == 1 && stderr.contains("has no `state_dir`"), "{stderr}");
}

/// A configuration without a quarantine.
fn end_config(upstream: &Sink) -> Folder {
    Folder::new(&Config::to(upstream).yaml())
}

#[test]
fn a_replay_that_nobody_takes_says_so_and_keeps_the_record() {
    let upstream = Sink::start();
    let mut sluice = Sluice::start_in(folder(&with_quarantine(&upstream, "trap", "")));
    Grpc::new(sluice.grpc()).unwrap().send(&request(10, &[3])).unwrap();
    sluice.signal(libc::SIGTERM);
    wait::until("its end", || (!sluice.runs()).then_some(()));
    let config = sluice.folder().config();
    let (code, _, stderr) = quarantine(&config, &["replay", "--all"]);
    assert!(code == 1 && stderr.contains("no collector has taken it"), "{stderr}");
    assert_eq!(records(&config).len(), 1);
}

#[test]
fn a_quarantine_that_has_no_place_is_an_error_of_the_configuration() {
    for key in ["on_poison", "on_failure"] {
        let config = Config::to(&Sink::start())
            .processor("wasm/tester", &settings("stamp", "timeout: 5s", &format!("{key}: quarantine")));
        let output = run(&["validate"], Some(&folder(&config).config()));
        assert_eq!(output.code, 1);
        let expected = format!("`{key}: quarantine` needs `state_dir` of the extension `sluice`");
        assert!(output.stderr.contains(&expected), "{}", output.stderr);
    }
}

#[test]
fn large_requests_lose_the_bad_span_of_each_slice() {
    let upstream = Sink::start();
    let sluice = start(&upstream, "trap", "timeout: 5s", "");
    let mut exporter = Exporter::new(131);
    let good = exporter.request(1500);
    // Two requests put one behind the other are one: the bad span is in the last slice.
    let both = Bytes::from([good.clone(), request(3, &[1])].concat());
    let spans = wire::count(&both).unwrap();
    Grpc::new(sluice.grpc()).unwrap().send(&both).unwrap();
    upstream.wait_for_spans(spans - 1);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), end.account.dropped_by("wasm/tester")), (0, 0, 1), "{}", end.stderr);
    assert_eq!(upstream.spans(), spans - 1);
}
