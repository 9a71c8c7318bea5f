//! What leaves, given what arrives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

mod conformance;
mod corpus;
mod leaks;
mod others;
mod places;
mod sanitizers;
mod seeds;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use redaction::Redaction;
use sluice_sdk::testing::run;

const CARD: &str = "4111111111111111";
const MAIL: &str = "ada@example.com";
const DETECT: &str = r#"{"allow_all_keys": true, "detectors": ["payment_card", "email"]}"#;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, Value::StringValue(text.to_owned()))
}

fn redacted(config: &str, request: &ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    let outcome = run::<Redaction>(config, &request.encode_to_vec()).expect("it redacts");
    ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap()
}

/// A request with one span.
fn request(span: Span) -> ExportTraceServiceRequest {
    let span = Span { trace_id: vec![1; 16], span_id: vec![2; 8], ..span };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
}

/// A span, afterwards.
fn span(config: &str, span: Span) -> Span {
    redacted(config, &request(span)).resource_spans[0].scope_spans[0].spans[0].clone()
}

/// The attributes of a span with these, afterwards.
fn attributes(config: &str, attributes: Vec<KeyValue>) -> Vec<KeyValue> {
    span(config, Span { attributes, ..Span::default() }).attributes
}

/// What a text becomes.
fn value(config: &str, before: &str) -> String {
    match attributes(config, vec![text("k", before)])
        .first()
        .and_then(|entry| entry.value.clone())
        .and_then(|value| value.value)
    {
        Some(Value::StringValue(after)) => after,
        other => unreachable!("{other:?}"),
    }
}
