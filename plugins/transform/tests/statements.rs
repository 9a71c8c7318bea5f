//! Each function and key of the processor. What is expected is what OTTL's documentation says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use sluice_sdk::testing::{Problem, run};
use transform::Transform;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, Value::StringValue(text.to_owned()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn span(name: &str, attributes: Vec<KeyValue>) -> Span {
    Span { trace_id: vec![1; 16], span_id: vec![2; 8], name: name.to_owned(), kind: 2, attributes, ..Span::default() }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource { attributes: vec![text("service.name", "shop")], ..Resource::default() };
    let scope = InstrumentationScope { name: "http".to_owned(), ..InstrumentationScope::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

/// A request after statements, one a line.
fn transformed(statements: &[&str], spans: Vec<Span>) -> ResourceSpans {
    let list = sluice_sdk::serde_json::to_string(statements).unwrap();
    let config = format!(r#"{{"trace_statements": {list}, "error_mode": "propagate"}}"#);
    let outcome = run::<Transform>(&config, &request(spans).encode_to_vec()).expect("it works");
    ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap().resource_spans.remove(0)
}

fn spans(statements: &[&str], before: Vec<Span>) -> Vec<Span> {
    transformed(statements, before).scope_spans.remove(0).spans
}

/// The attributes of a span after statements, in the order of their keys.
fn after(statements: &[&str], attributes: Vec<KeyValue>) -> Vec<KeyValue> {
    let mut attributes = spans(statements, vec![span("a", attributes)]).remove(0).attributes;
    attributes.sort_by(|left, right| left.key.cmp(&right.key));
    attributes
}

#[test]
fn set_sets_attributes_of_every_type() {
    let list = attribute(
        "x",
        Value::ArrayValue(ArrayValue {
            values: vec![
                AnyValue { value: Some(Value::StringValue("a".to_owned())) },
                AnyValue { value: Some(Value::IntValue(-2)) },
                AnyValue { value: Some(Value::DoubleValue(0.5)) },
                AnyValue { value: Some(Value::BoolValue(true)) },
            ],
        }),
    );
    let cases = [
        ("\"b\"", text("x", "b")),
        ("-7", int("x", -7)),
        ("1.5", attribute("x", Value::DoubleValue(1.5))),
        ("true", attribute("x", Value::BoolValue(true))),
        ("0xff00", attribute("x", Value::BytesValue(vec![255, 0]))),
        ("[\"a\", -2, 0.5, true]", list),
        ("Concat([span.name, \"b\"], \"-\")", text("x", "a-b")),
        ("resource.attributes[\"service.name\"]", text("x", "shop")),
    ];
    for (value, expected) in cases {
        let statement = format!("set(span.attributes[\"x\"], {value})");
        for before in [vec![], vec![text("x", "old")]] {
            assert_eq!(after(&[&statement], before), std::slice::from_ref(&expected), "{value}");
        }
    }
}

#[test]
fn set_to_nothing_sets_nothing() {
    let statement = "set(span.attributes[\"x\"], span.attributes[\"missing\"])";
    assert_eq!(after(&[statement], vec![text("x", "old")]), [text("x", "old")]);
    assert_eq!(after(&[statement], vec![]), []);
}

#[test]
fn set_sets_names_and_statuses() {
    let statements = [
        r#"set(span.name, Concat([span.name, span.attributes["route"]], " ")) where span.attributes["route"] != nil"#,
        "set(span.status.code, STATUS_CODE_ERROR) where span.attributes[\"code\"] >= 500",
        r#"set(span.status.message, "failed") where span.status.code == STATUS_CODE_ERROR"#,
        "set(span.kind, SPAN_KIND_CLIENT)",
        r#"set(scope.name, "https")"#,
    ];
    let out =
        transformed(&statements, vec![span("GET", vec![text("route", "/pay"), int("code", 503)]), span("b", vec![])]);
    let scope = &out.scope_spans[0];
    assert_eq!(scope.scope.as_ref().unwrap().name, "https");
    let status = Some(Status { code: 2, message: "failed".to_owned() });
    assert_eq!(
        (&scope.spans[0].name, &scope.spans[0].status, scope.spans[0].kind),
        (&"GET /pay".to_owned(), &status, 3)
    );
    assert_eq!((&scope.spans[1].name, &scope.spans[1].status, scope.spans[1].kind), (&"b".to_owned(), &None, 3));
}

#[test]
fn a_statement_sees_what_those_before_it_did() {
    let statements = [
        r#"set(span.attributes["b"], "1")"#,
        r#"set(span.attributes["c"], Concat([span.attributes["b"], "2"], ""))"#,
        r#"delete_key(span.attributes, "b")"#,
        r#"set(span.attributes["d"], "no") where span.attributes["b"] != nil"#,
        r#"replace_all_patterns(span.attributes, "key", "^c$", "e")"#,
        r#"set(span.attributes["f"], span.attributes["e"])"#,
    ];
    assert_eq!(after(&statements, vec![]), [text("e", "12"), text("f", "12")]);
}

#[test]
fn keys_are_deleted_and_kept() {
    let some = || vec![text("a", "1"), text("http.a", "2"), text("http.b", "3")];
    assert_eq!(after(&[r#"delete_key(span.attributes, "a")"#], some()), [text("http.a", "2"), text("http.b", "3")]);
    assert_eq!(after(&[r#"delete_matching_keys(span.attributes, "^http\\.")"#], some()), [text("a", "1")]);
    assert_eq!(after(&[r#"keep_keys(span.attributes, ["http.b", "x"])"#], some()), [text("http.b", "3")]);
    assert_eq!(after(&["keep_keys(span.attributes, [])"], some()), []);
    // A key that is there twice goes twice.
    let twice = vec![text("a", "1"), text("a", "2")];
    assert_eq!(after(&[r#"delete_key(span.attributes, "a")"#], twice), []);
}

#[test]
fn patterns_are_replaced() {
    let one = |statement: &str, value: &str| after(&[statement], vec![text("x", value), int("n", 41)]).remove(1);
    let statement = r#"replace_pattern(span.attributes["x"], "password=([^&]*)", "password=***")"#;
    assert_eq!(one(statement, "a?password=1&b=2&password=3"), text("x", "a?password=***&b=2&password=***"));
    assert_eq!(one(statement, "none"), text("x", "none"));
    let groups = r#"replace_pattern(span.attributes["x"], "(\\w+)@(?P<host>\\w+)", "$1 at ${host}")"#;
    assert_eq!(one(groups, "me@home"), text("x", "me at home"));
    let names = r#"replace_pattern(span.name, "[0-9]+", "{id}")"#;
    assert_eq!(spans(&[names], vec![span("/a/1/b/22", vec![])])[0].name, "/a/{id}/b/{id}");
    let all = r#"replace_all_patterns(span.attributes, "value", "4[0-9]{3}", "****")"#;
    assert_eq!(after(&[all], vec![text("x", "4111 4222"), int("n", 4111)]), [int("n", 4111), text("x", "**** ****")]);
    let keys = r#"replace_all_patterns(span.attributes, "key", "^kube_([0-9A-Za-z]+_)", "k8s.$1.")"#;
    assert_eq!(
        after(&[keys], vec![text("kube_pod_name", "p"), text("b", "q")]),
        [text("b", "q"), text("k8s.pod_.name", "p")]
    );
}

#[test]
fn what_is_long_or_much_is_cut() {
    let truncate = "truncate_all(span.attributes, 3)";
    assert_eq!(
        after(&[truncate], vec![text("a", "1234"), text("b", "12"), int("n", 12345)]),
        [text("a", "123"), text("b", "12"), int("n", 12345)]
    );
    assert_eq!(after(&[truncate], vec![text("a", "12\u{e9}")]), [text("a", "12")], "a character is not cut");
    let many = || vec![text("a", "1"), text("b", "2"), text("c", "3"), text("d", "4")];
    assert_eq!(after(&[r#"limit(span.attributes, 2, ["d"])"#], many()), [text("a", "1"), text("d", "4")]);
    assert_eq!(after(&["limit(span.attributes, 0, [])"], many()), []);
    assert_eq!(after(&["limit(span.attributes, 4, [])"], many()), many());
}

#[test]
fn contexts_name_what_paths_are_about() {
    let config = r#"{"trace_statements": [
        {"context": "span", "statements": ["set(attributes[\"a\"], resource.attributes[\"service.name\"])", "set(name, \"n\")"]},
        {"context": "spanevent", "statements": ["set(attributes[\"of\"], span.kind) where name == \"e\""]},
        {"context": "scope", "statements": ["set(version, \"2\")"]},
        {"context": "resource", "statements": ["set(attributes[\"region\"], \"eu\")"]}]}"#;
    let events = vec![Event { name: "e".to_owned(), ..Event::default() }, Event::default()];
    let wire = request(vec![Span { events, ..span("old", vec![]) }]).encode_to_vec();
    let outcome = run::<Transform>(config, &wire).expect("it works");
    let out = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap().resource_spans.remove(0);
    assert_eq!(out.resource.unwrap().attributes, [text("service.name", "shop"), text("region", "eu")]);
    assert_eq!(out.scope_spans[0].scope.as_ref().unwrap().version, "2");
    let span = &out.scope_spans[0].spans[0];
    assert_eq!((span.name.as_str(), &span.attributes), ("n", &vec![text("a", "shop")]));
    assert_eq!((&span.events[0].attributes, &span.events[1].attributes), (&vec![int("of", 2)], &vec![]));
}

#[test]
fn tracestates_and_names_of_events_can_be_set() {
    let statements =
        [r#"set(span.trace_state, "a=b")"#, r#"set(spanevent.name, "e2") where span.trace_state == "c=d""#];
    let list = sluice_sdk::serde_json::to_string(&statements).unwrap();
    let Err(Problem::Config(errors)) = run::<Transform>(&format!(r#"{{"trace_statements": {list}}}"#), b"") else {
        unreachable!("the second reads what the first sets")
    };
    assert_eq!(errors[0].path, "trace_statements[1]");
    let events = vec![Event { name: "e".to_owned(), ..Event::default() }];
    let before = || vec![Span { trace_state: "c=d".to_owned(), events: events.clone(), ..span("a", vec![]) }];
    assert_eq!(spans(&statements[..1], before())[0].trace_state, "a=b");
    assert_eq!(spans(&statements[1..], before())[0].events[0].name, "e2");
}

/// OTLP lets an attribute have no value; it is nil here, and still there.
#[test]
fn attributes_without_a_value_are_no_danger() {
    let nothing = |key: &str| KeyValue { key: key.to_owned(), value: None, ..KeyValue::default() };
    let statements = [
        r#"replace_all_patterns(span.attributes, "key", "^a$", "b")"#,
        r#"replace_all_patterns(span.attributes, "value", ".*", "x")"#,
        "truncate_all(span.attributes, 0)",
        r#"replace_pattern(span.attributes["b"], ".*", "x")"#,
        r#"set(span.attributes["c"], 1) where span.attributes["b"] == nil"#,
    ];
    let left = after(&statements, vec![nothing("a"), int("n", 1)]);
    assert_eq!(left.iter().map(|left| left.key.as_str()).collect::<Vec<_>>(), ["b", "c", "n"]);
    assert!(left[0].value.as_ref().is_none_or(|value| value.value.is_none()));
}

#[test]
fn what_nothing_changes_stays_byte_for_byte() {
    let statements = r#"{"trace_statements": [
        "set(span.attributes[\"a\"], \"same\")", "set(span.name, span.name)", "truncate_all(span.attributes, 100)",
        "set(span.attributes[\"b\"], \"x\")", "delete_key(span.attributes, \"b\")"]}"#;
    let wire = request(vec![span("n", vec![text("a", "same"), int("i", 1)])]).encode_to_vec();
    let outcome = run::<Transform>(statements, &wire).unwrap();
    assert_eq!((outcome.edited, outcome.wire), (0, wire));
}

#[test]
fn errors_follow_the_error_mode() {
    let config = |mode: &str| {
        format!(
            r#"{{"error_mode": "{mode}", "trace_statements": [
                "set(span.name, 7) where span.name == \"a\"", "set(span.attributes[\"x\"], 1)"]}}"#
        )
    };
    let wire = request(vec![span("a", vec![]), span("b", vec![])]).encode_to_vec();
    for mode in ["ignore", "silent"] {
        assert_eq!(run::<Transform>(&config(mode), &wire).unwrap().edited, 2, "{mode}");
    }
    let Err(Problem::Failed(failure)) = run::<Transform>(&config("propagate"), &wire) else { unreachable!("it fails") };
    assert!(
        failure.message.contains("set(span.name, 7)") && failure.message.contains("expected a string"),
        "{failure:?}"
    );
}

#[test]
fn it_asks_for_what_it_needs_only() {
    let config =
        r#"{"trace_statements": ["set(span.attributes[\"a\"], span.attributes[\"b\"])", "set(span.status.code, 1)"]}"#;
    let access = run::<Transform>(config, b"").unwrap().access;
    let mut read = access.read;
    read.sort_unstable();
    read.dedup();
    assert_eq!(read, ["spans.attributes:a", "spans.attributes:b"]);
    assert_eq!(access.write, ["spans.attributes:a", "spans.status_code"]);
}

#[test]
fn bad_configurations_are_refused_with_their_path() {
    let one = |statement: &str| format!(r#"{{"trace_statements": [{}]}}"#, sluice_sdk::serde_json::json!(statement));
    let first = "trace_statements[0]";
    let cases = [
        ("{}".to_owned(), "trace_statements", "no statement"),
        (r#"{"metric_statements": []}"#.to_owned(), "metric_statements", "only spans"),
        (r#"{"log_statements": []}"#.to_owned(), "log_statements", "only spans"),
        (r#"{"profile_statements": []}"#.to_owned(), "profile_statements", "only spans"),
        (r#"{"flatten_data": true}"#.to_owned(), "flatten_data", "about logs"),
        (r#"{"statements": []}"#.to_owned(), "statements", "unknown field"),
        (one("merge_maps(span.attributes, resource.attributes, \"insert\")"), first, "`merge_maps` is not supported yet"),
        (one("set(attributes[\"a\"], 1)"), first, "must begin with its context"),
        (one("set(span.start_time_unix_nano, 1)"), first, "setting this path is not supported yet"),
        (one("set(span.attributes[\"a\"][\"b\"], 1)"), first, "setting this path is not supported yet"),
        (one("set(span.name, \"a\") if true"), first, "expected `where` or the end"),
        (one("set(span.name)"), first, "expected `,`"),
        (one("set(resource.attributes[\"a\"], span.name)"), first, "above what it reads"),
        (one("replace_pattern(span.name, \"(\", \"\")"), first, "the pattern is not valid"),
        (one("replace_pattern(span.name, \"a\", \"b\", SHA256)"), first, "further arguments"),
        (one("replace_all_patterns(span.attributes, \"both\", \"a\", \"b\")"), first, "\"key\" or \"value\""),
        (one("limit(span.attributes, 1, [\"a\", \"b\"])"), first, "more than the limit"),
        (one("limit(span.attributes, -1, [])"), first, "integer from 0"),
        (one("keep_keys(span.name, [])"), first, "other maps are not supported yet"),
        (one("name"), first, "expected `(`"),
        (
            r#"{"trace_statements": [{"context": "log", "statements": []}]}"#.to_owned(),
            "trace_statements[0].context",
            "unknown context `log`",
        ),
        (
            r#"{"trace_statements": [{"conditions": ["true"], "statements": ["set(span.name, \"a\")"]}]}"#.to_owned(),
            "trace_statements[0].conditions",
            "not supported yet",
        ),
        (
            r#"{"trace_statements": ["set(resource.attributes[\"a\"], 1)", "set(span.name, resource.attributes[\"a\"])"]}"#
                .to_owned(),
            "trace_statements[1]",
            "of another context",
        ),
    ];
    for (config, path, message) in cases {
        let Err(Problem::Config(errors)) = run::<Transform>(&config, b"") else { unreachable!("{config} is refused") };
        assert_eq!(errors[0].path, path, "{config}");
        assert!(errors[0].message.contains(message), "{config}: {}", errors[0].message);
    }
}
