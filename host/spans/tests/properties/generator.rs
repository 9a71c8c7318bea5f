//! Random requests on `prost`'s structs.

use crate::rng::Rng;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::Event, span::Link};

/// Keys, some of them the beginning of another, one empty, one not ASCII.
pub const KEYS: [&str; 8] = ["", "a", "ab", "http.method", "url.full", "url.full.query", "schlüssel", "user.email"];

/// Keys that no sender uses, so that all rows get them from edits alone.
pub const NEW_KEYS: [&str; 3] = ["edge.node", "edge.zone", "x"];

pub fn text(rng: &mut Rng) -> String {
    match rng.below(12) {
        0 => String::new(),
        1 => "ü→𝄞".to_owned(),
        2 => "x".repeat(rng.below(300)),
        3 if rng.one_in(60) => "y".repeat(2 << 20),
        4 => "k".repeat(120 + rng.below(16)),
        _ => format!("value-{}", rng.below(50)),
    }
}

pub fn value(rng: &mut Rng, depth: usize) -> AnyValue {
    let value = match rng.below(if depth > 3 { 8 } else { 12 }) {
        0 => None,
        1 => Some(Value::BoolValue(rng.one_in(2))),
        2 => Some(Value::IntValue(rng.number() as i64)),
        3 => Some(Value::DoubleValue(rng.below(1000) as f64 / 8.0 - 3.0)),
        4 => Some(Value::BytesValue({
            let n = rng.below(20);
            rng.bytes(n)
        })),
        5 if rng.one_in(3) => Some(Value::StringValueStrindex(rng.number() as i32)),
        5..8 => Some(Value::StringValue(text(rng))),
        8 | 9 => {
            Some(Value::ArrayValue(ArrayValue { values: (0..rng.below(4)).map(|_| value(rng, depth + 1)).collect() }))
        }
        _ => Some(Value::KvlistValue(KeyValueList { values: attributes(rng, 3, depth + 1) })),
    };
    AnyValue { value }
}

pub fn attributes(rng: &mut Rng, most: usize, depth: usize) -> Vec<KeyValue> {
    let one = |rng: &mut Rng| KeyValue {
        key: (*rng.pick(&KEYS)).to_owned(),
        value: (!rng.one_in(15)).then(|| value(rng, depth)),
        key_strindex: if rng.one_in(20) { rng.number() as i32 } else { 0 },
    };
    (0..rng.below(most + 1)).map(|_| one(rng)).collect()
}

fn count(rng: &mut Rng) -> u32 {
    if rng.one_in(2) { 0 } else { rng.number() as u32 }
}

fn event(rng: &mut Rng) -> Event {
    Event {
        time_unix_nano: rng.number(),
        name: text(rng),
        attributes: attributes(rng, 3, 0),
        dropped_attributes_count: count(rng),
    }
}

fn link(rng: &mut Rng) -> Link {
    Link {
        trace_id: rng.bytes(16),
        span_id: rng.bytes(8),
        trace_state: text(rng),
        attributes: attributes(rng, 3, 0),
        dropped_attributes_count: count(rng),
        flags: count(rng),
    }
}

pub fn span(rng: &mut Rng) -> Span {
    Span {
        trace_id: rng.bytes(16),
        span_id: rng.bytes(8),
        trace_state: if rng.one_in(3) { text(rng) } else { String::new() },
        parent_span_id: if rng.one_in(2) { rng.bytes(8) } else { vec![] },
        flags: count(rng),
        name: text(rng),
        kind: if rng.one_in(9) { rng.number() as i32 } else { rng.below(6) as i32 },
        start_time_unix_nano: rng.number(),
        end_time_unix_nano: rng.number(),
        attributes: attributes(rng, 8, 0),
        dropped_attributes_count: count(rng),
        events: (0..rng.below(8).saturating_sub(4)).map(|_| event(rng)).collect(),
        dropped_events_count: count(rng),
        links: (0..rng.below(8).saturating_sub(5)).map(|_| link(rng)).collect(),
        dropped_links_count: count(rng),
        status: rng.one_in(2).then(|| Status { message: text(rng), code: rng.below(3) as i32 }),
    }
}

fn resource(rng: &mut Rng) -> Resource {
    Resource {
        attributes: attributes(rng, 5, 0),
        dropped_attributes_count: count(rng),
        entity_refs: (0..rng.below(4).saturating_sub(2))
            .map(|_| EntityRef {
                schema_url: text(rng),
                r#type: text(rng),
                id_keys: vec![text(rng)],
                description_keys: vec![],
            })
            .collect(),
    }
}

/// A request of about `size` spans.
pub fn request(rng: &mut Rng, size: usize) -> ExportTraceServiceRequest {
    let mut resource_spans = Vec::new();
    let mut left = size;
    while left > 0 || rng.one_in(6) {
        let mut scope_spans = Vec::new();
        while (left > 0 && !rng.one_in(3)) || rng.one_in(8) {
            let n = rng.below(left.min(7) + 1);
            left -= n;
            scope_spans.push(ScopeSpans {
                scope: (!rng.one_in(5)).then(|| InstrumentationScope {
                    name: text(rng),
                    version: text(rng),
                    attributes: attributes(rng, 3, 0),
                    dropped_attributes_count: count(rng),
                }),
                spans: (0..n).map(|_| span(rng)).collect(),
                schema_url: if rng.one_in(3) { text(rng) } else { String::new() },
            });
        }
        resource_spans.push(ResourceSpans {
            resource: (!rng.one_in(5)).then(|| resource(rng)),
            scope_spans,
            schema_url: if rng.one_in(3) { text(rng) } else { String::new() },
        });
    }
    ExportTraceServiceRequest { resource_spans }
}
