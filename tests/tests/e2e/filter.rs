//! Spans and events for which a condition is true do not arrive, and the account says so.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use sluice_tests::collector::{Config, Sluice};
use sluice_tests::send;
use sluice_tests::sink::Sink;

fn span(name: &str, millis: u64, route: &str) -> Span {
    let route = AnyValue { value: Some(Value::StringValue(route.to_owned())) };
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: name.to_owned(),
        start_time_unix_nano: 1_000_000_000,
        end_time_unix_nano: 1_000_000_000 + millis * 1_000_000,
        attributes: vec![KeyValue { key: "http.route".to_owned(), value: Some(route), ..KeyValue::default() }],
        events: ["cache.miss", "retry"].map(|name| Event { name: name.to_owned(), ..Event::default() }).to_vec(),
        ..Span::default()
    }
}

/// The names of the spans that arrive, each with those of its events.
fn left(settings: &str) -> Vec<String> {
    let spans = vec![span("fast", 2, "/shop/cart"), span("slow", 700, "/shop/pay"), span("health", 700, "/Health")];
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    };
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream).processor("filter", settings));
    send::all(sluice.grpc(), &[request.encode_to_vec().into()]).unwrap();
    sluice.terminate();
    let told = |span: Span| span.events.into_iter().fold(span.name, |told, event| told + " " + &event.name);
    let mut left: Vec<_> = upstream.decoded_spans().into_iter().map(told).collect();
    left.sort();
    left
}

#[test]
fn functions_and_arithmetic_work_in_the_sandbox() {
    let settings = r#"
traces:
  span:
    - 'duration < Duration("5ms")'
    - 'ContainsValue(["/health", "/ready"], ConvertCase(attributes["http.route"], "lower"))'
  spanevent:
    - 'Split(name, ".")[0] == "cache"'
"#;
    assert_eq!(left(settings), ["slow retry"]);
}

#[test]
fn the_newer_form_filters_the_same() {
    let settings = r#"
error_mode: ignore
trace_conditions:
  - 'span.end_time_unix_nano - span.start_time_unix_nano > 1000000 * 500 and span.name != "slow"'
  - context: spanevent
    conditions: [ 'Len(name) == 5' ]
"#;
    assert_eq!(left(settings), ["fast cache.miss", "slow cache.miss"]);
}
