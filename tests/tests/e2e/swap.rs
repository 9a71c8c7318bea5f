//! Rules and plugins change while spans flow: none is lost, none is seen half-processed, and what
//! is wrong keeps the old one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::Sink;
use sluice_tests::{send, wait, wire};

use crate::{guests, odd};

/// A sender that goes on until told to stop.
struct Flow {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Bytes>>,
}

impl Flow {
    fn start(sluice: &Sluice, seed: u64) -> Self {
        let (stop, address) = (Arc::new(AtomicBool::new(false)), sluice.grpc());
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut exporter = Exporter::new(seed);
            let mut sent = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let requests = exporter.requests(4, 30);
                send::all(address, &requests).unwrap();
                sent.extend(requests);
            }
            sent
        });
        Self { stop, thread }
    }

    /// Stops, and gives how many spans were sent.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap().iter().map(|request| wire::count(request).unwrap()).sum()
    }
}

pub fn text<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Waits until a span has arrived of which an attribute has this value. How many arrive before it, the queue
/// knows.
#[track_caller]
pub fn wait_for_text(upstream: &Sink, key: &str, value: &str) {
    let has_arrived = || upstream.decoded_spans().iter().any(|span| text(span, key) == Some(value));
    wait::until(&format!("a span with {key}: {value} upstream"), || has_arrived().then_some(()));
}

/// The different values of an attribute.
fn texts(upstream: &Sink, key: &str) -> Vec<Option<String>> {
    let all = upstream.decoded_spans();
    let mut texts: Vec<_> = all.iter().map(|span| text(span, key).map(str::to_owned)).collect();
    texts.sort();
    texts.dedup();
    texts
}

/// A chain that stamps every span at both its ends.
pub fn stamped(upstream: &Sink, stamp: &str) -> Config {
    let set = |key: &str| format!("actions: [{{ key: {key}, value: {stamp}, action: upsert }}]");
    Config::to(upstream).processor("attributes/first", &set("first")).processor("attributes/last", &set("last"))
}

#[test]
fn a_rule_edited_under_traffic_loses_nothing_and_splits_nothing() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&stamped(&upstream, "one"));
    let flow = Flow::start(&sluice, 121);
    upstream.wait_for_spans(500);
    for stamp in ["two", "three", "four"] {
        let seen = sluice.swaps("attributes/first").len();
        sluice.rewrite(&stamped(&upstream, stamp));
        let swap = sluice.wait_swap("attributes/first", seen);
        assert_eq!(swap["outcome"], "swapped", "{swap}");
        wait_for_text(&upstream, "last", stamp);
    }
    let sent = flow.end();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(upstream.spans(), sent, "spans sent and arrived");
    for span in upstream.decoded_spans() {
        assert!(
            text(&span, "first").is_some() && text(&span, "first") == text(&span, "last"),
            "half-processed: {span:?}"
        );
    }
    assert_eq!(texts(&upstream, "last"), ["four", "one", "three", "two"].map(|stamp| Some(stamp.to_owned())));
}

fn with_tester(upstream: &Sink, stamp: &str) -> Folder {
    let config = Config::to(upstream).processor("wasm/tester", "module: tester.wasm\nconfig: { does: stamp }");
    let folder = Folder::new(&config.yaml());
    folder.write("tester.wasm", guests::tester(stamp));
    folder
}

#[test]
fn a_plugin_file_replaced_under_traffic_loses_nothing_and_splits_nothing() {
    let upstream = Sink::start();
    let two = guests::tester("two");
    let sluice = Sluice::start_in(with_tester(&upstream, "one"));
    let flow = Flow::start(&sluice, 122);
    upstream.wait_for_spans(500);
    let seen = sluice.swaps("wasm/tester").len();
    sluice.folder().write("tester.wasm", two);
    let swap = sluice.wait_swap("wasm/tester", seen);
    assert_eq!(swap["outcome"], "swapped", "{swap}");
    assert_ne!(swap["from"], swap["to"]);
    assert!(swap["ms"].as_object().is_some_and(|steps| !steps.is_empty()), "{swap}");
    wait_for_text(&upstream, "stamp", "two");
    let sent = flow.end();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), upstream.spans()), (0, 0, sent), "{}", end.stderr);
    assert_eq!(texts(&upstream, "stamp"), [Some("one".to_owned()), Some("two".to_owned())]);
}

