//! Deeds as OTLP requests.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{Attributes, Deed, Kind, Shop, Value};

/// Where the shop's clock starts, in nanoseconds since 1970: 2025-11-03 08:00:00 UTC.
const OPENING_UNIX_NANO: u64 = 1_762_156_800_000_000_000;

/// The shop's spans, cut into requests.
pub struct Exporter {
    shop: Shop,
    ids: StdRng,
    now: u64,
}

impl Exporter {
    /// The exporter of the shop with this seed.
    pub fn new(seed: u64) -> Self {
        Self { shop: Shop::new(seed), ids: StdRng::seed_from_u64(!seed), now: OPENING_UNIX_NANO }
    }

    /// The shop itself.
    pub fn shop(&self) -> &Shop {
        &self.shop
    }

    /// A request of at least so many spans, as a structure.
    pub fn structure(&mut self, spans: usize) -> ExportTraceServiceRequest {
        let mut made = Vec::with_capacity(spans);
        while made.len() < spans {
            let deed = self.shop.deed();
            let trace: [u8; 16] = self.ids.random();
            self.render(&deed, &trace, &[], &mut made);
        }
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource {
                    attributes: attributes(&vec![
                        ("service.name", Value::Text("shop".to_owned())),
                        ("host.name", Value::Text("till-3".to_owned())),
                    ]),
                    ..Resource::default()
                }),
                scope_spans: vec![ScopeSpans {
                    scope: Some(InstrumentationScope {
                        name: "shop".to_owned(),
                        version: "1.4.0".to_owned(),
                        ..InstrumentationScope::default()
                    }),
                    spans: made,
                    schema_url: "https://opentelemetry.io/schemas/1.37.0".to_owned(),
                }],
                schema_url: String::new(),
            }],
        }
    }

    /// A request of at least so many spans.
    pub fn request(&mut self, spans: usize) -> Bytes {
        self.structure(spans).encode_to_vec().into()
    }

    /// So many requests of at least so many spans each.
    pub fn requests(&mut self, requests: usize, spans: usize) -> Vec<Bytes> {
        (0..requests).map(|_| self.request(spans)).collect()
    }

    fn render(&mut self, deed: &Deed, trace: &[u8; 16], parent: &[u8], made: &mut Vec<Span>) {
        let id: [u8; 8] = self.ids.random();
        let start = self.now;
        let at = made.len();
        made.push(Span::default());
        self.now += deed.micros * 1_000;
        for inner in &deed.within {
            self.render(inner, trace, &id, made);
        }
        let events = deed.events.iter().map(|(name, with)| Event {
            time_unix_nano: start + deed.micros * 500,
            name: (*name).to_owned(),
            attributes: attributes(with),
            dropped_attributes_count: 0,
        });
        if let Some(place) = made.get_mut(at) {
            *place = Span {
                trace_id: trace.to_vec(),
                span_id: id.to_vec(),
                parent_span_id: parent.to_vec(),
                flags: 1,
                name: deed.name.clone(),
                kind: kind(deed.kind) as i32,
                start_time_unix_nano: start,
                end_time_unix_nano: self.now,
                attributes: attributes(&deed.attributes),
                events: events.collect(),
                status: deed.error.clone().map(|message| Status { message, code: StatusCode::Error as i32 }),
                ..Span::default()
            };
        }
    }
}

fn kind(kind: Kind) -> SpanKind {
    match kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
        Kind::Consumer => SpanKind::Consumer,
    }
}

fn attributes(pairs: &Attributes) -> Vec<KeyValue> {
    let value = |value: &Value| match value.clone() {
        Value::Text(text) => any_value::Value::StringValue(text),
        Value::Int(number) => any_value::Value::IntValue(number),
        Value::Double(number) => any_value::Value::DoubleValue(number),
    };
    let pair = |(key, with): &(&str, Value)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(value(with)) }),
        ..KeyValue::default()
    };
    pairs.iter().map(pair).collect()
}
