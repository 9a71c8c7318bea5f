//! Metrics of spans, wired as in the Collector: a connector counts what a traces pipeline passes, a `prometheus`
//! exporter shows it. Counts are exact, whatever is swapped meanwhile.

use std::fs;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use sluice_tests::collector::{Config, Folder, Metrics, Sluice};
use sluice_tests::send::http::{Post, Reply};
use sluice_tests::send::{self, Grpc};
use sluice_tests::sink::Sink;
use sluice_tests::{process, wait};

use crate::guests;
use crate::sampling::{request, span};

/// The Collector's buckets, in milliseconds.
const BUCKETS: &str = "2 4 6 8 10 50 100 200 400 800 1000 1400 2000 5000 10000 15000 +Inf";

/// A pipeline that does nothing but count.
fn counting(connector: &str, exporter: &str) -> Config {
    wired(Config::new(), connector, exporter, &["spanmetrics"])
}

fn wired(config: Config, connector: &str, exporter: &str, exporters: &[&str]) -> Config {
    config
        .connector("spanmetrics", connector)
        .exporter("prometheus", &format!("endpoint: '127.0.0.1:0'\n{exporter}"))
        .pipeline("traces", &["otlp"], &[], exporters)
        .pipeline("metrics", &["spanmetrics"], &[], &["prometheus"])
}

/// A server's span that takes so many microseconds.
fn server(name: &str, micros: u64) -> Span {
    let start_time_unix_nano = 1_700_000_000_000_000_000;
    let end_time_unix_nano = start_time_unix_nano + micros * 1_000;
    Span { kind: 2, start_time_unix_nano, end_time_unix_nano, ..span(7, name, vec![]) }
}

fn failed(span: Span) -> Span {
    Span { status: Some(Status { code: 2, ..Status::default() }), ..span }
}

fn get(sluice: &Sluice, accept: &str) -> Reply {
    let get = Post::protobuf(Bytes::new()).method("GET".parse().unwrap()).path("/metrics").header("accept", accept);
    get.to(sluice.address("prometheus", "")).unwrap()
}

fn scrape(sluice: &Sluice) -> Metrics {
    let reply = get(sluice, "text/plain");
    assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    Metrics::parse(str::from_utf8(&reply.body).unwrap())
}

fn send(sluice: &Sluice, spans: Vec<Span>) {
    send::all(sluice.grpc(), &[request("shop", spans)]).unwrap();
}

#[test]
fn the_collectors_wiring_shows_calls_errors_and_durations() {
    let upstream = Sink::start();
    let config = wired(Config::to(&upstream), "", "", &["otlp_grpc", "spanmetrics"]);
    let sluice = Sluice::start(&config);
    send(&sluice, vec![server("GET /", 2_000), server("GET /", 20_000_000), failed(server("GET /", 30_500))]);
    let metrics = scrape(&sluice);
    let base = [("service_name", "shop"), ("span_name", "GET /"), ("span_kind", "SPAN_KIND_SERVER")];
    let error = [&base[..], &[("status_code", "STATUS_CODE_ERROR")]].concat();
    let unset = [&base[..], &[("status_code", "STATUS_CODE_UNSET")]].concat();
    let calls = |labels: &[(&str, &str)]| metrics.sum("traces_span_metrics_calls_total", labels);
    assert_eq!((calls(&error), calls(&unset), calls(&[])), (1.0, 2.0, 3.0));
    let labels: Vec<&str> = metrics
        .all("traces_span_metrics_calls_total")
        .next()
        .unwrap()
        .labels
        .iter()
        .map(|(name, _)| &name[..])
        .collect();
    assert_eq!(labels, ["service_name", "span_name", "span_kind", "status_code"], "and no others");
    let duration = |what: &str, labels: &[(&str, &str)]| {
        metrics.sum(&format!("traces_span_metrics_duration_milliseconds_{what}"), labels)
    };
    assert_eq!((duration("count", &error), duration("sum", &error)), (1.0, 30.5));
    assert_eq!((duration("count", &unset), duration("sum", &unset)), (2.0, 20_002.0));
    let buckets: Vec<(&str, f64)> = metrics
        .all("traces_span_metrics_duration_milliseconds_bucket")
        .filter(|sample| sample.label("status_code") == "STATUS_CODE_UNSET")
        .map(|sample| (sample.label("le"), sample.value))
        .collect();
    // 2 ms is within the first bucket, 20 s is beyond the last bound.
    let expected: Vec<(&str, f64)> = BUCKETS.split(' ').map(|le| (le, if le == "+Inf" { 2.0 } else { 1.0 })).collect();
    assert_eq!(buckets, expected);
    let nothing = send::http::get(sluice.address("prometheus", ""), "/").unwrap();
    assert_eq!(nothing.status, 404);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.destination("spanmetrics", "delivered"), 3, "a connector is a destination");
    assert_eq!((end.account.destination("otlp_grpc", "delivered"), upstream.spans()), (3, 3));
}