/// Sends a span that nobody else sends, and says with what stamp it arrives: others may still be on their way.
#[track_caller]
pub fn stamp_now(sluice: &Sluice, upstream: &Sink, key: &str) -> Option<String> {
    static SENT: AtomicU64 = AtomicU64::new(0);
    let name = format!("stamped span {:08}", SENT.fetch_add(1, Ordering::Relaxed));
    send::all(sluice.grpc(), &[odd::request(&[odd::span(77, 7, &[odd::field(5, name.as_bytes())])])]).unwrap();
    wait::until(&format!("{name} upstream"), || upstream.holds(&name).then_some(()));
    let span = upstream.decoded_spans().into_iter().rfind(|span| span.name == name).unwrap();
    text(&span, key).map(str::to_owned)
}

#[test]
fn a_broken_plugin_file_keeps_the_old_one_and_says_why() {
    let upstream = Sink::start();
    let two = guests::tester("two");
    let sluice = Sluice::start_in(with_tester(&upstream, "one"));
    let broken: [&[u8]; 3] = [b"this is no component", &two[..two.len() / 2], b"\0asm\x0d\0\x01\0"];
    for broken in broken {
        let seen = sluice.swaps("wasm/tester").len();
        sluice.folder().write("tester.wasm", broken);
        let swap = sluice.wait_swap("wasm/tester", seen);
        assert_eq!(swap["outcome"], "failed", "{swap}");
        assert!(swap["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{swap}");
        assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("one"));
    }
    assert!(sluice.metrics().sum("sluice_plugin_swaps_total", &[("outcome", "failed")]) >= 3.0);
    // A good one after the broken ones is taken.
    let seen = sluice.swaps("wasm/tester").len();
    sluice.folder().write("tester.wasm", two);
    assert_eq!(sluice.wait_swap("wasm/tester", seen)["outcome"], "swapped");
    assert_eq!(stamp_now(&sluice, &upstream, "stamp").as_deref(), Some("two"));
}

#[test]
fn a_broken_config_keeps_the_old_one_and_says_why() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&stamped(&upstream, "one"));
    let good = stamped(&upstream, "two").yaml();
    let broken = [
        good.replace("retry_on_failure", "retry_on_failures"),
        good.replace("action: upsert", "action: upset"),
        good[..good.len() / 2].to_owned() + "\n  [",
        String::new(),
    ];
    for yaml in broken {
        let failures = || {
            let failed = |event: &&serde_json::Value| event["outcome"] == "failed" && event["reason"].is_string();
            let events = [sluice.log().events("reload"), sluice.log().events("plugin.swap")].concat();
            events.iter().filter(failed).count()
        };
        let before = failures();
        sluice.folder().write("config.yaml", &yaml);
        wait::until("the reload to fail", || (failures() > before).then_some(()));
        assert_eq!(stamp_now(&sluice, &upstream, "last").as_deref(), Some("one"), "after {yaml}");
    }
    sluice.folder().write("config.yaml", good);
    wait::until("the good config", || (stamp_now(&sluice, &upstream, "last").as_deref() == Some("two")).then_some(()));
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn sighup_reloads() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&stamped(&upstream, "one"));
    let failed_by = |trigger: &str| {
        let mut events = sluice.log().events("reload").into_iter();
        events.find(|event| event["outcome"] == "failed" && event["trigger"] == trigger)
    };
    // The watch has read it and told of it; that it is read and told of once more is the signal's doing.
    sluice.folder().write("config.yaml", "a: [b");
    let watched = wait::until("the reload of the watch to fail", || failed_by("file"));
    sluice.signal(libc::SIGHUP);
    let asked = wait::until("the reload of SIGHUP to fail", || failed_by("sighup"));
    assert!(asked["reason"].is_string() && asked["reason"] == watched["reason"], "{asked} after {watched}");
    // Both are told of this change, and whoever comes first brings it.
    let seen = sluice.swaps("attributes/first").len();
    sluice.rewrite(&stamped(&upstream, "two"));
    sluice.signal(libc::SIGHUP);
    assert_eq!(sluice.wait_swap("attributes/first", seen)["outcome"], "swapped");
    let serving = sluice.metrics().sum("sluice_plugin_info", &[("plugin", "attributes/first")]);
    assert_eq!(serving, 1.0, "the version that serves is not shown");
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn a_pipeline_and_an_exporter_can_be_added_while_it_runs() {
    let (upstream, second) = (Sink::start(), Sink::start());
    let sluice = Sluice::start(&Config::to(&upstream));
    let settings = sluice_tests::collector::config::grpc(&second, "");
    sluice.rewrite(&Config::to(&upstream).exporter("otlp_grpc/second", &settings));
    wait::until("the reload", || sluice.log().find("reload"));
    let requests = Exporter::new(124).requests(5, 20);
    send::all(sluice.grpc(), &requests).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(wire::difference(&requests, &second.wires()).unwrap(), None);
}
