//! What the connector counts, natively. Expected values are worked out by hand from the spans.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::float_cmp)]

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use sluice_sdk::testing::{Problem, Stage};
use spanmetrics::SpanMetrics;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// A span of kind server that takes so many microseconds.
fn span(name: &str, micros: u64, attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: vec![0xab; 16],
        span_id: vec![0xcd; 8],
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: 1_000_000_000,
        end_time_unix_nano: 1_000_000_000 + micros * 1_000,
        attributes,
        ..Span::default()
    }
}

fn of(resource: Vec<KeyValue>, spans: Vec<Span>) -> ResourceSpans {
    let scope = InstrumentationScope { name: "lib".to_owned(), version: "1.2".to_owned(), ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let resource = Some(Resource { attributes: resource, ..Resource::default() });
    ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }
}

fn shop(spans: Vec<Span>) -> Vec<u8> {
    request(vec![of(vec![text("service.name", "shop"), text("region", "eu")], spans)])
}

fn request(resource_spans: Vec<ResourceSpans>) -> Vec<u8> {
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// The sums of what was recorded: by metric and labels, those without a value left out.
type Sums = BTreeMap<String, f64>;

fn sums(config: &str, requests: &[Vec<u8>]) -> Sums {
    let mut stage = Stage::<SpanMetrics>::new(config).unwrap();
    for wire in requests {
        let outcome = stage.process(wire).unwrap();
        assert_eq!(outcome.wire, *wire, "spans stay as they are");
    }
    collect(&stage)
}

fn collect(stage: &Stage<SpanMetrics>) -> Sums {
    let mut sums = Sums::new();
    for recorded in stage.recorded() {
        let labels = recorded.labels.iter().filter(|(_, value)| !value.is_empty());
        let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
        let key = format!("{}{{{}}}", recorded.metric.replace("traces_span_metrics_", ""), labels.join(","));
        *sums.entry(key).or_default() += recorded.value;
    }
    sums
}

fn only<'s>(sums: &'s Sums, metric: &str) -> Vec<(&'s str, f64)> {
    let start = format!("{metric}{{");
    sums.iter().filter(|(key, _)| key.starts_with(&start)).map(|(key, value)| (key.as_str(), *value)).collect()
}

fn problems(config: &str) -> Vec<(String, String)> {
    match Stage::<SpanMetrics>::new(config).err() {
        Some(Problem::Config(problems)) => problems.into_iter().map(|one| (one.path, one.message)).collect(),
        _ => Vec::new(),
    }
}

const BASE: &str = "service_name=shop,span_name=GET,span_kind=SPAN_KIND_SERVER,status_code=STATUS_CODE_UNSET";

#[test]
fn calls_and_durations_are_counted_by_service_name_kind_and_status() {
    let failed = Span { status: Some(Status { code: 2, ..Status::default() }), kind: 3, ..span("PUT", 1_500, vec![]) };
    let early = Span { end_time_unix_nano: 5, ..span("GET", 0, vec![]) };
    let found = sums(
        "{}",
        &[shop(vec![span("GET", 2_000, vec![]), failed, early]), shop(vec![span("GET", 20_000_000, vec![])])],
    );
    let put = "service_name=shop,span_name=PUT,span_kind=SPAN_KIND_CLIENT,status_code=STATUS_CODE_ERROR";
    let expected = [
        (format!("calls{{{BASE}}}"), 3.0),
        (format!("calls{{{put}}}"), 1.0),
        // A bound belongs to its bucket, and what ends before it begins takes no time.
        (format!("duration_milliseconds_bucket{{{BASE},le=2}}"), 2.0),
        (format!("duration_milliseconds_bucket{{{BASE},le=+Inf}}"), 1.0),
        (format!("duration_milliseconds_bucket{{{put},le=2}}"), 1.0),
        (format!("duration_milliseconds_sum{{{BASE}}}"), 20_002.0),
        (format!("duration_milliseconds_sum{{{put}}}"), 1.5),
    ];
    assert_eq!(found, expected.into_iter().collect());
}

