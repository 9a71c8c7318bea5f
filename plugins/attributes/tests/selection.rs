//! Which spans actions are for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use attributes::Attributes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use sluice_sdk::testing::run;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, Value::StringValue(text.to_owned()))
}

fn span(name: &str, kind: i32, attributes: Vec<KeyValue>) -> Span {
    Span { name: name.to_owned(), kind, trace_id: vec![1; 16], span_id: vec![2; 8], attributes, ..Span::default() }
}

fn of(resource: Vec<KeyValue>, library: &str, version: &str, spans: Vec<Span>) -> ResourceSpans {
    let scope = InstrumentationScope { name: library.to_owned(), version: version.to_owned(), ..Default::default() };
    ResourceSpans {
        resource: Some(Resource { attributes: resource, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

/// Two spans of the shop, one of the bank, one of nobody.
fn request() -> Vec<u8> {
    let shop = vec![text("service.name", "shop"), text("host.name", "edge-1"), attribute("cpus", Value::IntValue(4))];
    let a = span("a", 2, vec![text("env", "dev"), attribute("status", Value::IntValue(200))]);
    let b = span("b", 3, vec![text("env", "prod"), attribute("status", Value::IntValue(404))]);
    let resource_spans = vec![
        of(shop, "http", "1.0", vec![a, b]),
        of(
            vec![text("service.name", "bank")],
            "http",
            "",
            vec![span("c", 2, vec![attribute("ok", Value::BoolValue(true))])],
        ),
        of(vec![], "sql", "2.1", vec![span("ab", 99, vec![attribute("ratio", Value::DoubleValue(0.5))])]),
    ];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// The names of the spans that actions with these keys are for.
fn chosen(keys: &str) -> Vec<String> {
    let config = format!(r#"{{{keys}, "actions": [{{"key": "mark", "action": "upsert", "value": true}}]}}"#);
    let outcome = run::<Attributes>(&config, &request()).expect("it acts");
    let request = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let spans = scopes.flat_map(|scope| scope.spans);
    spans.filter(|span| span.attributes.iter().any(|attribute| attribute.key == "mark")).map(|span| span.name).collect()
}

#[test]
fn each_property_chooses_spans() {
    let cases: [(&str, &str, &[&str]); 23] = [
        ("strict", r#""services": ["shop"]"#, &["a", "b"]),
        ("strict", r#""services": ["bank", "other"]"#, &["c"]),
        ("regexp", r#""services": ["^.a"]"#, &["c"]),
        // What the Collector compares with where there is no name.
        ("regexp", r#""services": ["nil-service"]"#, &["ab"]),
        ("strict", r#""span_names": ["a", "c"]"#, &["a", "c"]),
        ("regexp", r#""span_names": ["a"]"#, &["a", "ab"]),
        ("regexp", r#""span_names": ["^a$", "^c$"]"#, &["a", "c"]),
        ("strict", r#""span_kinds": ["SPAN_KIND_SERVER"]"#, &["a", "c"]),
        ("regexp", r#""span_kinds": ["CLIENT$"]"#, &["b"]),
        ("strict", r#""attributes": [{"key": "env"}]"#, &["a", "b"]),
        ("strict", r#""attributes": [{"key": "env", "value": "dev"}]"#, &["a"]),
        ("strict", r#""attributes": [{"key": "env"}, {"key": "status", "value": 404}]"#, &["b"]),
        ("strict", r#""attributes": [{"key": "status", "value": "404"}]"#, &[]),
        ("strict", r#""attributes": [{"key": "ok", "value": true}]"#, &["c"]),
        ("strict", r#""attributes": [{"key": "ratio", "value": 0.5}]"#, &["ab"]),
        ("regexp", r#""attributes": [{"key": "status", "value": "^4"}]"#, &["b"]),
        ("regexp", r#""attributes": [{"key": "ok", "value": "^true$"}]"#, &["c"]),
        ("regexp", r#""attributes": [{"key": "ratio", "value": "^0\\.5$"}]"#, &["ab"]),
        ("strict", r#""resources": [{"key": "host.name"}, {"key": "cpus", "value": 4}]"#, &["a", "b"]),
        ("strict", r#""libraries": [{"name": "http"}]"#, &["a", "b", "c"]),
        ("strict", r#""libraries": [{"name": "http", "version": ""}]"#, &["c"]),
        (
            "regexp",
            r#""libraries": [{"name": "h|s", "version": "^[12]"}], "regexp": {"cacheenabled": true}"#,
            &["a", "b", "ab"],
        ),
        // All properties together.
        ("strict", r#""services": ["shop"], "span_kinds": ["SPAN_KIND_SERVER"]"#, &["a"]),
    ];
    for (how, properties, names) in cases {
        let keys = format!(r#""include": {{"match_type": "{how}", {properties}}}"#);
        assert_eq!(chosen(&keys), *names, "{keys}");
        // What `include` takes `exclude` leaves.
        let rest: Vec<_> = ["a", "b", "c", "ab"].into_iter().filter(|name| !names.contains(name)).collect();
        assert_eq!(chosen(&keys.replace("include", "exclude")), rest, "exclude: {keys}");
    }
}

#[test]
fn what_is_included_can_be_excluded() {
    let keys = r#""include": {"match_type": "regexp", "span_names": ["[ab]"]}, "exclude": {"match_type": "strict", "services": ["shop"], "span_names": ["a"]}"#;
    assert_eq!(chosen(keys), ["b", "ab"]);
}

/// Actions of all kinds leave the other spans as they were.
#[test]
fn spans_that_are_not_chosen_stay_as_they_were() {
    let actions = [
        r#"{"key": "env", "action": "delete"}"#,
        r#"{"pattern": "e", "action": "delete"}"#,
        r#"{"key": "env", "action": "update", "value": "x"}"#,
        r#"{"key": "new", "action": "insert", "value": "x"}"#,
        r#"{"key": "new", "action": "upsert", "from_attribute": "env"}"#,
        r#"{"pattern": ".", "action": "hash"}"#,
        r#"{"key": "status", "action": "convert", "converted_type": "string"}"#,
        r#"{"key": "env", "action": "extract", "pattern": "(?P<first>.)"}"#,
    ];
    let spans = |wire: &[u8]| -> Vec<Span> {
        let request = ExportTraceServiceRequest::decode(wire).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    };
    let before = spans(&request());
    for action in actions {
        let config =
            format!(r#"{{"include": {{"match_type": "strict", "span_names": ["a"]}}, "actions": [{action}]}}"#);
        let after = spans(&run::<Attributes>(&config, &request()).unwrap().wire);
        assert_ne!(after[0], before[0], "{action}");
        assert_eq!(after[1..], before[1..], "{action}");
    }
}

#[test]
fn only_what_the_choice_needs_is_asked_for() {
    let config = r#"{"include": {"match_type": "strict", "services": ["shop"], "libraries": [{"name": "x"}], "attributes": [{"key": "env"}]}, "exclude": {"match_type": "strict", "span_names": ["x"], "resources": [{"key": "r"}]}, "actions": [{"key": "k", "action": "upsert", "value": 1}]}"#;
    let access = run::<Attributes>(config, b"").unwrap().access;
    let expected = [
        "resources.attributes:r",
        "resources.attributes:service.name",
        "scopes.name",
        "spans.attributes:env",
        "spans.name",
    ];
    assert_eq!(access.read, expected);
    assert_eq!(access.write, ["spans.attributes:k"]);
}
