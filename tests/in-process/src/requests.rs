//! What passes through the plugins.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::json;
use sluice_spans::Verdict;

/// Spans of the made request: what the collector gives a plugin at most in one call.
const SPANS: usize = 512;

/// One span in so many of a made request is a health check.
const HEALTH: usize = 16;

/// What a made request is like.
#[derive(Clone, Copy)]
pub struct Made {
    /// Its spans.
    pub spans: usize,
    /// One span in so many has an e-mail address in it; none if it is 0.
    pub leaks: usize,
    /// The `tracestate` of every span.
    pub trace_state: &'static str,
    /// How many names the spans have, in turn. If there are several, they take different times, too.
    pub operations: usize,
}

impl Default for Made {
    fn default() -> Self {
        Self { spans: SPANS, leaks: 0, trace_state: "", operations: 1 }
    }
}

/// Requests, each with the verdict of its validation. Cheap to clone.
#[derive(Clone)]
pub struct Requests {
    all: Rc<Vec<(Bytes, Verdict)>>,
}

impl Requests {
    fn new(wires: Vec<Bytes>) -> Result<Self> {
        let verdict = |wire: Bytes| sluice_spans::validate(&wire).map(|verdict| (wire, verdict));
        let all = wires.into_iter().map(verdict).collect::<Result<Vec<_>, _>>()?;
        ensure!(!all.is_empty(), "there is no request");
        Ok(Self { all: Rc::new(all) })
    }

    /// One request of spans with twelve attributes each. One in sixteen is a health check,
    /// all others have a URL with a query.
    pub fn made(made: Made) -> Result<Self> {
        let spans = (0..made.spans).map(|i| span(i, made)).collect();
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource = Resource { attributes: vec![text("service.name", "shop")], ..Resource::default() };
        let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
        Self::new(vec![ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()])
    }

    /// The requests of a file.
    pub fn read(path: &Path) -> Result<Self> {
        let mut rest = Bytes::from(std::fs::read(path).with_context(|| path.display().to_string())?);
        let mut wires = Vec::new();
        while !rest.is_empty() {
            let head = rest.get(..4).context("a length that is cut off")?;
            let len = u32::from_be_bytes(head.try_into()?) as usize;
            ensure!(rest.len() >= 4 + len, "{}: a request that is cut off", path.display());
            wires.push(rest.split_to(4 + len).split_off(4));
        }
        Self::new(wires)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &(Bytes, Verdict)> {
        self.all.iter()
    }

    /// Spans of all of them together.
    pub fn spans(&self) -> u64 {
        self.iter().map(|(_, verdict)| u64::from(verdict.spans)).sum()
    }

    /// Their number and sizes.
    pub fn json(&self) -> serde_json::Value {
        let bytes: usize = self.iter().map(|(wire, _)| wire.len()).sum();
        json!({"requests": self.all.len(), "spans": self.spans(), "bytes": bytes})
    }
}

/// A server span of a web shop, with nothing in it that anybody would redact but for what is asked for.
fn span(i: usize, made: Made) -> Span {
    let leaks = made.leaks != 0 && i % made.leaks == made.leaks / 2;
    let start = 1_700_000_000_000_000_000 + i as u64 * 1_000;
    let path = if i.is_multiple_of(HEALTH) { "/health".to_owned() } else { format!("/api/products/{i:06}") };
    let (name, millis) = if made.operations > 1 {
        (format!("GET /api/products/{:04}", i % made.operations), 5 << (i % 7))
    } else {
        ("GET /api/products/{id}".to_owned(), 5)
    };
    Span {
        trace_id: (i as u128 * 0x1234_5678_9ABC_DEF1 + 1).to_be_bytes().to_vec(),
        span_id: (i as u64 + 1).to_be_bytes().to_vec(),
        parent_span_id: (i as u64 + 2).to_be_bytes().to_vec(),
        trace_state: made.trace_state.to_owned(),
        name,
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + millis * 1_000_000,
        attributes: vec![
            text("http.request.method", "GET"),
            text("url.full", &format!("https://shop.example.com{path}?session=8f14e4")),
            text("url.path", &path),
            text("url.scheme", "https"),
            attribute("http.response.status_code", Value::IntValue(200)),
            text("server.address", "shop.example.com"),
            attribute("server.port", Value::IntValue(443)),
            text("user_agent.original", if leaks { "ada@example.com" } else { "Mozilla/5.0 (X11)" }),
            text("client.address", "edge17.local"),
            text("network.protocol.version", "1.1"),
            attribute("app.cart.is_empty", Value::BoolValue(false)),
            text("http.route", "/api/products/{id}"),
        ],
        ..Span::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}
