//! Strategies of a Jaeger file work in the sandbox; a limit is one for all connections and cores; what
//! the waybill plugin marks is kept by the samplers behind it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::send::Grpc;
use sluice_tests::sink::Sink;
use sluice_tests::{process, send, wait};

use crate::guests;
use crate::swap::text;

pub fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

pub fn span(trace: u128, name: &str, attributes: Vec<KeyValue>) -> Span {
    let trace_id = trace.to_be_bytes().to_vec();
    Span { trace_id, span_id: vec![1; 8], name: name.to_owned(), attributes, ..Span::default() }
}

pub fn request(service: &str, spans: Vec<Span>) -> Bytes {
    let resource = Resource { attributes: vec![attribute("service.name", service)], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

fn names(upstream: &Sink) -> Vec<String> {
    upstream.decoded_spans().into_iter().map(|span| span.name).collect()
}

/// Requests may overtake each other on their way upstream.
fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

/// A trace whose randomness is one half.
const HALF: u128 = 0x80_0000_0000_0000;

#[test]
fn a_strategies_file_is_followed() {
    let strategies = |param: &str| {
        format!(
            r#"{{"service_strategies": [{{"service": "shop", "type": "probabilistic", "param": {param}}}],
                "default_strategy": {{"type": "const", "param": 0}}}}"#
        )
    };
    let upstream = Sink::start();
    let config = Config::to(&upstream).processor("strategy_sampler", "strategies: ${file:strategies.json}");
    let folder = Folder::new(&config.yaml());
    folder.write("strategies.json", strategies("0.5"));
    let sluice = Sluice::start_in(folder);
    let both = |name: &str| {
        let requests =
            ["shop", "bank"].map(|service| request(service, vec![span(HALF, &format!("{service} {name}"), vec![])]));
        send::all(sluice.grpc(), &requests).unwrap();
    };
    both("first");
    let seen = sluice.swaps("strategy_sampler").len();
    sluice.folder().write("strategies.json", strategies("0.4"));
    assert_eq!(sluice.wait_swap("strategy_sampler", seen)["outcome"], "swapped");
    both("second");
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(names(&upstream), ["shop first"]);
    assert_eq!(upstream.decoded_spans()[0].trace_state, "ot=th:8");
    assert_eq!(end.account.dropped_by("strategy_sampler"), 3);
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// What a connection has sent: when its last trace went, and the longest time it sent none.
struct Sent {
    gap: Duration,
    traces: u64,
}

/// Sends traces of one service, one a request, until the time is over. Each says when it was sent.
fn flood(connection: u64, round: u64, sluice: &Sluice, time: Duration) -> Sent {
    let client = Grpc::new(sluice.grpc()).unwrap();
    let (started, mut last, mut sent) = (Instant::now(), Instant::now(), Sent { gap: Duration::ZERO, traces: 0 });
    while started.elapsed() < time {
        let id = u128::from(round << 40 | connection << 32 | sent.traces) + 1;
        let span = Span { start_time_unix_nano: now(), ..span(id, "work", vec![]) };
        client.send(&request("shop", vec![span])).unwrap();
        sent.traces += 1;
        sent.gap = sent.gap.max(last.elapsed());
        last = Instant::now();
    }
    sent
}

#[test]
fn a_limit_is_one_for_all_connections() {
    const WARM: Duration = Duration::from_millis(1_500);
    const COUNTED: Duration = Duration::from_secs(4);
    let strategies = "strategies: { default_strategy: { type: ratelimiting, param: 100 } }\ndecision_ttl: 2s";
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream).processor("strategy_sampler", strategies));
    // A machine that stands still for as long as the bucket takes to fill loses tokens: then once more.
    let mut round = 0;
    let from = loop {
        let began = now();
        let sent: Vec<Sent> = thread::scope(|scope| {
            let sluice = &sluice;
            let flood = |connection| scope.spawn(move || flood(connection, round, sluice, WARM + COUNTED));
            let connections: Vec<_> = (0..4).map(flood).collect();
            connections.into_iter().map(|connection| connection.join().unwrap()).collect()
        });
        let traces: u64 = sent.iter().map(|sent| sent.traces).sum();
        assert!(traces > 2_000, "{traces} traces are not much more than the limit");
        if sent.iter().all(|sent| sent.gap < Duration::from_millis(700)) {
            break began + WARM.as_nanos() as u64;
        }
        round += 1;
        assert!(round < 10, "the machine does not let four connections send for {:?}", WARM + COUNTED);
    };
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    let counted = from..from + COUNTED.as_nanos() as u64;
    let arrived = upstream.decoded_spans();
    let arrived = arrived.iter().filter(|span| counted.contains(&span.start_time_unix_nano)).count();
    assert!((380..=420).contains(&arrived), "{arrived} traces in {COUNTED:?}, at 100 a second");
}