#[test]
fn names_follow_namespaces_and_units() {
    let exporter = "namespace: edge\nconst_labels: { site: gva }\nadd_metric_suffixes: false";
    let sluice = Sluice::start(&counting("namespace: ''\nhistogram: { unit: s }", ""));
    send(&sluice, vec![server("GET /", 2_500)]);
    let metrics = scrape(&sluice);
    assert_eq!(metrics.sum("calls_total", &[("span_name", "GET /")]), 1.0);
    assert_eq!(metrics.sum("duration_seconds_sum", &[]), 0.002_5);
    assert_eq!(metrics.sum("duration_seconds_bucket", &[("le", "0.004")]), 1.0);
    // What the series are called may change while they go on.
    sluice.rewrite(&counting("namespace: ''\nhistogram: { unit: s }", exporter));
    let renamed = wait::until("the other names", || Some(scrape(&sluice)).filter(|metrics| metrics.has("edge_calls")));
    assert_eq!(renamed.sum("edge_calls", &[("site", "gva")]), 1.0);
    assert_eq!(renamed.sum("edge_duration_count", &[("site", "gva")]), 1.0);
    assert_eq!(sluice.terminate().account.missing(), 0);
}

#[test]
fn past_the_limit_new_series_are_counted_in_one() {
    let sluice = Sluice::start(&counting("aggregation_cardinality_limit: 3", ""));
    for name in 0..10 {
        send(&sluice, vec![server(&format!("operation {name}"), 1_000), server("operation 0", 1_000)]);
    }
    let metrics = scrape(&sluice);
    let calls = |labels: &[(&str, &str)]| metrics.sum("traces_span_metrics_calls_total", labels);
    assert_eq!(metrics.all("traces_span_metrics_calls_total").count(), 4, "three and the overflow");
    assert_eq!((calls(&[]), calls(&[("otel_metric_overflow", "true")])), (20.0, 7.0));
    assert_eq!(calls(&[("span_name", "operation 0")]), 11.0);
    let overflow = [("otel_metric_overflow", "true")];
    assert_eq!(metrics.sum("traces_span_metrics_duration_milliseconds_count", &overflow), 7.0);
    assert_eq!(sluice.terminate().account.missing(), 0);
}

#[test]
fn a_series_without_spans_goes() {
    let sluice = Sluice::start(&counting("metrics_expiration: 1s", ""));
    send(&sluice, vec![server("GET /", 1_000), server("GET /", 1_000)]);
    let calls = |metrics: &Metrics| metrics.sum("traces_span_metrics_calls_total", &[]);
    wait::until("the series to go", || (calls(&scrape(&sluice)) == 0.0).then_some(()));
    send(&sluice, vec![server("GET /", 1_000)]);
    let after = calls(&scrape(&sluice));
    assert!(after <= 1.0, "{after}: it begins anew");
    assert_eq!(sluice.terminate().account.missing(), 0);
}

