//! The `strategy_sampler` on OTLP requests, in one program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]

mod conformance;
mod forced;
mod limits;
mod unbiased;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use sluice_sdk::testing::{Outcome, Problem, Stage};
use strategy_sampler::StrategySampler;

/// Randomness of just one half, and of almost one.
const HALF: u128 = 0xfefe_fefe_fefe_fefe_fe80_0000_0000_0000;
const LUCKY: u128 = 0x1111_1111_1111_1111_11ff_ffff_ffff_ffff;
const UNLUCKY: u128 = 0x2222_2222_2222_2222_2200_0000_0000_0001;

fn span(trace: u128, name: &str) -> Span {
    Span { trace_id: trace.to_be_bytes().to_vec(), span_id: vec![1; 8], name: name.to_owned(), ..Span::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn asking(priority: i64, span: Span) -> Span {
    let value = Some(AnyValue { value: Some(Value::IntValue(priority)) });
    Span { attributes: vec![KeyValue { key: "sampling.priority".to_owned(), value, ..KeyValue::default() }], ..span }
}

fn request(services: &[(&str, Vec<Span>)]) -> Vec<u8> {
    let of = |(service, spans): &(&str, Vec<Span>)| ResourceSpans {
        resource: Some(Resource { attributes: vec![text("service.name", service)], ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: spans.clone(), ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: services.iter().map(of).collect() }.encode_to_vec()
}

/// The name and the tracestate of each span that is left.
fn left(outcome: &Outcome) -> Vec<(String, String)> {
    let request = ExportTraceServiceRequest::decode(outcome.wire.as_slice()).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).map(|span| (span.name, span.trace_state)).collect()
}

fn stage(config: &str) -> Stage<StrategySampler> {
    match Stage::new(config) {
        Ok(stage) => stage,
        Err(problem) => panic!("{config}: {problem:?}"),
    }
}

/// The names of the spans that are kept of one request.
fn kept(config: &str, services: &[(&str, Vec<Span>)]) -> Vec<String> {
    let outcome = stage(config).process(&request(services)).unwrap();
    left(&outcome).into_iter().map(|(name, _)| name).collect()
}

/// What is wrong with a configuration: paths and messages.
fn problems(config: &str) -> Vec<(String, String)> {
    match Stage::<StrategySampler>::new(config).map(drop) {
        Err(Problem::Config(errors)) => errors.into_iter().map(|error| (error.path, error.message)).collect(),
        other => panic!("{config}: {other:?}"),
    }
}