/// Four connections bring the four spans of each trace at the same time, mostly to several cores.
#[test]
fn a_limit_decides_once_on_a_trace_wherever_its_spans_come() {
    const TRACES: u128 = 400;
    let strategies = "strategies: { default_strategy: { type: ratelimiting, param: 40 } }";
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream).processor("strategy_sampler", strategies));
    let (began, together) = (Instant::now(), Barrier::new(4));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let client = Grpc::new(sluice.grpc()).unwrap();
                for trace in 1..=TRACES {
                    together.wait();
                    client.send(&request("shop", vec![span(trace, "work", vec![])])).unwrap();
                }
            });
        }
    });
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    let mut spans = BTreeMap::<Vec<u8>, usize>::new();
    for span in upstream.decoded_spans() {
        *spans.entry(span.trace_id).or_default() += 1;
    }
    // 40 at once and as many a second, however long this machine took.
    let most = 40 * (2 + began.elapsed().as_secs() as usize);
    assert!((40..=most).contains(&spans.len()), "{} of {TRACES} traces are kept, at most {most} may", spans.len());
    assert!(spans.values().all(|spans| *spans == 4), "{spans:?}");
}

/// The example of the SDK.
fn waybill() -> Vec<u8> {
    let out = process::target().join("test-guests/waybill.wasm");
    fs::create_dir_all(out.parent().unwrap()).unwrap();
    guests::build(&process::workspace().join("examples/waybill"), &[OsStr::new("--out"), out.as_os_str()]);
    fs::read(out).unwrap()
}

#[test]
fn the_trail_of_a_watched_waybill_is_kept_whatever_samplers_say() {
    let settings = "module: waybill.wasm\ntables: { watch: { file: watch.csv, key: waybill } }";
    let upstream = Sink::start();
    let config = Config::to(&upstream)
        .processor("wasm/waybill", settings)
        .processor("strategy_sampler", "strategies: { default_strategy: { type: const, param: 0 } }")
        .processor("probabilistic_sampler", "sampling_percentage: 0");
    let folder = Folder::new(&config.yaml());
    folder.write("waybill.wasm", waybill());
    folder.write("watch.csv", "waybill,why\nWB-1,insured\n");
    let sluice = Sluice::start_in(folder);
    let at = |station: &str| vec![attribute("station.id", station)];
    let with = |number: &str, station: &str| [at(station), vec![attribute("waybill.number", number)]].concat();
    let send = |spans| send::all(sluice.grpc(), &[request("post", spans)]).unwrap();
    send(vec![span(1, "a", at("GVA")), span(1, "b", with("WB-1", "BRN")), span(2, "other", with("WB-2", "GVA"))]);
    send(vec![span(1, "c", at("BRN")), span(3, "another", vec![])]);
    upstream.wait_for_spans(3);
    assert_eq!(sorted(names(&upstream)), ["a", "b", "c"]);
    for span in upstream.decoded_spans() {
        assert_eq!((text(&span, "waybill.trail"), text(&span, "waybill.why")), (Some("WB-1"), Some("insured")));
    }
    let metrics = sluice.metrics();
    let of = |metric: &str, labels: &[(&str, &str)]| metrics.sum(&format!("sluice_plugin_custom_{metric}"), labels);
    assert_eq!(of("scans_total", &[("waybill", "WB-1"), ("station", "GVA")]), 1.0);
    assert_eq!(of("scans_total", &[("waybill", "WB-1"), ("station", "BRN")]), 2.0);
    assert_eq!(of("stations_total", &[("waybill", "WB-1")]), 2.0);

    // Another watch list, while it runs.
    sluice.folder().write("watch.csv", "waybill,why\nWB-2,found\n");
    wait::until("the watch list", || sluice.log().find("plugin.table"));
    send(vec![span(4, "d", with("WB-2", "GVA")), span(5, "no more", with("WB-1", "GVA")), span(1, "e", vec![])]);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(sorted(names(&upstream)), ["a", "b", "c", "d", "e"], "the trail that was begun is kept to its end");
}
