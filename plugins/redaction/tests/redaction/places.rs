//! Where it looks, and what hides nothing.

use opentelemetry_proto::tonic::common::v1::{ArrayValue, InstrumentationScope, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};

use super::*;

/// A request with `secret` in every place that is looked at.
pub fn everywhere(secret: &str) -> ExportTraceServiceRequest {
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
        trace_state: format!("ot=th:8,vendor=x;{secret}"),
        links: vec![Link {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            attributes: attributes(),
            trace_state: format!("a=1,b={secret}"),
            ..Link::default()
        }],
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

/// Each place on its own: what is not named stays, what is named goes.
#[test]
fn only_the_places_that_are_named_are_looked_at() {
    let places = ["resource", "scope", "span", "event", "link", "name", "status", "tracestate"];
    let wire = |request: &ExportTraceServiceRequest| request.encode_to_vec();
    let count = |bytes: &[u8]| bytes.windows(CARD.len()).filter(|window| *window == CARD.as_bytes()).count();
    let before = count(&wire(&everywhere(CARD)));
    let mut found = 0;
    for place in places {
        let config = format!(r#"{{"allow_all_keys": true, "detectors": ["payment_card"], "scan": ["{place}"]}}"#);
        let after = count(&wire(&redacted(&config, &everywhere(CARD))));
        assert!(after < before, "{place}");
        found += before - after;
    }
    assert_eq!(found, before, "every place is in one of them");
    let none = r#"{"allow_all_keys": true, "detectors": ["payment_card"], "scan": []}"#;
    assert_eq!(redacted(none, &everywhere(CARD)), everywhere(CARD));
}

#[test]
fn a_tracestate_stays_valid_and_the_member_of_opentelemetry_untouched() {
    let config = r#"{"allow_all_keys": true, "detectors": ["payment_card", "email"]}"#;
    let state = |state: &str| span(config, Span { trace_state: state.to_owned(), ..Span::default() }).trace_state;
    assert_eq!(state("ot=th:8;x:4111111111111111,v=4111111111111111,w=2"), "ot=th:8;x:4111111111111111,v=****,w=2");
    assert_eq!(state("4111111111111111=1,w=2"), "w=2");
    assert_eq!(state("fine=1, w=2"), "fine=1, w=2");
}

/// Field 1000 of a span, which OTLP does not have.
#[test]
fn unknown_fields_go_or_stay_as_it_is_said() {
    let mut field = vec![0xc2, 0x3e, CARD.len() as u8];
    field.extend(CARD.as_bytes());
    let span = [&[0x0a, 16][..], &[1; 16], &[0x12, 8], &[2; 8], &field].concat();
    let wrap = |body: Vec<u8>, key: u8| [vec![key, body.len() as u8], body].concat();
    let wire = wrap(wrap(wrap(span, 0x12), 0x12), 0x0a);
    for (config, stays) in [
        (r#"{"allow_all_keys": true}"#, true),
        (r#"{"allow_all_keys": true, "unknown_fields": "keep"}"#, true),
        (r#"{"allow_all_keys": true, "unknown_fields": "drop"}"#, false),
        (r#"{"allowed_keys": ["x"]}"#, false),
        (r#"{"allowed_keys": ["x"], "unknown_fields": "drop"}"#, false),
    ] {
        let after = run::<Redaction>(config, &wire).unwrap().wire;
        assert_eq!(after.windows(CARD.len()).any(|window| window == CARD.as_bytes()), stays, "{config}");
    }
}