#[test]
fn exemplars_are_there_for_those_who_ask_for_open_metrics() {
    let sluice = Sluice::start(&counting("exemplars: { enabled: true }", "enable_open_metrics: true"));
    send(&sluice, vec![server("GET /", 3_000)]);
    let accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3";
    let reply = get(&sluice, accept);
    assert_eq!(reply.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = str::from_utf8(&reply.body).unwrap();
    assert!(text.ends_with("# EOF\n") && text.contains("# TYPE traces_span_metrics_calls counter\n"), "{text}");
    let metrics = Metrics::parse(text);
    let ids = [("trace_id", "00000000000000000000000000000007"), ("span_id", "0101010101010101")];
    let ids = ids.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for sample in metrics.all("traces_span_metrics_duration_milliseconds_bucket") {
        let exemplar: &[_] = if sample.label("le") == "4.0" { &ids } else { &[] };
        assert_eq!(sample.exemplar, exemplar, "{sample:?}");
    }
    assert_eq!(metrics.all("traces_span_metrics_calls_total").next().unwrap().exemplar, ids);
    let plain = get(&sluice, "text/plain");
    assert!(!str::from_utf8(&plain.body).unwrap().contains("trace_id"));
    assert_eq!(sluice.terminate().account.missing(), 0);
}

#[test]
fn sampled_spans_count_for_those_that_were_dropped() {
    let sluice = Sluice::start(&counting("", ""));
    let sampled = |state: &str| Span { trace_state: state.to_owned(), ..server("GET /", 10_000) };
    // One in four, one in two, and one that says nothing.
    send(&sluice, vec![sampled("ot=th:c"), sampled("ot=rv:ffffffffffffff;th:8"), sampled("")]);
    let metrics = scrape(&sluice);
    assert_eq!(metrics.sum("traces_span_metrics_calls_total", &[]), 7.0);
    assert_eq!(metrics.sum("traces_span_metrics_duration_milliseconds_sum", &[]), 70.0);
    assert_eq!(metrics.sum("traces_span_metrics_duration_milliseconds_bucket", &[("le", "10")]), 7.0);
    assert_eq!(sluice.terminate().account.destination("spanmetrics", "delivered"), 3, "spans, not what they stand for");
}

/// The bundled component with another digest: a custom section by the name of `v2` follows it.
fn another_version() -> Vec<u8> {
    let component = fs::read(process::target().join("plugins/spanmetrics.wasm")).unwrap();
    [&component[..], &[0, 3, 2, b'v', b'2']].concat()
}

/// The CPU time of each core's thread, in the kernel's ticks: what `top -H` shows.
fn core_ticks(sluice: &Sluice) -> Vec<u64> {
    let threads = fs::read_dir(format!("/proc/{}/task", sluice.pid())).unwrap();
    // Other threads may end meanwhile.
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).ok());
    let cores = stats.filter(|stat| stat.contains("(core-"));
    // proc(5): 14 and 15 are the times in user and in kernel mode; the name in parentheses is 2.
    let ticks = |stat: String| {
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    };
    cores.map(ticks).collect()
}

/// Sets it in the end, whatever comes of the test: others wait for it.
struct InTheEnd<'a>(&'a AtomicBool);

