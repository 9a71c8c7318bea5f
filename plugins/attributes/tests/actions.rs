//! Actions on real batches.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use attributes::Attributes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use sluice_sdk::testing::{Problem, run};

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, Value::StringValue(text.to_owned()))
}

fn request(spans: Vec<Vec<KeyValue>>) -> Vec<u8> {
    let span = |attributes| Span { trace_id: vec![1; 16], span_id: vec![2; 8], attributes, ..Span::default() };
    let spans = spans.into_iter().map(span).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// The attributes of each span after the actions.
fn after(actions: &str, spans: Vec<Vec<KeyValue>>) -> Vec<Vec<KeyValue>> {
    let outcome = run::<Attributes>(&format!(r#"{{"actions": [{actions}]}}"#), &request(spans)).expect("it acts");
    let request = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).map(|span| span.attributes).collect()
}

fn two() -> Vec<Vec<KeyValue>> {
    vec![vec![text("a", "old"), text("b", "B")], vec![text("b", "C")]]
}

#[test]
fn insert_adds_where_it_is_missing() {
    let expected = vec![vec![text("a", "old"), text("b", "B")], vec![text("b", "C"), text("a", "new")]];
    assert_eq!(after(r#"{"key": "a", "action": "insert", "value": "new"}"#, two()), expected);
}

#[test]
fn update_changes_where_it_is() {
    let expected = vec![vec![text("a", "new"), text("b", "B")], vec![text("b", "C")]];
    assert_eq!(after(r#"{"key": "a", "action": "update", "value": "new"}"#, two()), expected);
}

#[test]
fn upsert_sets_everywhere_and_delete_removes_everywhere() {
    let expected = vec![vec![text("a", "new")], vec![text("a", "new")]];
    let actions = r#"{"key": "a", "action": "upsert", "value": "new"}, {"key": "b", "action": "delete"}"#;
    assert_eq!(after(actions, two()), expected);
}

#[test]
fn values_come_from_other_attributes_if_these_are_there() {
    let expected = vec![vec![text("a", "old"), text("b", "B"), text("c", "old")], vec![text("b", "C")]];
    assert_eq!(after(r#"{"key": "c", "action": "upsert", "from_attribute": "a"}"#, two()), expected);
}

#[test]
fn constants_keep_their_types() {
    let cases = [("1", Value::IntValue(1)), ("1.5", Value::DoubleValue(1.5)), ("true", Value::BoolValue(true))];
    for (json, value) in cases {
        let actions = format!(r#"{{"key": "k", "action": "insert", "value": {json}}}"#);
        assert_eq!(after(&actions, vec![vec![]]), [vec![attribute("k", value)]]);
    }
}

/// The order of actions is that of the configuration, as in the Collector.
#[test]
fn later_actions_see_what_earlier_ones_did() {
    let value = |key: &str, action: &str, value: &str| {
        format!(r#"{{"key": "{key}", "action": "{action}", "value": "{value}"}}"#)
    };
    let from = |key: &str, action: &str, from: &str| {
        format!(r#"{{"key": "{key}", "action": "{action}", "from_attribute": "{from}"}}"#)
    };
    let delete = |key: &str| format!(r#"{{"key": "{key}", "action": "delete"}}"#);
    let cases = [
        (vec![delete("a"), value("a", "insert", "x")], vec![text("a", "x")]),
        (vec![value("n", "upsert", "1"), value("n", "insert", "2")], vec![text("a", "old"), text("n", "1")]),
        (vec![value("n", "insert", "1"), value("n", "update", "2")], vec![text("a", "old"), text("n", "2")]),
        (vec![value("a", "update", "x"), from("c", "insert", "a")], vec![text("a", "x"), text("c", "x")]),
        (vec![from("c", "insert", "a"), delete("a"), from("d", "insert", "a")], vec![text("c", "old")]),
        (
            vec![from("c", "insert", "a"), from("d", "insert", "c")],
            vec![text("a", "old"), text("c", "old"), text("d", "old")],
        ),
    ];
    for (actions, expected) in cases {
        let actions = actions.join(", ");
        let mut got = after(&actions, vec![vec![text("a", "old")]]).remove(0);
        got.sort_by(|left, right| left.key.cmp(&right.key));
        assert_eq!(got, expected, "{actions}");
    }
}

#[test]
fn a_key_that_occurs_twice_is_set_once_and_deleted_whole() {
    let twice = || vec![vec![text("a", "1"), text("a", "2")]];
    assert_eq!(after(r#"{"key": "a", "action": "upsert", "value": "x"}"#, twice()), [vec![text("a", "x")]]);
    assert_eq!(after(r#"{"key": "a", "action": "delete"}"#, twice()), [vec![]]);
}

#[test]
fn only_what_the_actions_need_is_asked_for() {
    let config = r#"{"actions": [{"key": "u", "action": "upsert", "value": 1}, {"key": "i", "action": "insert", "from_attribute": "f"}, {"key": "d", "action": "delete"}]}"#;
    let access = run::<Attributes>(config, b"").unwrap().access;
    assert_eq!(access.read, ["spans.attributes:f", "spans.attributes:i"]);
    assert_eq!(access.write, ["spans.attributes:u", "spans.attributes:i", "spans.attributes:d"]);
}

#[test]
fn bad_configurations_are_refused_with_their_path() {
    let cases = [
        (r#"{"actions": []}"#, "actions", "at least one"),
        (r#"{"actions": [{"action": "delete"}]}"#, "actions[0].key", "a key is needed"),
        (r#"{"actions": [{"key": "a", "action": "hash"}]}"#, "actions[0].action", "`hash` is not supported yet"),
        (r#"{"actions": [{"key": "a", "action": "set"}]}"#, "actions[0].action", "unknown action `set`"),
        (r#"{"actions": [{"key": "a", "action": "insert"}]}"#, "actions[0]", "either `value` or"),
        (r#"{"actions": [{"key": "a", "action": "insert", "value": []}]}"#, "actions[0].value", "must be a string"),
        (
            r#"{"actions": [{"key": "a", "action": "insert", "from_context": "x"}]}"#,
            "actions[0].from_context",
            "not supported",
        ),
        (r#"{"actions": [{"key": "a", "action": "insert", "vale": 1}]}"#, "actions[0].vale", "unknown field `vale`"),
        (r#"{"actions": [{"key": "a", "action": "delete"}], "include": {}}"#, "include", "not supported yet"),
    ];
    for (config, path, message) in cases {
        let result = run::<Attributes>(config, b"");
        let Err(Problem::Config(errors)) = result else { unreachable!("{config}: {result:?}") };
        assert_eq!(errors[0].path, path, "{config}");
        assert!(errors[0].message.contains(message), "{config}: {}", errors[0].message);
    }
}
