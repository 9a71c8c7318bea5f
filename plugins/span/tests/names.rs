//! Each key of the Collector's processor. Expected names are those of its documentation, or follow from it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use sluice_sdk::testing::{Problem, run};
use span::SpanProcessor;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, Value::StringValue(text.to_owned()))
}

fn span(name: &str, attributes: Vec<KeyValue>) -> Span {
    Span { trace_id: vec![1; 16], span_id: vec![2; 8], name: name.to_owned(), attributes, ..Span::default() }
}

/// Spans of the service `banks`, after the processor.
fn after(config: &str, spans: Vec<Span>) -> Vec<Span> {
    let resource = Resource { attributes: vec![text("service.name", "banks")], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    let wire = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let outcome = run::<SpanProcessor>(config, &wire).expect("it works");
    let request = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn name_after(config: &str, span: Span) -> String {
    after(config, vec![span]).remove(0).name
}

/// The example of the Collector's documentation.
#[test]
fn a_name_is_made_of_attributes() {
    let config = r#"{"name": {"from_attributes": ["db.svc", "operation"], "separator": "::"}}"#;
    let both = vec![text("operation", "get"), text("db.svc", "location")];
    assert_eq!(name_after(config, span("old", both.clone())), "location::get");
    assert_eq!(name_after(&config.replace("::", ""), span("old", both)), "locationget");
    assert_eq!(name_after(config, span("old", vec![text("db.svc", "location")])), "old", "one is missing");
    assert_eq!(name_after(config, span("old", vec![])), "old");
}

#[test]
fn values_of_every_type_become_text() {
    let config = r#"{"name": {"from_attributes": ["v"]}}"#;
    let array = Value::ArrayValue(ArrayValue::default());
    let cases = [
        (Value::StringValue(String::new()), ""),
        (Value::BoolValue(true), "true"),
        (Value::IntValue(-7), "-7"),
        (Value::DoubleValue(0.1), "0.1"),
        (Value::DoubleValue(1e21), "1000000000000000000000"),
        (Value::DoubleValue(f64::NEG_INFINITY), "-Inf"),
        (array, "<unknown-attribute-type>"),
        (Value::BytesValue(vec![1]), "<unknown-attribute-type>"),
    ];
    for (value, expected) in cases {
        assert_eq!(name_after(config, span("old", vec![attribute("v", value.clone())])), expected, "{value:?}");
    }
}

/// The example of the Collector's documentation.
#[test]
fn attributes_are_found_in_names() {
    let rule = r"^\\/api\\/v1\\/document\\/(?P<documentId>.*)\\/update$";
    let config = format!(r#"{{"name": {{"to_attributes": {{"rules": ["{rule}"]}}}}}}"#);
    let name = "/api/v1/document/12345678/update";
    let spans = after(&config, vec![span(name, vec![]), span("/api/v1/document/1", vec![]), span("", vec![])]);
    assert_eq!(spans[0], span("/api/v1/document/{documentId}/update", vec![text("documentId", "12345678")]));
    assert_eq!(spans[1], span("/api/v1/document/1", vec![]), "it does not match");
    assert_eq!(spans[2], span("", vec![]));
    // What is there already is overwritten.
    let there = after(&config, vec![span(name, vec![text("documentId", "old"), text("a", "b")])]).remove(0);
    assert!(there.attributes.contains(&text("documentId", "12345678")) && there.attributes.len() == 2);
}

#[test]
fn each_rule_works_on_what_the_one_before_has_left() {
    let rules = r#""rules": ["(?P<id>[0-9]+)", "\\{id\\}/(?P<verb>[a-z]+)$", "nothing"]"#;
    let config = |more: &str| format!(r#"{{"name": {{"to_attributes": {{{rules}{more}}}}}}}"#);
    let both = |name: &str| span(name, vec![text("id", "42"), text("verb", "pay")]);
    assert_eq!(after(&config(""), vec![span("/cart/42/pay", vec![])]), [both("/cart/{id}/{verb}")]);
}

#[test]
fn the_first_match_can_be_the_last() {
    let rules = r#""rules": ["^/x", "(?P<id>[0-9]+)", "(?P<verb>[a-z]+)$"], "break_after_match": true"#;
    let config = format!(r#"{{"name": {{"to_attributes": {{{rules}}}}}}}"#);
    assert_eq!(after(&config, vec![span("/7/pay", vec![])]), [span("/{id}/pay", vec![text("id", "7")])]);
    // A rule without groups matches as well.
    assert_eq!(after(&config, vec![span("/x/7/pay", vec![])]), [span("/x/7/pay", vec![])]);
}

#[test]
fn the_name_can_stay() {
    let rules = r#""rules": ["(?P<id>[0-9]+)", "(?P<verb>[a-z]+)$"], "keep_original_name": true"#;
    let config = format!(r#"{{"name": {{"to_attributes": {{{rules}}}}}}}"#);
    let expected = span("/7/pay", vec![text("id", "7"), text("verb", "pay")]);
    assert_eq!(after(&config, vec![span("/7/pay", vec![])]), [expected]);
}

#[test]
fn names_come_first_then_attributes() {
    let config = r#"{"name": {"from_attributes": ["path"], "to_attributes": {"rules": ["(?P<id>[0-9]+)"]}}}"#;
    let expected = span("/cart/{id}", vec![text("path", "/cart/5"), text("id", "5")]);
    assert_eq!(after(config, vec![span("GET", vec![text("path", "/cart/5")])]), [expected]);
}

/// The Collector fails on both.
#[test]
fn groups_that_match_nothing_or_lie_within_others_are_no_danger() {
    let config = |rule: &str| format!(r#"{{"name": {{"to_attributes": {{"rules": ["{rule}"]}}}}}}"#);
    let optional = config("^a(?P<b>b)?(?P<c>c)");
    assert_eq!(after(&optional, vec![span("ac!", vec![])]), [span("a{c}!", vec![text("c", "c")])]);
    let nested = config("(?P<all>[a-z]+/(?P<id>[0-9]+))");
    let expected = span("{all}!", vec![text("all", "cart/7"), text("id", "7")]);
    assert_eq!(after(&nested, vec![span("cart/7!", vec![])]), [expected]);
    // Empty groups, and characters of several bytes.
    let empty = config("(?P<e>)\u{e9}(?P<x>.)");
    let expected = span("{e}\u{e9}{x}", vec![text("e", ""), text("x", "\u{df}")]);
    assert_eq!(after(&empty, vec![span("\u{e9}\u{df}", vec![])]), [expected]);
}

#[test]
fn the_status_is_set() {
    let failed = Status { code: 2, message: "was wrong".to_owned() };
    let cases = [
        (r#"{"status": {"code": "Ok"}}"#, 1, ""),
        (r#"{"status": {"code": "Unset"}}"#, 0, ""),
        (r#"{"status": {"code": "Error", "description": "by rule"}}"#, 2, "by rule"),
        (r#"{"status": {"code": "Error"}}"#, 2, ""),
    ];
    for (config, code, message) in cases {
        for status in [None, Some(failed.clone())] {
            let got = after(config, vec![Span { status, ..span("a", vec![]) }]).remove(0).status.unwrap_or_default();
            assert_eq!((got.code, got.message.as_str()), (code, message), "{config}");
        }
    }
}

/// The example of the Collector's documentation, with regular expressions.
#[test]
fn only_chosen_spans_are_changed() {
    let config = r#"{
        "include": {"match_type": "regexp", "services": ["banks"], "span_names": ["^(.*?)/(.*?)$"]},
        "exclude": {"match_type": "strict", "span_names": ["donot/change"]},
        "name": {"to_attributes": {"rules": ["(?P<operation_website>.*?)$"]}}}"#;
    let names = |name: &str| name_after(config, span(name, vec![]));
    assert_eq!(names("donot/change"), "donot/change");
    assert_eq!(names("plain"), "plain");
    assert_eq!(names("buy/shares"), "{operation_website}");
    let other = config.replace("banks", "^shop$");
    assert_eq!(name_after(&other, span("buy/shares", vec![])), "buy/shares");
}

#[test]
fn bad_configurations_are_refused_with_their_path() {
    let to = |rest: &str| format!(r#"{{"name": {{"to_attributes": {{{rest}}}}}}}"#);
    let rule = "name.to_attributes.rules[0]";
    let cases = [
        ("{}".to_owned(), "", "is needed"),
        (r#"{"name": {"separator": "-"}}"#.to_owned(), "", "is needed"),
        (to(r#""rules": []"#), "", "is needed"),
        (to(r#""rules": ["("]"#), rule, "cannot be read"),
        (to(r#""rules": ["(a)"]"#), rule, "needs a name"),
        (to(r#""rule": ["a"]"#), "name.to_attributes.rule", "unknown field `rule`"),
        (r#"{"status": {"code": "ERROR"}}"#.to_owned(), "status.code", "`Ok`, `Error` or `Unset`"),
        (r#"{"status": {"code": "Ok", "description": "x"}}"#.to_owned(), "status.description", "for the code `Error`"),
        (r#"{"status": {}}"#.to_owned(), "status", "missing field `code`"),
        (r#"{"status": {"code": "Ok"}, "include": {"match_type": "strict"}}"#.to_owned(), "include", "at least one of"),
        (r#"{"status": {"code": "Ok"}, "names": {}}"#.to_owned(), "names", "unknown field `names`"),
    ];
    for (config, path, message) in cases {
        let Err(Problem::Config(errors)) = run::<SpanProcessor>(&config, b"") else {
            unreachable!("{config} is refused")
        };
        assert_eq!(errors[0].path, path, "{config}");
        assert!(errors[0].message.contains(message), "{config}: {}", errors[0].message);
    }
}

#[test]
fn it_asks_for_what_it_needs_only() {
    let access = |config: &str| run::<SpanProcessor>(config, b"").unwrap().access;
    let from = access(r#"{"name": {"from_attributes": ["a"]}}"#);
    assert_eq!((from.read, from.write), (vec!["spans.attributes:a".to_owned()], vec!["spans.name".to_owned()]));
    let to = access(r#"{"name": {"to_attributes": {"rules": ["(?P<id>.)"], "keep_original_name": true}}}"#);
    assert_eq!((to.read, to.write), (vec!["spans.name".to_owned()], vec!["spans.attributes:id".to_owned()]));
}
