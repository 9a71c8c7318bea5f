//! OTLP/JSON against opentelemetry-proto's serde where that is right, and against examples of
//! the specification.

use crate::config;
use crate::generator::request;
use crate::mangle::{Message as Kind, Tricks, mangle};
use crate::rng::Rng;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use proptest::prelude::*;
use prost::Message;
use serde_json::json;
use sluice_spans::json::{from_json, to_json};
use sluice_spans::validate;

/// Takes out what opentelemetry-proto's serde does not do as OTLP/JSON says: it does not read
/// string table indexes back, and writes values without a member in its own way.
fn plain(attributes: &mut [KeyValue]) {
    for entry in attributes {
        entry.value.get_or_insert_default();
        if let Some(value) = &mut entry.value {
            plain_value(value);
        }
    }
}

fn plain_value(value: &mut AnyValue) {
    match &mut value.value {
        None | Some(Value::StringValueStrindex(_)) => {
            value.value = Some(Value::StringValue("plain".to_owned()));
        }
        Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(plain_value),
        Some(Value::KvlistValue(list)) => plain(&mut list.values),
        Some(_) => {}
    }
}

fn plain_request(rng: &mut Rng, size: usize) -> ExportTraceServiceRequest {
    let mut request = request(rng, size);
    for resource in &mut request.resource_spans {
        plain(&mut resource.resource.get_or_insert_default().attributes);
        for scope in &mut resource.scope_spans {
            plain(&mut scope.scope.get_or_insert_default().attributes);
            for span in &mut scope.spans {
                plain(&mut span.attributes);
                span.status.get_or_insert_default();
                span.events.iter_mut().for_each(|event| plain(&mut event.attributes));
                span.links.iter_mut().for_each(|link| plain(&mut link.attributes));
            }
        }
    }
    request
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn theirs_is_read(seed: u64, size in 0..6usize) {
        let request = plain_request(&mut Rng::new(seed), size);
        let theirs = serde_json::to_vec(&request).unwrap();
        let wire = from_json(&theirs).unwrap();
        prop_assert!(validate(&wire).is_ok());
        prop_assert!(ExportTraceServiceRequest::decode(&wire[..]).unwrap() == request);
    }

    #[test]
    fn they_read_ours(seed: u64, size in 0..6usize) {
        let request = plain_request(&mut Rng::new(seed), size);
        let ours = to_json(&request.encode_to_vec()).unwrap();
        // Their reading insists on the outermost list as well.
        let ours = if ours == "{}" { r#"{"resourceSpans":[]}"#.to_owned() } else { ours };
        let theirs: ExportTraceServiceRequest = serde_json::from_str(&ours).unwrap();
        prop_assert!(theirs == request);
    }

    #[test]
    fn there_and_back_is_the_same(seed: u64, size in 0..6usize) {
        let rng = &mut Rng::new(seed);
        let plain = request(rng, size).encode_to_vec();
        let tricks = Tricks::random(rng);
        let wire = mangle(rng, tricks, Kind::Request, &plain);
        let json = to_json(&wire).unwrap();
        let back = from_json(json.as_bytes()).unwrap();
        let decode = |wire: &[u8]| ExportTraceServiceRequest::decode(wire).unwrap();
        prop_assert!(decode(&back) == decode(&wire), "{}", json);
        prop_assert!(validate(&back).is_ok());
    }

    #[test]
    fn broken_json_is_refused_without_a_panic(seed: u64, size in 0..4usize) {
        let rng = &mut Rng::new(seed);
        let mut json = to_json(&request(rng, size).encode_to_vec()).unwrap().into_bytes();
        for _ in 0..=rng.below(4) {
            let at = rng.below(json.len());
            match rng.below(3) {
                0 => json[at] = *rng.pick(br#"{}[]",:0a\n"#),
                1 => json.truncate(at.max(1)),
                _ => drop(json.remove(at)),
            }
            if json.is_empty() {
                break;
            }
        }
        if let Ok(wire) = from_json(&json) {
            prop_assert!(validate(&wire).is_ok());
        }
    }
}

/// A request around one span.
fn with_span(span: serde_json::Value) -> Vec<u8> {
    let document = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
    document.to_string().into_bytes()
}

fn span_of(wire: &[u8]) -> opentelemetry_proto::tonic::trace::v1::Span {
    let request = ExportTraceServiceRequest::decode(wire).unwrap();
    request.resource_spans[0].scope_spans[0].spans[0].clone()
}

/// `examples/trace.json` of opentelemetry-proto, v1.
const EXAMPLE: &str = r#"{
  "resourceSpans": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]},
    "scopeSpans": [{
      "scope": {
        "name": "my.library", "version": "1.0.0",
        "attributes": [{"key": "my.scope.attribute", "value": {"stringValue": "some scope attribute"}}]
      },
      "spans": [{
        "traceId": "5B8EFFF798038103D269B633813FC60C",
        "spanId": "EEE19B7EC3C1B174",
        "parentSpanId": "EEE19B7EC3C1B173",
        "name": "I'm a server span",
        "startTimeUnixNano": "1544712660000000000",
        "endTimeUnixNano": "1544712661000000000",
        "kind": 2,
        "attributes": [{"key": "my.span.attr", "value": {"stringValue": "some value"}}]
      }]
    }]
  }]
}"#;

