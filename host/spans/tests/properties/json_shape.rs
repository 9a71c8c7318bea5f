//! What of OTLP/JSON is a matter of its shape: how deep it is, and what stands in it twice.

use crate::config;
use crate::generator::request;
use crate::rng::Rng;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;
use sluice_spans::json::{from_json, to_json};
use sluice_spans::validate;

/// Where an attribute stands.
#[derive(Clone, Copy)]
enum Place {
    Resource,
    Span,
    Event,
}

/// A request with one attribute, whose value is wrapped in lists (`true`) and mappings: as OTLP has it, and as
/// JSON.
fn wrapped(place: Place, wrappers: &[bool]) -> (ExportTraceServiceRequest, String) {
    let mut value = Any::IntValue(7);
    let mut json = r#"{"intValue":7}"#.to_owned();
    for is_list in wrappers {
        let inner = Some(value);
        if *is_list {
            value = Any::ArrayValue(ArrayValue { values: vec![AnyValue { value: inner }] });
            json = format!(r#"{{"arrayValue":{{"values":[{json}]}}}}"#);
        } else {
            let value_of_k = Some(AnyValue { value: inner });
            let entry = KeyValue { key: "k".to_owned(), value: value_of_k, ..KeyValue::default() };
            value = Any::KvlistValue(KeyValueList { values: vec![entry] });
            json = format!(r#"{{"kvlistValue":{{"values":[{{"key":"k","value":{json}}}]}}}}"#);
        }
    }
    let value = Some(AnyValue { value: Some(value) });
    let attributes = vec![KeyValue { key: "a".to_owned(), value, ..KeyValue::default() }];
    let json = format!(r#""attributes":[{{"key":"a","value":{json}}}]"#);
    let mut span = Span { trace_id: vec![1; 16], span_id: vec![2; 8], ..Span::default() };
    let ids = r#""traceId":"01010101010101010101010101010101","spanId":"0202020202020202""#;
    let (resource, json) = match place {
        Place::Resource => {
            let resource = Resource { attributes, ..Resource::default() };
            let json = format!(r#""resource":{{{json}}},"scopeSpans":[{{"spans":[{{{ids}}}]}}]"#);
            (Some(resource), json)
        }
        Place::Span => {
            span.attributes = attributes;
            (None, format!(r#""scopeSpans":[{{"spans":[{{{ids},{json}}}]}}]"#))
        }
        Place::Event => {
            span.events = vec![Event { attributes, ..Event::default() }];
            (None, format!(r#""scopeSpans":[{{"spans":[{{{ids},"events":[{{{json}}}]}}]}}]"#))
        }
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    (ExportTraceServiceRequest { resource_spans }, format!(r#"{{"resourceSpans":[{{{json}}}]}}"#))
}

fn is_too_deep(json: &str) -> bool {
    from_json(json.as_bytes()).is_err_and(|error| error.what.starts_with("nested more than 100 deep"))
}

/// `camelCase` as `snake_case`.
fn snake(key: &str) -> String {
    let mut out = String::new();
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// Writes JSON with the member of this number written again, as it is or in its other spelling.
fn doubled(value: &Value, left: &mut Option<usize>, in_snake: bool, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut before = '{';
            for (key, value) in members {
                let again = match *left {
                    Some(0) => Some(if in_snake { snake(key) } else { key.clone() }),
                    _ => None,
                };
                *left = left.and_then(|left| left.checked_sub(1));
                for key in [Some(key.clone()), again].into_iter().flatten() {
                    out.extend([&before.to_string(), "\"", &key, "\":"]);
                    doubled(value, left, in_snake, out);
                    before = ',';
                }
            }
            out.push_str(if before == '{' { "{}" } else { "}" });
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                doubled(item, left, in_snake, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.values().map(|value| 1 + members(value)).sum(),
        Value::Array(items) => items.iter().map(members).sum(),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn it_may_be_as_deep_as_the_wire_and_no_deeper(seed: u64, depth in 25..55usize) {
        let rng = &mut Rng::new(seed);
        let wrappers: Vec<_> = (0..depth).map(|_| rng.below(4) > 0).collect();
        let place = *rng.pick(&[Place::Resource, Place::Span, Place::Event]);
        let (request, json) = wrapped(place, &wrappers);
        let wire = request.encode_to_vec();
        if validate(&wire).is_ok() {
            let decode = |wire: &[u8]| ExportTraceServiceRequest::decode(wire).unwrap();
            prop_assert!(decode(&from_json(json.as_bytes()).unwrap()) == request);
            let ours = to_json(&wire).unwrap();
            prop_assert!(decode(&from_json(ours.as_bytes()).unwrap()) == request);
        } else {
            prop_assert!(is_too_deep(&json));
        }
    }

    #[test]
    fn what_stands_twice_is_refused_wherever_it_is(seed: u64, size in 1..4usize, in_snake: bool) {
        let rng = &mut Rng::new(seed);
        let json = to_json(&request(rng, size).encode_to_vec()).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        let number = members(&json);
        prop_assume!(number > 0);
        let mut out = String::new();
        doubled(&json, &mut Some(rng.below(number)), in_snake, &mut out);
        let error = from_json(out.as_bytes()).unwrap_err();
        prop_assert!(error.what.ends_with("is given twice"), "{}: {}", error, out);
    }
}

#[test]
fn the_last_level_is_taken_and_the_next_is_told_by_its_place() {
    // The request, the resource's spans, the resource, the attribute and its value come before the wrappers, of
    // which each is two messages: 4 + 2 * 48 = 100 in the request.
    let (_, last) = wrapped(Place::Resource, &[true; 48]);
    assert!(from_json(last.as_bytes()).is_ok());
    let (_, over) = wrapped(Place::Resource, &[true; 49]);
    let error = from_json(over.as_bytes()).unwrap_err();
    assert_eq!(error.what, "nested more than 100 deep");
    assert!(error.path.starts_with("resourceSpans[0].resource.attributes[0].value.arrayValue.values[0]."), "{error}");
}

#[test]
fn what_is_much_too_deep_is_refused_without_going_there() {
    for depth in [60, 1_000, 200_000] {
        assert!(is_too_deep(&wrapped_text(depth)), "{depth}");
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let nested = format!("{}1{}", open.repeat(depth * 4), close.repeat(depth * 4));
            assert!(is_too_deep(&format!(r#"{{"unknown":{nested}}}"#)), "{depth}");
            let error = from_json(format!(r#"{{"resourceSpans":{nested}}}"#).as_bytes()).unwrap_err();
            assert_eq!(error.path.trim_end_matches("[0]"), "resourceSpans", "{error}");
        }
    }
}

/// As [`wrapped`], without what would have to be dropped level by level.
fn wrapped_text(depth: usize) -> String {
    let (open, close) = (r#"{"arrayValue":{"values":["#.repeat(depth), "]}}".repeat(depth));
    format!(r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"value":{open}{{}}{close}}}]}}}}]}}"#)
}

#[test]
fn a_list_that_stands_twice_loses_nothing_without_a_word() {
    let one = r#"[{"scopeSpans":[]}]"#;
    for (json, path) in [
        (format!(r#"{{"resourceSpans":{one},"resourceSpans":{one}}}"#), "resourceSpans"),
        (format!(r#"{{"resourceSpans":{one},"resource_spans":{one}}}"#), "resourceSpans"),
        (
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[],"scope":{},"spans":[]}]}]}"#.to_owned(),
            "resourceSpans[0].scopeSpans[0].spans",
        ),
    ] {
        let error = from_json(json.as_bytes()).unwrap_err();
        assert_eq!(error.path, path, "{json}");
    }
    // Null is as good as nothing, and what nobody knows is nothing as well.
    for json in [
        format!(r#"{{"resourceSpans":{one},"resourceSpans":null}}"#),
        format!(r#"{{"new":1,"new":2,"resourceSpans":{one}}}"#),
    ] {
        assert_eq!(from_json(json.as_bytes()).unwrap(), [0x0a, 0x00], "{json}");
    }
}
