//! Exponential histograms of `spanmetrics`, as a server of Prometheus scrapes native histograms. What it gets is decoded by
//! the fields that `client_model` publishes, written down here once more.

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use sluice_tests::collector::{Config, Metrics, Sluice};
use sluice_tests::send;
use sluice_tests::send::http::{Post, Reply};

use crate::sampling::{request, span};

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(int32, optional, tag = "3")]
    r#type: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Counter {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(uint64, optional, tag = "7")]
    zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    positive_delta: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    upper_bound: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

/// What a server with native histograms asks for.
const ACCEPT: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
                      application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

fn get(sluice: &Sluice, accept: &str) -> Reply {
    let get = Post::protobuf(Bytes::new()).method("GET".parse().unwrap()).path("/metrics").header("accept", accept);
    get.to(sluice.address("prometheus", "")).unwrap()
}

fn families(sluice: &Sluice) -> Vec<MetricFamily> {
    let reply = get(sluice, ACCEPT);
    let expected = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    assert_eq!(reply.header("content-type"), expected);
    let (mut bytes, mut families) = (reply.body, Vec::new());
    while !bytes.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut bytes).unwrap());
    }
    families
}

fn counting(connector: &str) -> Config {
    Config::new()
        .connector("spanmetrics", connector)
        .exporter("prometheus", "endpoint: '127.0.0.1:0'")
        .pipeline("traces", &["otlp"], &[], &["spanmetrics"])
        .pipeline("metrics", &["spanmetrics"], &[], &["prometheus"])
}

fn server(name: &str, micros: u64) -> Span {
    let start_time_unix_nano = 1_700_000_000_000_000_000;
    let end_time_unix_nano = start_time_unix_nano + micros * 1_000;
    Span { kind: 2, start_time_unix_nano, end_time_unix_nano, ..span(7, name, vec![]) }
}

fn send(sluice: &Sluice, micros: &[u64]) {
    let spans = micros.iter().map(|micros| server("GET /", *micros)).collect();
    send::all(sluice.grpc(), &[request("shop", spans)]).unwrap();
}

#[test]
fn exponential_histograms_are_native_histograms_for_those_who_can_read_them() {
    let sluice = Sluice::start(&counting("histogram: { exponential: { max_size: 4 } }"));
    // 0, 1, 2, 2, 4 and 8 ms; the bucket that ends at 2^n has the index n at schema 0.
    send(&sluice, &[0, 1_000, 2_000, 2_000]);
    send(&sluice, &[4_000, 8_000]);
    let families = families(&sluice);
    let names: Vec<_> = families.iter().map(|family| (family.name.as_deref().unwrap(), family.r#type)).collect();
    // The numbers of COUNTER and HISTOGRAM.
    let expected =
        [("traces_span_metrics_calls_total", Some(0)), ("traces_span_metrics_duration_milliseconds", Some(4))];
    assert_eq!(names, expected);
    let labels = families[1].metric[0].label.iter();
    let labels: Vec<_> = labels.map(|pair| (pair.name.as_deref().unwrap(), pair.value.as_deref().unwrap())).collect();
    let base = [
        ("service_name", "shop"),
        ("span_name", "GET /"),
        ("span_kind", "SPAN_KIND_SERVER"),
        ("status_code", "STATUS_CODE_UNSET"),
    ];
    assert_eq!(labels, base);
    assert_eq!(families[0].metric[0].counter.as_ref().unwrap().value, Some(6.0));
    let histogram = families[1].metric[0].histogram.as_ref().unwrap();
    assert_eq!((histogram.sample_count, histogram.sample_sum, histogram.zero_count), (Some(6), Some(17.0), Some(1)));
    // A schema of 0 may be left out on the wire.
    assert_eq!((histogram.schema.unwrap_or_default(), histogram.bucket.len()), (0, 0));
    let spans = histogram.positive_span.iter().map(|span| (span.offset.unwrap_or_default(), span.length.unwrap()));
    assert_eq!(spans.collect::<Vec<_>>(), [(0, 4)]);
    assert_eq!(histogram.positive_delta, [1, 1, -1, 0], "1, 2, 1 and 1");
    let text = Metrics::parse(str::from_utf8(&get(&sluice, "text/plain").body).unwrap());
    let of = |what: &str, labels: &[(&str, &str)]| {
        text.sum(&format!("traces_span_metrics_duration_milliseconds_{what}"), labels)
    };
    assert_eq!((of("count", &[]), of("sum", &[]), of("bucket", &[("le", "+Inf")])), (6.0, 17.0, 6.0));
    assert_eq!(of("bucket", &[]), 6.0, "and no other bucket");
    assert_eq!(sluice.terminate().account.missing(), 0);
}

/// All of the page is there in that format, not only native histograms.
#[test]
fn explicit_buckets_are_shown_in_protobuf_too() {
    let sluice = Sluice::start(&counting("histogram: { explicit: { buckets: [2ms, 5ms] } }"));
    send(&sluice, &[1_000, 2_000, 3_000]);
    let families = families(&sluice);
    let histogram = families[1].metric[0].histogram.as_ref().unwrap();
    let buckets: Vec<_> =
        histogram.bucket.iter().map(|bucket| (bucket.upper_bound.unwrap(), bucket.cumulative_count.unwrap())).collect();
    assert_eq!(buckets, [(2.0, 2), (5.0, 3)]);
    assert_eq!((histogram.sample_count, histogram.sample_sum), (Some(3), Some(6.0)));
    assert!(histogram.positive_span.is_empty() && histogram.schema.is_none());
    assert_eq!(sluice.terminate().account.missing(), 0);
}