#[test]
fn the_specifications_example_is_read() {
    let wire = from_json(EXAMPLE.as_bytes()).unwrap();
    let request = ExportTraceServiceRequest::decode(&wire[..]).unwrap();
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(resource.attributes[0].key, "service.name");
    let scope = request.resource_spans[0].scope_spans[0].scope.as_ref().unwrap();
    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("my.library", "1.0.0"));
    let span = span_of(&wire);
    assert_eq!(span.trace_id[..4], [0x5B, 0x8E, 0xFF, 0xF7]);
    assert_eq!(span.parent_span_id, [0xEE, 0xE1, 0x9B, 0x7E, 0xC3, 0xC1, 0xB1, 0x73]);
    assert_eq!(span.name, "I'm a server span");
    assert_eq!(span.end_time_unix_nano, 1_544_712_661_000_000_000);
    assert_eq!(span.kind, 2);
    let again = to_json(&wire).unwrap();
    let strict: serde_json::Value = serde_json::from_str(&again).unwrap();
    let mut expected: serde_json::Value = serde_json::from_str(EXAMPLE).unwrap();
    let span = &mut expected["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    for id in ["traceId", "spanId", "parentSpanId"] {
        span[id] = span[id].as_str().unwrap().to_lowercase().into();
    }
    assert_eq!(strict, expected);
}

#[test]
fn fields_go_out_in_the_order_of_their_numbers_whatever_the_order_they_come_in() {
    let span = r#"{"status":{"code":2,"message":"m"},"links":[{"spanId":"eee19b7ec3c1b174","flags":1,
        "traceId":"5b8efff798038103d269b633813fc60c"}],"name":"n","attributes":[{"value":{"intValue":"1"},"key":"a"},
        {"key":"b"}],"kind":2,"events":[{"name":"e","timeUnixNano":"5"}],"traceState":"","flags":3,"endTimeUnixNano":"7",
        "spanId":"eee19b7ec3c1b174","startTimeUnixNano":"6","traceId":"5b8efff798038103d269b633813fc60c"}"#;
    let json = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}],"scope":{{"name":"s"}}}}],"resource":{{}}}}]}}"#
    );
    let wire = from_json(json.as_bytes()).unwrap();
    assert_eq!(wire, ExportTraceServiceRequest::decode(&wire[..]).unwrap().encode_to_vec());
    assert_eq!(span_of(&wire).links[0].flags, 1);
}

