//! What leaves, given what arrives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use redaction::Redaction;
use sluice_sdk::testing::{Problem, run};

const CARD: &str = "4111111111111111";
const MAIL: &str = "ada@example.com";
const DETECT: &str = r#"{"allow_all_keys": true, "detectors": ["payment_card", "email"]}"#;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, Value::StringValue(text.to_owned()))
}

/// A request with `secret` in every place that is looked at.
fn everywhere(secret: &str) -> ExportTraceServiceRequest {
    let nested = Value::KvlistValue(KeyValueList {
        values: vec![attribute(
            "inner",
            Value::ArrayValue(ArrayValue {
                values: vec![AnyValue { value: Some(Value::StringValue(format!("x {secret}"))) }, AnyValue::default()],
            }),
        )],
    });
    let attributes = || {
        vec![
            text("plain", &format!("<{secret}> and {secret}")),
            attribute("bytes", Value::BytesValue(format!("\u{1}{secret}\u{2}").into_bytes())),
            attribute("nested", nested.clone()),
            attribute("number", Value::IntValue(200)),
        ]
    };
    let span = Span {
        name: format!("GET {secret}"),
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        attributes: attributes(),
        status: Some(Status { code: 2, message: format!("no {secret} here") }),
        events: vec![Event { name: format!("e {secret}"), attributes: attributes(), ..Event::default() }],
        links: vec![Link { trace_id: vec![1; 16], span_id: vec![2; 8], attributes: attributes(), ..Link::default() }],
        ..Span::default()
    };
    let scope = InstrumentationScope {
        name: format!("n {secret}"),
        version: format!("v {secret}"),
        attributes: attributes(),
        ..InstrumentationScope::default()
    };
    let resource_spans = vec![ResourceSpans {
        resource: Some(Resource { attributes: attributes(), ..Resource::default() }),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans: vec![span; 3], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }];
    ExportTraceServiceRequest { resource_spans }
}

fn redacted(config: &str, request: &ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    let outcome = run::<Redaction>(config, &request.encode_to_vec()).expect("it redacts");
    ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap()
}

/// The attributes of a span with these, afterwards.
fn attributes(config: &str, attributes: Vec<KeyValue>) -> Vec<KeyValue> {
    let spans = vec![Span { trace_id: vec![1; 16], span_id: vec![2; 8], attributes, ..Span::default() }];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let request =
        ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] };
    redacted(config, &request).resource_spans[0].scope_spans[0].spans[0].attributes.clone()
}

#[test]
fn nothing_is_left_wherever_it_was() {
    for secret in [CARD, MAIL, "5105-1051-0510-5100"] {
        assert_eq!(redacted(DETECT, &everywhere(secret)), everywhere("****"), "{secret}");
    }
}

#[test]
fn what_holds_nothing_is_untouched_byte_for_byte() {
    let wire = everywhere("fine").encode_to_vec();
    let outcome = run::<Redaction>(DETECT, &wire).unwrap();
    assert!(outcome.wire == wire && outcome.edited == 0);
}

#[test]
fn several_detectors_and_patterns_mask_in_one_text() {
    let config = r#"{"allow_all_keys": true, "detectors": ["payment_card", "email", "url_credentials", "bearer_token", "jwt"], "blocked_values": ["\\bWB-\\d+\\b"]}"#;
    let before = text("m", &format!("WB-12 {CARD} {MAIL} https://u:p@host/ Bearer abc.def"));
    assert_eq!(attributes(config, vec![before]), [text("m", "**** **** **** https://****@host/ Bearer ****")]);
}

/// The example of the Collector's README.
#[test]
fn blocked_values_mask_the_match_and_allowed_values_win() {
    let config = r#"{"allow_all_keys": true, "blocked_values": ["4[0-9]{12}(?:[0-9]{3})?", "mycompany.com"], "allowed_values": [".+@mycompany.com"]}"#;
    let before = vec![
        text("a", "card 4111111111111111!"),
        text("b", "x@mycompany.com"),
        text("c", "mycompany.com/x"),
        text("d", "ok"),
    ];
    assert_eq!(
        attributes(config, before),
        [text("a", "card ****!"), text("b", "x@mycompany.com"), text("c", "****/x"), text("d", "ok")]
    );
}