impl Drop for InTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// At least 1,000,000 spans from four connections or more, with the plugin swapped twice meanwhile.
#[test]
fn counts_are_exact_before_during_and_after_a_swap() {
    const SPANS: usize = 500;
    const REQUESTS: usize = 500;
    const PATIENCE: Duration = Duration::from_secs(300);
    // The other version is compiled; how long that takes is no concern of this test.
    let module = "{ module: other.wasm, limits: { compile_timeout: 5m } }";
    let [bundled, other] = ["", module].map(|more| counting(&format!("namespace: red\nsluice: {more}"), ""));
    let folder = Folder::new(&bundled.yaml());
    folder.write("other.wasm", another_version());
    let sluice = Sluice::start_in(folder);
    // Of five spans, two are called `a`; of two, one takes 1 ms and one takes 1 s.
    let spans = (0..SPANS).map(|i| {
        let name = ["a", "b", "a", "c", "d"][i % 5];
        server(name, if i % 2 == 0 { 1_000 } else { 1_000_000 })
    });
    let wire = request("shop", spans.collect());
    let check = |metrics: &Metrics, requests: usize| {
        let expected = (requests * SPANS) as f64;
        let duration =
            |what: &str, labels: &[(&str, &str)]| metrics.sum(&format!("red_duration_milliseconds_{what}"), labels);
        assert_eq!(metrics.sum("red_calls_total", &[]), expected);
        assert_eq!(metrics.sum("red_calls_total", &[("span_name", "a")]), expected * 0.4);
        assert_eq!(duration("count", &[]), expected);
        assert_eq!(duration("bucket", &[("le", "2")]), expected / 2.0);
        assert_eq!(duration("sum", &[]), expected / 2.0 * 1_001.0);
    };
    send::all(sluice.grpc(), std::slice::from_ref(&wire)).unwrap();
    check(&scrape(&sluice), 1);
    let idle = core_ticks(&sluice);
    // Connections go to the core that has the fewest.
    let connections = idle.len().max(4);
    let (begun, answered) = (AtomicUsize::new(1), AtomicUsize::new(1));
    let (swapped, gate) = (AtomicBool::new(false), RwLock::new(()));
    // With traffic on: what was answered has been counted, whole, and once.
    let check_flowing = || {
        let least = answered.load(Ordering::SeqCst);
        let metrics = scrape(&sluice);
        let most = begun.load(Ordering::SeqCst);
        let requests = metrics.sum("red_calls_total", &[]) / SPANS as f64;
        assert!((least as f64..=most as f64).contains(&requests), "{requests} of {least} to {most}");
        check(&metrics, requests as usize);
    };
    let sent = thread::scope(|scope| {
        let flow = || {
            let (client, mut sent) = (Grpc::new(sluice.grpc()).unwrap(), 0);
            while sent < REQUESTS || !swapped.load(Ordering::Relaxed) {
                let _sending = gate.read().unwrap();
                begun.fetch_add(1, Ordering::SeqCst);
                client.send(&wire).unwrap();
                answered.fetch_add(1, Ordering::SeqCst);
                sent += 1;
            }
            sent
        };
        let senders: Vec<_> = (0..connections).map(|_| scope.spawn(flow)).collect();
        let (all_done, mut swaps) = (InTheEnd(&swapped), Vec::new());
        for config in [&other, &bundled] {
            let seen = sluice.swaps("spanmetrics").len();
            sluice.rewrite(config);
            swaps.extend(wait::within(PATIENCE, || {
                check_flowing();
                sluice.swaps("spanmetrics").into_iter().nth(seen)
            }));
            // Nobody sends as long as this is held.
            let _still = gate.write().unwrap();
            check(&scrape(&sluice), answered.load(Ordering::SeqCst));
        }
        drop(all_done);
        let outcomes: Vec<_> = swaps.iter().map(|swap| &swap["outcome"]).collect();
        assert_eq!(outcomes, ["swapped", "swapped"], "{swaps:?}");
        assert_ne!(swaps[0]["from"], swaps[0]["to"], "another version");
        senders.into_iter().map(|sender| sender.join().unwrap()).sum::<usize>()
    });
    assert!(sent * SPANS >= 1_000_000, "{sent} requests");
    check(&scrape(&sluice), sent + 1);
    let worked: Vec<u64> = core_ticks(&sluice).iter().zip(&idle).map(|(after, before)| after - before).collect();
    let even = worked.iter().sum::<u64>() / worked.len() as u64;
    assert!(worked.iter().all(|ticks| *ticks > even / 4), "a core has counted nothing: {worked:?}");
    send::all(sluice.grpc(), std::slice::from_ref(&wire)).unwrap();
    check(&scrape(&sluice), sent + 2);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.destination("spanmetrics", "delivered"), (SPANS * (sent + 2)) as i64);
}

