//! Traffic for measuring: requests of about 47 spans with ten attributes and 482 bytes each, as the
//! OpenTelemetry demo's are, or those themselves when the corpus is there.

use anyhow::Result;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::corpus;

/// The file of the corpus that is measured with.
const DEMO: &str = "oteldemo.otlp";

/// Requests to send round and round, and where they are from.
pub struct Traffic {
    /// `corpus oteldemo.otlp` or `generated`.
    pub source: String,
    /// The requests.
    pub requests: Vec<Bytes>,
}

/// The OpenTelemetry demo's requests if the corpus is there, else generated ones.
///
/// # Errors
/// When the corpus is named but cannot be read.
pub fn requests() -> Result<Traffic> {
    for file in corpus::files()? {
        if file.ends_with(DEMO) {
            return Ok(Traffic { source: format!("corpus {DEMO}"), requests: corpus::read(&file)? });
        }
    }
    Ok(Traffic { source: "generated".to_owned(), requests: generated(0x51) })
}

/// A hundred requests of 35 to 59 spans.
pub fn generated(seed: u64) -> Vec<Bytes> {
    let mut chance = StdRng::seed_from_u64(seed);
    (0..100).map(|_| request(&mut chance).encode_to_vec().into()).collect()
}

fn request(chance: &mut StdRng) -> ExportTraceServiceRequest {
    let service = ["frontend", "cart", "checkout", "payment", "currency", "ad"][chance.random_range(0..6)];
    let spans = chance.random_range(35..60);
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![
                    text("service.name", service),
                    text("service.version", "2.1.3"),
                    text("host.name", "ip-10-0-31-7.eu-central-1.compute.internal"),
                    text("telemetry.sdk.language", "go"),
                ],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc".to_owned(),
                    version: "0.63.0".to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans: (0..spans).map(|_| span(chance)).collect(),
                schema_url: String::new(),
            }],
            schema_url: "https://opentelemetry.io/schemas/1.37.0".to_owned(),
        }],
    }
}

fn span(chance: &mut StdRng) -> Span {
    let start = 1_762_156_800_000_000_000 + chance.random_range(0..60_000_000_000);
    let route = ["/api/cart", "/api/products/0PUK6V6EV0", "/api/recommendations"];
    let path = route[chance.random_range(0..3)];
    // One span in 64 by its name and one by an attribute: what the benchmark's filter drops.
    let name = match chance.random_range(0..64) {
        0 => "router flagservice egress".to_owned(),
        _ => format!("GET {path}"),
    };
    let service = match chance.random_range(0..64) {
        0 => "flagd.evaluation.v1.Service",
        _ => "oteldemo.ProductCatalogService",
    };
    Span {
        trace_id: chance.random::<[u8; 16]>().to_vec(),
        span_id: chance.random::<[u8; 8]>().to_vec(),
        parent_span_id: chance.random::<[u8; 8]>().to_vec(),
        flags: 0x101,
        name,
        kind: chance.random_range(1..6),
        start_time_unix_nano: start,
        end_time_unix_nano: start + chance.random_range(10_000..90_000_000),
        attributes: vec![
            text("http.request.method", "GET"),
            text("url.path", path),
            text("url.full", &format!("http://frontend-proxy:8080{path}?sessionId={:08x}", chance.random::<u32>())),
            number("http.response.status_code", 200),
            text("rpc.service", service),
            number("server.port", 8080),
            text("network.peer.address", &format!("10.0.{}.{}", chance.random::<u8>(), chance.random::<u8>())),
            text("user_agent.original", "python-requests/2.32.4"),
            text("session.id", &format!("{:08x}-8a5b-4c1c-9d2e", chance.random::<u32>())),
            text("network.protocol.version", "1.1"),
        ],
        ..Span::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, any_value::Value::IntValue(value))
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn generated_requests_are_as_large_as_the_demos() {
        let requests = generated(1);
        let bytes: usize = requests.iter().map(Bytes::len).sum();
        let spans: u64 = requests.iter().map(|request| crate::wire::count(request).unwrap()).sum();
        let per_span = bytes as u64 / spans;
        assert!((420..540).contains(&per_span), "{per_span} bytes a span");
        assert!((44..51).contains(&(spans / 100)), "{} spans a request", spans / 100);
    }
}