#[test]
fn keys_that_are_not_allowed_go_and_ignored_ones_pass_whole() {
    let config = format!(
        r#"{{"allowed_keys": ["a"], "ignored_keys": ["i"], "ignored_key_patterns": ["^safe\\."], "blocked_values": ["{CARD}"]}}"#
    );
    let before = vec![text("a", CARD), text("b", "gone"), text("i", CARD), text("safe.x", CARD)];
    assert_eq!(attributes(&config, before), [text("a", "****"), text("i", CARD), text("safe.x", CARD)]);
    assert_eq!(attributes("{}", vec![text("a", "x")]), [], "without allowed keys nothing passes");
}

#[test]
fn blocked_keys_lose_their_whole_value_whatever_its_type() {
    let config = r#"{"allow_all_keys": true, "blocked_key_patterns": [".*token.*", "(?i)PASSWORD$"]}"#;
    let before =
        vec![text("api_token_x", "secret\nvalue"), attribute("my.password", Value::IntValue(1234)), text("other", "x")];
    assert_eq!(
        attributes(config, before),
        [text("api_token_x", "****"), text("my.password", "****"), text("other", "x")]
    );
}

#[test]
fn every_occurrence_of_a_key_is_looked_at() {
    let before = vec![text("k", "fine"), text("k", CARD)];
    assert_eq!(attributes(DETECT, before), [text("k", "fine"), text("k", "****")]);
}

/// A second `name` hides the first from every reader of the column, but not from the wire.
#[test]
fn overridden_occurrences_do_not_leave() {
    let name = |name: &str| [&[0x2a, name.len() as u8], name.as_bytes()].concat();
    let span = [&[0x0a, 16][..], &[1; 16], &[0x12, 8], &[2; 8], &name(CARD), &name("fine")].concat();
    let wrap = |body: Vec<u8>, key: u8| [vec![key, body.len() as u8], body].concat();
    let wire = wrap(wrap(wrap(span, 0x12), 0x12), 0x0a);
    let outcome = run::<Redaction>(DETECT, &wire).unwrap();
    assert!(!outcome.wire.windows(CARD.len()).any(|window| window == CARD.as_bytes()));
    let request = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap();
    assert_eq!(request.resource_spans[0].scope_spans[0].spans[0].name, "fine");
}

/// A card begins in one value and ends in the next: neither holds one.
#[test]
fn values_side_by_side_are_judged_apart() {
    let before = vec![
        text("a", "41111111"),
        text("b", "11111111"),
        text("c", "ada@"),
        text("d", "example.com"),
        text("e", CARD),
    ];
    let mut after = before.clone();
    after[4] = text("e", "****");
    assert_eq!(attributes(DETECT, before), after);
}

#[test]
fn a_value_at_every_distance_from_others_is_found() {
    for len in 0..30 {
        let before = vec![text("a", &"x".repeat(len)), text("b", CARD), text("c", &"1".repeat(len)), text("d", MAIL)];
        let expected =
            vec![text("a", &"x".repeat(len)), text("b", "****"), text("c", &"1".repeat(len)), text("d", "****")];
        assert_eq!(attributes(DETECT, before), expected, "{len}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let cases = [
        (r#"{"hash_function": "md5"}"#, "hash_function", "not supported yet"),
        (r#"{"summary": "debug"}"#, "summary", "`debug` is not supported yet"),
        (r#"{"redact_all_types": true}"#, "redact_all_types", "not looked at yet"),
        (r#"{"mode": "drop"}"#, "mode", "`drop` is not supported yet"),
        (r#"{"detectors": ["email", "national_id/XX"]}"#, "detectors[1]", "`national_id/XX` is not supported yet"),
        (r#"{"detectors": ["cards"]}"#, "detectors[0]", "unknown detector `cards`"),
        (r#"{"blocked_values": ["a", "("]}"#, "blocked_values[1]", "unclosed group"),
        (r#"{"allowed_key": []}"#, "allowed_key", "unknown field `allowed_key`"),
    ];
    for (config, path, message) in cases {
        let result = run::<Redaction>(config, b"");
        let Err(Problem::Config(errors)) = result else { unreachable!("{config}: {result:?}") };
        assert_eq!(errors[0].path, path, "{config}");
        assert!(errors[0].message.contains(message), "{config}: {}", errors[0].message);
    }
    assert!(run::<Redaction>(r#"{"redact_all_types": false, "summary": "silent", "mode": "mask"}"#, b"").is_ok());
}