#[test]
fn another_configuration_of_the_connector_begins_anew() {
    let sluice = Sluice::start(&counting("", ""));
    send(&sluice, vec![server("GET /", 1_000)]);
    let seen = sluice.swaps("spanmetrics").len();
    sluice.rewrite(&counting("exclude_dimensions: [span.name]", ""));
    assert_eq!(sluice.wait_swap("spanmetrics", seen)["outcome"], "swapped");
    let calls = "traces_span_metrics_calls_total";
    wait::until("the old series to be gone", || (!scrape(&sluice).has(calls)).then_some(()));
    send(&sluice, vec![server("GET /", 1_000)]);
    let metrics = scrape(&sluice);
    assert_eq!((metrics.sum(calls, &[]), metrics.sum(calls, &[("span_name", "")])), (1.0, 1.0));
    assert_eq!(sluice.terminate().account.missing(), 0);
}

/// A plugin that fails counts nothing, and keeps no span from the other destinations if it is told so.
#[test]
fn what_a_connector_fails_on_is_told_in_its_account() {
    let upstream = Sink::start();
    let connector = "does: trap\nsluice: { module: tester.wasm, on_failure: open }";
    let config = wired(Config::to(&upstream), connector, "", &["otlp_grpc", "spanmetrics"]);
    let folder = Folder::new(&config.yaml());
    folder.write("tester.wasm", guests::tester("one"));
    let sluice = Sluice::start_in(folder);
    send(&sluice, (0..20).map(|i| server(&i.to_string(), 1)).collect());
    assert_eq!(get(&sluice, "text/plain").body, "");
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!((end.account.destination("otlp_grpc", "delivered"), upstream.spans()), (20, 20));
    let told = ["delivered", "failed"].map(|outcome| end.account.destination("spanmetrics", outcome));
    assert_eq!(told, [0, 20]);
}

/// A connector's plugin is given no way to change what the other destinations get.
#[test]
fn a_connector_cannot_edit_spans() {
    let upstream = Sink::start();
    let connector = "does: stamp\nsluice: { module: tester.wasm, on_failure: open }";
    let config = wired(Config::to(&upstream), connector, "", &["otlp_grpc", "spanmetrics"]);
    let folder = Folder::new(&config.yaml());
    folder.write("tester.wasm", guests::tester("one"));
    let sluice = Sluice::start_in(folder);
    send(&sluice, (0..20).map(|i| server(&i.to_string(), 1)).collect());
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), upstream.spans()), (0, 0, 20), "{}", end.stderr);
    assert!(upstream.decoded_spans().iter().all(|span| span.attributes.is_empty()));
}

/// Of a request, only the span that the plugin fails on is not counted, and the others get it all the same.
#[test]
fn what_cannot_be_counted_still_reaches_the_other_destinations() {
    let upstream = Sink::start();
    let connector = "does: trap\nto: bad\nsluice: { module: tester.wasm }";
    let config = wired(Config::to(&upstream), connector, "", &["otlp_grpc", "spanmetrics"]);
    let folder = Folder::new(&config.yaml());
    folder.write("tester.wasm", guests::tester("one"));
    let sluice = Sluice::start_in(folder);
    send(&sluice, (0..20).map(|i| server(if i == 7 { "bad" } else { "good" }, 1)).collect());
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), upstream.spans()), (0, 0, 20), "{}", end.stderr);
    let told = ["delivered", "failed"].map(|outcome| end.account.destination("spanmetrics", outcome));
    assert_eq!((told, end.account.dropped_by("spanmetrics")), ([19, 1], 0));
}