#[test]
fn what_comes_out_of_a_document_is_never_longer_than_it() {
    for (open, item, close) in [
        ("{\"a\":[", "[0],", "0]}"),
        ("{\"resourceSpans\":[", "{},", "{}]}"),
        (r#"{"resourceSpans":[{"resource":{"attributes":[{"value":{"arrayValue":{"values":["#, "null,", "{}]}}}]}}]}"),
        (r#"{"resourceSpans":[{"resource":{"attributes":["#, r#"{"value":{"doubleValue":1}},"#, "{}]}}]}"),
    ] {
        let json = format!("{open}{}{close}", item.repeat(10_000));
        let wire = from_json(json.as_bytes()).unwrap();
        assert!(wire.capacity() <= json.len(), "{open}: {} of {}", wire.capacity(), json.len());
    }
}

#[test]
fn what_senders_do_otherwise_is_understood() {
    let span = span_of(
        &from_json(&with_span(json!({
            "trace_id": "5b8efff798038103d269b633813fc60c",
            "spanId": "eee19b7ec3c1b174",
            "parentSpanId": "",
            "traceState": null,
            "kind": "SPAN_KIND_CLIENT",
            "start_time_unix_nano": 1_544_712_660_000_000_000u64,
            "endTimeUnixNano": "1544712661000000000",
            "droppedEventsCount": 3.0,
            "status": {"code": "STATUS_CODE_ERROR"},
            "somethingNew": {"of": ["any", "kind"]},
            "attributes": [
                {"key": "int", "value": {"intValue": 7}},
                {"key": "negative", "value": {"int_value": "-9223372036854775808"}},
                {"key": "nan", "value": {"doubleValue": "NaN"}},
                {"key": "whole", "value": {"doubleValue": 2}},
                {"key": "bytes", "value": {"bytesValue": "_-8"}},
                {"key": "none", "value": {}},
                {"key": "empty", "value": {"stringValue": ""}},
                {"key": "array", "value": {"arrayValue": {"values": [null, {"boolValue": false}]}}},
            ],
        })))
        .unwrap(),
    );
    assert_eq!(span.kind, 3);
    assert!(span.parent_span_id.is_empty());
    assert_eq!(span.start_time_unix_nano, 1_544_712_660_000_000_000);
    assert_eq!(span.dropped_events_count, 3);
    assert_eq!(span.status.unwrap().code, 2);
    let value = |i: usize| span.attributes[i].value.clone().unwrap().value;
    assert_eq!(value(0), Some(Value::IntValue(7)));
    assert_eq!(value(1), Some(Value::IntValue(i64::MIN)));
    assert!(matches!(value(2), Some(Value::DoubleValue(nan)) if nan.is_nan()));
    assert_eq!(value(3), Some(Value::DoubleValue(2.0)));
    assert_eq!(value(4), Some(Value::BytesValue(vec![0xFF, 0xEF])));
    assert_eq!(value(5), None);
    assert_eq!(value(6), Some(Value::StringValue(String::new())));
    let Some(Value::ArrayValue(array)) = value(7) else { panic!("no array") };
    assert_eq!(array.values[0].value, None);
    assert_eq!(array.values[1].value, Some(Value::BoolValue(false)));
}

#[test]
fn an_error_names_the_path() {
    let good = json!({"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"});
    let with = |key: &str, value: serde_json::Value| {
        let mut span = good.clone();
        span[key] = value;
        from_json(&with_span(span)).unwrap_err()
    };
    let base = "resourceSpans[0].scopeSpans[0].spans[0]";
    assert_eq!(with("traceId", json!("5b8e")).path, format!("{base}.traceId"));
    assert_eq!(with("traceId", json!(null)).path, format!("{base}.traceId"));
    assert_eq!(with("kind", json!("SPAN_KIND_SERVANT")).path, format!("{base}.kind"));
    assert_eq!(with("startTimeUnixNano", json!(-1)).path, format!("{base}.startTimeUnixNano"));
    assert_eq!(with("flags", json!(4_294_967_296u64)).path, format!("{base}.flags"));
    assert_eq!(with("endTimeUnixNano", json!(1.5)).path, format!("{base}.endTimeUnixNano"));
    let two = json!([{"key": "a", "value": {"intValue": 1, "stringValue": "b"}}]);
    let error = with("attributes", two);
    assert_eq!(error.path, format!("{base}.attributes[0].value.stringValue"));
    let twice = json!([{"key": 5}]);
    assert_eq!(
        with("attributes", twice).to_string(),
        format!("expected a string, found a number at {base}.attributes[0].key")
    );
    assert_eq!(with("trace_id", json!("ff")).path, format!("{base}.traceId"));
    assert_eq!(from_json(b"[]").unwrap_err().path, "$");
    assert_eq!(from_json(b"{").unwrap_err().path, "$");
}
