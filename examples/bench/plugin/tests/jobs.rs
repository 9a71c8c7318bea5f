//! What is measured is the job that the benchmark says it is.
#![allow(clippy::unwrap_used, missing_docs)]

use bench_plugin::BenchPlugin;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use sluice_sdk::testing::run;

fn span(id: u8, path: Value, url: Value) -> Span {
    let attribute = |key: &str, value| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        key_strindex: 0,
    };
    Span {
        trace_id: vec![1; 16],
        span_id: vec![id; 8],
        attributes: vec![attribute("url.full", url), attribute("url.path", path)],
        ..Span::default()
    }
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn request(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

#[test]
fn queries_are_cut_off_and_health_checks_dropped() {
    let before = request(vec![
        span(1, text("/a"), text("https://h/a?b=c?d")),
        span(2, text("/health"), text("https://h/health?x")),
        span(3, text("/a"), text("https://h/a")),
        span(4, Value::BytesValue(b"/health".to_vec()), Value::BytesValue(b"?".to_vec())),
    ]);
    let outcome = run::<BenchPlugin>(r#"{"job":"two_keys"}"#, &before).unwrap();
    let after = request(vec![
        span(1, text("/a"), text("https://h/a")),
        span(3, text("/a"), text("https://h/a")),
        span(4, Value::BytesValue(b"/health".to_vec()), Value::BytesValue(b"?".to_vec())),
    ]);
    assert_eq!(
        ExportTraceServiceRequest::decode(&*outcome.wire).unwrap(),
        ExportTraceServiceRequest::decode(&*after).unwrap()
    );
    assert_eq!((outcome.dropped, outcome.edited), (1, 1));
}

#[test]
fn nothing_asks_for_nothing_and_does_nothing() {
    let before = request(vec![span(1, text("/health"), text("?"))]);
    let outcome = run::<BenchPlugin>(r#"{"job":"nothing"}"#, &before).unwrap();
    assert_eq!(outcome.wire, before);
    assert!(outcome.access.read.is_empty() && outcome.access.write.is_empty());
}
