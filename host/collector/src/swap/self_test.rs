//! The self-test: a version that is to serve must first work on batches that came lately.
//!
//! It runs on the thread that prepares the swap, never on a core, and nothing that it does counts: edits,
//! log lines, metrics and work on the store are thrown away.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message as _;
use serde::Serialize;
use sluice_sandbox::{CallError, Effects, InstantiateError, Prepared};
use sluice_spans::{Batch, Malformed};

/// What a version did in its self-test.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether there was no recent batch, so that one was made up.
    pub built_in: bool,
    /// Batches that it worked on.
    pub batches: usize,
    /// Spans in them.
    pub spans: u32,
    /// Spans that it dropped.
    pub dropped: u32,
    /// Spans that it changed.
    pub edited: u32,
}

/// Why a version has not passed.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// It cannot be instantiated.
    #[error(transparent)]
    Instantiate(#[from] InstantiateError),
    /// It failed on a batch that the version before it had no trouble with, or on the one made up.
    #[error("it fails on {what} of {spans} spans: {error}{}", error.backtrace.as_ref().map(|trace| format!(": {trace}")).unwrap_or_default())]
    Call {
        /// Which batch.
        what: &'static str,
        /// How many spans it has.
        spans: u32,
        /// How it failed.
        error: CallError,
    },
    /// What it made of a batch is none.
    #[error("what it makes of a batch is no valid request: {0}")]
    Output(Malformed),
}

/// Lets a fresh instance work on copies of these batches; on a made-up one if there are none.
///
/// # Errors
/// When it fails on any of them.
pub fn run(prepared: &Prepared, mut batches: Vec<Bytes>) -> Result<Report, Failed> {
    let mut report = Report { built_in: batches.is_empty(), ..Report::default() };
    let what = if report.built_in { "the built-in batch" } else { "a recent batch" };
    if report.built_in {
        batches.push(made_up());
    }
    // What it takes from the store is not taken from the version that serves.
    let mut instance = prepared.on_a_view().instantiate()?;
    for wire in batches {
        let mut batch = Batch::parse(wire).map_err(Failed::Output)?;
        let spans = batch.spans();
        let mut effects = Effects::default();
        let done = instance.process(&mut batch, &mut effects);
        let done = done.map_err(|error| Failed::Call { what, spans, error })?;
        Batch::parse(batch.encode()).map_err(Failed::Output)?;
        report.batches += 1;
        report.spans += spans;
        report.dropped += done.dropped;
        report.edited += done.edited;
    }
    Ok(report)
}

/// A request with something of everything.
fn made_up() -> Bytes {
    let any = |value: Value| Some(AnyValue { value: Some(value) });
    let attribute = |key: &str, value: Value| KeyValue { key: key.to_owned(), value: any(value), ..Default::default() };
    let text = |key: &str, value: &str| attribute(key, Value::StringValue(value.to_owned()));
    let trace_id = (1..=16).collect::<Vec<u8>>();
    let whole = Span {
        trace_id: trace_id.clone(),
        span_id: vec![1; 8],
        trace_state: "vendor=1".to_owned(),
        name: "GET /orders/{id}".to_owned(),
        kind: span::SpanKind::Server.into(),
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_001_000_000,
        attributes: vec![
            text("http.request.method", "GET"),
            text("url.full", "https://shop.example/orders/7?user=a%40example.com"),
            attribute("http.response.status_code", Value::IntValue(200)),
            attribute("sampled", Value::BoolValue(true)),
            attribute("load", Value::DoubleValue(0.5)),
            attribute("raw", Value::BytesValue(vec![0, 255])),
            attribute("tags", Value::ArrayValue(ArrayValue { values: any(Value::IntValue(1)).into_iter().collect() })),
            attribute("cart", Value::KvlistValue(KeyValueList { values: vec![text("sku", "a")] })),
        ],
        events: vec![span::Event {
            name: "exception".to_owned(),
            attributes: vec![text("exception.message", "no")],
            ..Default::default()
        }],
        links: vec![span::Link { trace_id: trace_id.clone(), span_id: vec![2; 8], ..Default::default() }],
        status: Some(Status { code: 2, message: "no".to_owned() }),
        ..Default::default()
    };
    let bare = Span { trace_id, span_id: vec![3; 8], parent_span_id: vec![1; 8], ..Default::default() };
    let scope = ScopeSpans {
        scope: Some(InstrumentationScope { name: "shop".to_owned(), version: "1".to_owned(), ..Default::default() }),
        spans: vec![whole, bare],
        ..Default::default()
    };
    let resource = Resource { attributes: vec![text("service.name", "shop")], ..Default::default() };
    let resource_spans = ResourceSpans { resource: Some(resource), scope_spans: vec![scope], ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sluice_spans::Table;

    use super::*;

    #[test]
    fn the_made_up_batch_is_a_valid_request_with_something_of_everything() {
        let mut batch = Batch::parse(made_up()).unwrap();
        let rows = |table| batch.len(table);
        let tables = [Table::Resources, Table::Scopes, Table::Spans, Table::Events, Table::Links];
        assert_eq!(tables.map(rows), [1, 1, 2, 1, 1]);
    }
}