#[test]
fn every_kind_and_status_has_the_collectors_word() {
    let kinds = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
    let spans = (0..6).map(|kind| Span { kind, ..span("GET", 1, vec![]) }).collect();
    let config = r#"{"exclude_dimensions":["service.name","span.name","status.code","collector.instance.id"]}"#;
    let found = sums(config, &[shop(spans)]);
    for kind in kinds {
        assert_eq!(found.get(&format!("calls{{span_kind=SPAN_KIND_{kind}}}")), Some(&1.0), "{kind}: {found:?}");
    }
    let statuses = ["UNSET", "OK", "ERROR"];
    let status = |code| Some(Status { code, ..Status::default() });
    let spans = (0..3).map(|code| Span { status: status(code), ..span("GET", 1, vec![]) }).collect();
    let found = sums(r#"{"exclude_dimensions":["service.name","span.name","span.kind"]}"#, &[shop(spans)]);
    for code in statuses {
        assert_eq!(found.get(&format!("calls{{status_code=STATUS_CODE_{code}}}")), Some(&1.0), "{code}: {found:?}");
    }
    let unknown = Span { kind: 77, status: status(9), ..span("GET", 1, vec![]) };
    let found = sums("{}", &[shop(vec![unknown])]);
    assert_eq!(only(&found, "calls"), [("calls{service_name=shop,span_name=GET}", 1.0)]);
}

#[test]
fn dimensions_come_from_the_span_else_the_resource_else_the_default() {
    let config = r#"{"dimensions":[{"name":"region"},{"name":"http.method","default":"NONE"},{"name":"absent"}]}"#;
    let own = span("GET", 1, vec![text("region", "us"), text("http.method", "POST")]);
    let found = sums(config, &[shop(vec![own, span("GET", 1, vec![])])]);
    let expected = [
        (format!("calls{{{BASE},region=eu,http_method=NONE}}"), 1.0),
        (format!("calls{{{BASE},region=us,http_method=POST}}"), 1.0),
    ];
    let expected: Vec<_> = expected.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    assert_eq!(only(&found, "calls"), expected);
}

#[test]
fn values_of_every_type_become_text() {
    let config =
        r#"{"dimensions":[{"name":"v"}],"exclude_dimensions":["service.name","span.name","span.kind","status.code"]}"#;
    let values = [
        (Value::IntValue(-200), "calls{v=-200}"),
        (Value::IntValue(0), "calls{v=0}"),
        (Value::IntValue(i64::MIN), "calls{v=-9223372036854775808}"),
        (Value::BoolValue(true), "calls{v=true}"),
        (Value::DoubleValue(1.5), "calls{v=1.5}"),
        (Value::BytesValue(vec![1]), "calls{}"),
    ];
    for (value, expected) in values {
        let found = sums(config, &[shop(vec![span("GET", 1, vec![attribute("v", value)])])]);
        assert_eq!(only(&found, "calls"), [(expected, 1.0)]);
    }
}

#[test]
fn calls_and_durations_can_have_dimensions_of_their_own() {
    let config = r#"{"calls_dimensions":[{"name":"user"}],"histogram":{"dimensions":[{"name":"route"}]}}"#;
    let found = sums(config, &[shop(vec![span("GET", 1_000, vec![text("user", "u"), text("route", "/r")])])]);
    let expected = [
        (format!("calls{{{BASE},user=u}}"), 1.0),
        (format!("duration_milliseconds_bucket{{{BASE},route=/r,le=2}}"), 1.0),
        (format!("duration_milliseconds_sum{{{BASE},route=/r}}"), 1.0),
    ];
    assert_eq!(found, expected.into_iter().collect());
}

#[test]
fn the_histogram_has_the_unit_and_the_buckets_that_are_asked_for() {
    let spans = || shop(vec![span("GET", 250, vec![]), span("GET", 1_500_000, vec![])]);
    let found = sums(r#"{"histogram":{"unit":"s","explicit":{"buckets":["100us","0.5ms","1s"]}}}"#, &[spans()]);
    let expected = [
        (format!("calls{{{BASE}}}"), 2.0),
        (format!("duration_seconds_bucket{{{BASE},le=0.0005}}"), 1.0),
        (format!("duration_seconds_bucket{{{BASE},le=+Inf}}"), 1.0),
        (format!("duration_seconds_sum{{{BASE}}}"), 1.500_25),
    ];
    assert_eq!(found, expected.into_iter().collect());
    let found = sums(r#"{"histogram":{"disable":true}}"#, &[spans()]);
    assert_eq!(found, [(format!("calls{{{BASE}}}"), 2.0)].into_iter().collect());
}

/// Every value goes to the host, which finds the buckets; those that are the same go together.
#[test]
fn an_exponential_histogram_gets_the_values_themselves() {
    let sampled = |state: &str, span: Span| Span { trace_state: state.to_owned(), ..span };
    let spans = vec![
        span("GET", 250, vec![]),
        sampled("ot=th:c", span("GET", 250, vec![])),
        span("PUT", 3_000, vec![]),
        span("GET", 0, vec![]),
    ];
    let put = BASE.replace("GET", "PUT");
    let found = sums(r#"{"histogram":{"exponential":{"max_size":20}}}"#, &[shop(spans)]);
    let expected = [
        (format!("calls{{{BASE}}}"), 6.0),
        (format!("calls{{{put}}}"), 1.0),
        (format!("duration_milliseconds_exponential{{{BASE},le=0.25}}"), 5.0),
        (format!("duration_milliseconds_exponential{{{BASE},le=0}}"), 1.0),
        (format!("duration_milliseconds_exponential{{{put},le=3}}"), 1.0),
        (format!("duration_milliseconds_sum{{{BASE}}}"), 1.25),
        (format!("duration_milliseconds_sum{{{put}}}"), 3.0),
    ];
    assert_eq!(found, expected.into_iter().collect());
    let mut config = r#"{"exemplars":{"enabled":true},"histogram":{"exponential":{}}}"#;
    let found = sums(config, &[shop(vec![span("GET", 250, vec![])])]);
    let exemplars = only(&found, "duration_milliseconds_exemplar");
    let ids = format!("trace_id={},span_id={}", "ab".repeat(16), "cd".repeat(8));
    assert_eq!(exemplars, [(&*format!("duration_milliseconds_exemplar{{{BASE},le=+Inf,{ids}}}"), 0.25)]);
    config = r#"{"histogram":{"exponential":null}}"#;
    assert_eq!(only(&sums(config, &[shop(vec![span("GET", 250, vec![])])]), "duration_milliseconds_bucket").len(), 1);
}

#[test]
fn the_namespace_stands_before_the_names() {
    let names = |config: &str| {
        let mut stage = Stage::<SpanMetrics>::new(config).unwrap();
        stage.process(&shop(vec![span("GET", 1, vec![])])).unwrap();
        stage.recorded().iter().map(|one| one.metric.clone()).collect::<Vec<_>>()
    };
    let with = |prefix: &str| {
        ["calls", "duration_milliseconds_sum", "duration_milliseconds_bucket"].map(|name| format!("{prefix}{name}"))
    };
    assert_eq!(names("{}"), with("traces_span_metrics_"));
    assert_eq!(names(r#"{"namespace":""}"#), with(""));
    assert_eq!(names(r#"{"namespace":"my.shop"}"#), with("my_shop_"));
}

#[test]
fn spans_count_as_many_times_as_their_threshold_says() {
    let state = |trace_state: &str, micros| Span { trace_state: trace_state.to_owned(), ..span("GET", micros, vec![]) };
    // OTEP 235: th:8 is one in two, th:c one in four. What cannot be read stands for itself.
    let spans = vec![state("ot=th:8", 1_000), state("a=b,ot=th:c", 3_000), state("", 5_000), state("ot=th:zz", 7_000)];
    let found = sums("{}", &[shop(spans)]);
    assert_eq!(only(&found, "calls")[0].1, 8.0);
    assert_eq!(only(&found, "duration_milliseconds_sum")[0].1, 2.0 + 12.0 + 5.0 + 7.0);
    let buckets: Vec<f64> = only(&found, "duration_milliseconds_bucket").iter().map(|(_, count)| *count).collect();
    assert_eq!(buckets, [2.0, 4.0, 1.0, 1.0], "up to 2, 4, 6 and 8 ms");
}

#[test]
fn events_are_counted_by_their_attributes() {
    let event = |kind: &str| Event {
        name: "exception".to_owned(),
        attributes: vec![text("exception.type", kind)],
        ..Event::default()
    };
    let with_events = Span {
        events: vec![event("A"), event("B"), event("A")],
        trace_state: "ot=th:8".to_owned(),
        ..span("GET", 1, vec![])
    };
    let config =
        r#"{"events":{"enabled":true,"dimensions":[{"name":"exception.type"}]},"dimensions":[{"name":"region"}]}"#;
    let found = sums(config, &[shop(vec![with_events, span("GET", 1, vec![])])]);
    let expected = [
        (format!("events{{{BASE},region=eu,exception_type=A}}"), 4.0),
        (format!("events{{{BASE},region=eu,exception_type=B}}"), 2.0),
    ];
    let expected: Vec<_> = expected.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    assert_eq!(only(&found, "events"), expected);
    assert_eq!(only(&found, "calls"), [(&*format!("calls{{{BASE},region=eu}}"), 3.0)]);
    let off = sums(
        r#"{"events":{"enabled":false}}"#,
        &[shop(vec![Span { events: vec![event("A")], ..span("GET", 1, vec![]) }])],
    );
    assert!(only(&off, "events").is_empty());
}

#[test]
fn exemplars_are_the_last_spans_of_their_buckets() {
    let mut last = span("GET", 1_000, vec![]);
    last.span_id = vec![0x01; 8];
    let found = sums(
        r#"{"exemplars":{"enabled":true}}"#,
        &[shop(vec![span("GET", 1_500, vec![]), span("GET", 9_000, vec![]), last])],
    );
    let trace = "ab".repeat(16);
    let ids = |span: &str| format!("trace_id={trace},span_id={}", span.repeat(8));
    let expected = [
        (format!("duration_milliseconds_exemplar{{{BASE},le=10,{}}}", ids("cd")), 9.0),
        (format!("duration_milliseconds_exemplar{{{BASE},le=2,{}}}", ids("01")), 1.0),
    ];
    let expected: Vec<_> = expected.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    assert_eq!(only(&found, "duration_milliseconds_exemplar"), expected);
    assert_eq!(only(&found, "calls_exemplar"), [(&*format!("calls_exemplar{{{BASE},{}}}", ids("cd")), 9.0)]);
    // A span without a trace is counted and no exemplar; without the key there are none.
    let found = sums(
        r#"{"exemplars":{"enabled":true}}"#,
        &[shop(vec![Span { trace_id: vec![0; 16], ..span("GET", 1, vec![]) }])],
    );
    assert_eq!((found.len(), only(&found, "calls").len()), (3, 1), "{found:?}");
}

#[test]
fn scopes_that_are_asked_for_are_told_apart() {
    let config = r#"{"include_instrumentation_scope":["lib"]}"#;
    let found = sums(config, &[shop(vec![span("GET", 1, vec![])])]);
    let labels = format!("calls{{{BASE},span_instrumentation_scope_name=lib,span_instrumentation_scope_version=1.2}}");
    assert_eq!(only(&found, "calls"), [(&*labels, 1.0)]);
    let found = sums(r#"{"include_instrumentation_scope":["other"]}"#, &[shop(vec![span("GET", 1, vec![])])]);
    assert_eq!(only(&found, "calls"), [(&*format!("calls{{{BASE}}}"), 1.0)]);
}

#[test]
fn a_service_without_a_name_is_counted_without_one() {
    let found = sums("{}", &[request(vec![of(vec![], vec![span("GET", 1, vec![])])])]);
    let labels = BASE.replace("service_name=shop,", "");
    assert_eq!(only(&found, "calls"), [(&*format!("calls{{{labels}}}"), 1.0)]);
}

#[test]
fn long_values_are_cut_within_no_character() {
    let name = format!("{}ß-and-more", "x".repeat(255));
    let found = sums("{}", &[shop(vec![span(&name, 1, vec![])])]);
    let cut = BASE.replace("=GET", &format!("={}", "x".repeat(255)));
    assert_eq!(only(&found, "calls"), [(&*format!("calls{{{cut}}}"), 1.0)]);
}

#[test]
fn a_request_that_is_refused_counts_nothing() {
    let mut stage = Stage::<SpanMetrics>::new("{}").unwrap();
    let wire = shop(vec![span("GET", 1, vec![])]);
    stage.process_refused(&wire).unwrap();
    assert!(stage.recorded().is_empty());
    stage.process(&wire).unwrap();
    assert_eq!(only(&collect(&stage), "calls")[0].1, 1.0);
}

#[test]
fn only_what_the_labels_need_is_asked_for() {
    let access = |config: &str| Stage::<SpanMetrics>::new(config).unwrap().process(b"").unwrap().access;
    let few = access("{}");
    assert_eq!(few.read, ["resources.attributes:service.name", "spans.name", "spans.trace_state"]);
    let more = access(r#"{"dimensions":[{"name":"region"}],"exemplars":{"enabled":true}}"#);
    assert_eq!(more.read[3..], ["spans.attributes:region", "resources.attributes:region", "spans.ids"]);
    assert!(few.write.is_empty() && more.write.is_empty());
}

#[test]
fn keys_without_an_effect_are_taken() {
    let config = r#"{"metrics_flush_interval":"15s","dimensions_cache_size":1000,"resource_metrics_cache_size":1000,
        "resource_metrics_key_attributes":["service.name"],"metric_timestamp_cache_size":1000,
        "aggregation_temporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","aggregation_cardinality_limit":10,
        "metrics_expiration":"5m","series_expiration":"5m","exemplars":{"max_per_data_point":3},"add_resource_attributes":false}"#;
    let wire = shop(vec![span("GET", 1, vec![])]);
    assert_eq!(sums(config, std::slice::from_ref(&wire)), sums("{}", &[wire]));
}

#[test]
fn what_is_wrong_or_not_supported_is_refused_by_name() {
    let cases = [
        (r#"{"histogram":{"exponential":{"max_size":1}}}"#, "histogram.exponential.max_size", "between 2 and 500"),
        (r#"{"histogram":{"exponential":{"max_size":501}}}"#, "histogram.exponential.max_size", "between 2 and 500"),
        (r#"{"histogram":{"exponential":{"scale":3}}}"#, "histogram.exponential.scale", "unknown field"),
        (r#"{"histogram":{"exponential":{},"explicit":{}}}"#, "histogram", "use either"),
        (
            r#"{"aggregation_temporality":"AGGREGATION_TEMPORALITY_DELTA"}"#,
            "aggregation_temporality",
            "not supported yet",
        ),
        (r#"{"aggregation_temporality":"x"}"#, "aggregation_temporality", "must be"),
        (r#"{"add_resource_attributes":true}"#, "add_resource_attributes", "not supported yet"),
        (r#"{"enable_metrics_sampling_method":true}"#, "enable_metrics_sampling_method", "not supported yet"),
        (r#"{"exclude_dimensions":["http.method"]}"#, "exclude_dimensions[0]", "`http.method` cannot be excluded"),
        (r#"{"histogram":{"explicit":{"buckets":["2ms","1ms"]}}}"#, "histogram.explicit.buckets[1]", "ascend"),
        (r#"{"histogram":{"explicit":{"buckets":["2"]}}}"#, "histogram.explicit.buckets[0]", "`2` is no duration"),
        (r#"{"histogram":{"unit":"h"}}"#, "histogram.unit", "unknown variant"),
        (r#"{"dimensions":[{"name":"span.name"}]}"#, "dimensions[0].name", "another dimension `span.name`"),
        (r#"{"dimensions":[{"name":"a.b"},{"name":"a_b"}]}"#, "dimensions[1].name", "the label `a_b`"),
        (r#"{"dimensions":[{"name":""}]}"#, "dimensions[0].name", "needs a name"),
        (r#"{"histogram":{"dimensions":[{"name":"le"}]}}"#, "histogram.dimensions[0].name", "a meaning of its own"),
        (r#"{"dimensions":[{"glob":"http.*"}]}"#, "dimensions[0].glob", "unknown field `glob`"),
        (r#"{"events":{"enabled":true}}"#, "events", "needs `dimensions`"),
        (r#"{"calls_dimension":[]}"#, "calls_dimension", "unknown field"),
    ];
    for (config, path, message) in cases {
        let found = problems(config);
        assert_eq!(found.len(), 1, "{config}: {found:?}");
        assert!(found[0].0 == path && found[0].1.contains(message), "{config}: {found:?}");
    }
    let many: Vec<String> = (0..26).map(|i| format!(r#"{{"name":"d{i}"}}"#)).collect();
    let found = problems(&format!(r#"{{"calls_dimensions":[{}]}}"#, many.join(",")));
    assert_eq!(
        found,
        [("calls_dimensions".to_owned(), "30 labels are more than the 29 that a metric may have".to_owned())]
    );
}
