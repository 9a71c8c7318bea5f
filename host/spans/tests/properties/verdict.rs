//! The verdict at the door is `prost`'s, plus the rule for ids.

use crate::generator::request;
use crate::mangle::{Message as Kind, Tricks, mangle};
use crate::rng::Rng;
use crate::{columns, config};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;
use sluice_spans::{Batch, Table, count_spans, validate};

/// What the rule for ids says, and no other.
const OF_IDS: [&str; 3] =
    ["an id that does not have 16 bytes", "an id that does not have 8 bytes", "a trace id or span id is missing"];

/// Whether the ids that `prost` shows have the right lengths.
fn ids_fit(request: &ExportTraceServiceRequest) -> bool {
    let mut spans = request.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
    spans.all(|span| {
        span.trace_id.len() == 16
            && span.span_id.len() == 8
            && [0, 8].contains(&span.parent_span_id.len())
            && span.links.iter().all(|l| l.trace_id.len() == 16 && l.span_id.len() == 8)
    })
}

/// Checks the verdict on any bytes, and that nothing panics on what is accepted.
fn check(wire: &[u8]) {
    let theirs = ExportTraceServiceRequest::decode(wire);
    let ours = validate(wire);
    match (&theirs, &ours) {
        (Err(_), Ok(_)) => panic!("prost refuses it: {theirs:?}"),
        (Ok(request), Ok(verdict)) => {
            assert!(ids_fit(request));
            let spans = crate::model::rows(request, Table::Spans).len();
            assert_eq!(verdict.spans as usize, spans);
            assert_eq!(count_spans(wire).unwrap(), verdict.spans);
            let mut batch = Batch::parse(wire.to_vec().into()).unwrap();
            columns::check(&mut batch, request);
        }
        // Ids may fit all the same: an occurrence that another one overrides is refused as well.
        (Ok(_), Err(error)) => assert!(OF_IDS.contains(&error.what.as_str()), "prost takes it: {error}"),
        (Err(_), Err(error)) => assert!(error.offset <= wire.len()),
    }
}

/// Changes some bytes, or cuts or repeats a piece.
fn mutate(rng: &mut Rng, wire: &mut Vec<u8>) {
    for _ in 0..=rng.below(3) {
        if wire.is_empty() {
            return;
        }
        let at = rng.below(wire.len());
        match rng.below(6) {
            0 => wire[at] = rng.next() as u8,
            1 => wire[at] ^= 1 << rng.below(8),
            2 => wire.truncate(at),
            3 => {
                wire.remove(at);
            }
            4 => wire.insert(at, rng.next() as u8),
            _ => wire[at] = wire[at].wrapping_add(1),
        }
    }
}

/// Bytes that are like protobuf: plausible keys and lengths.
fn protobuf_like(rng: &mut Rng, size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..size {
        let key = (rng.below(18) as u8) << 3 | rng.below(8) as u8;
        out.push(key);
        match key & 7 {
            0 => out.push(rng.next() as u8 & 0x7F),
            2 => {
                let inner = if rng.one_in(2) { protobuf_like(rng, size / 3) } else { vec![b'a'; 3] };
                out.push(inner.len() as u8);
                out.extend(inner);
            }
            _ => out.extend(rng.bytes(4)),
        }
    }
    out
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn valid_bytes_are_accepted(seed: u64, size in 0..8usize) {
        let rng = &mut Rng::new(seed);
        let plain = request(rng, size).encode_to_vec();
        let tricks = Tricks::random(rng);
        let wire = mangle(rng, tricks, Kind::Request, &plain);
        prop_assert!(validate(&wire).is_ok());
        let verdict = validate(&plain).unwrap();
        prop_assert!(!verdict.irregular && !verdict.unknown);
        check(&wire);
    }

    #[test]
    fn mutated_bytes_get_prosts_verdict(seed: u64, size in 0..5usize) {
        let rng = &mut Rng::new(seed);
        let plain = request(rng, size).encode_to_vec();
        let tricks = Tricks::random(rng);
        let mut wire = mangle(rng, tricks, Kind::Request, &plain);
        mutate(rng, &mut wire);
        check(&wire);
    }

    #[test]
    fn random_bytes_get_prosts_verdict(seed: u64, size in 0..40usize) {
        let rng = &mut Rng::new(seed);
        check(&rng.bytes(size));
        check(&protobuf_like(rng, size / 4));
    }
}

/// `field` around `inner`, `depth` times.
fn nested(mut inner: Vec<u8>, field: u8, depth: usize) -> Vec<u8> {
    for _ in 0..depth {
        let mut outer = vec![field << 3 | 2];
        prost::encode_length_delimiter(inner.len(), &mut outer).unwrap();
        outer.extend(inner);
        inner = outer;
    }
    inner
}

#[test]
fn nesting_is_counted_as_prost_counts() {
    for depth in 40..56 {
        for leaf in [&[][..], &[0x08, 0x01], &[0x10, 0x01], &[0x98, 0x06, 0x01], &[0x9B, 0x06, 0x9C, 0x06]] {
            // Arrays in arrays: AnyValue.array_value (5) and ArrayValue.values (1) in turn.
            let mut value = leaf.to_vec();
            for _ in 0..depth {
                value = nested(nested(value, 1, 1), 5, 1);
            }
            // KeyValue.value, Resource.attributes, ResourceSpans.resource, the request.
            let wire = nested(nested(nested(nested(value, 2, 1), 1, 1), 1, 1), 1, 1);
            check(&wire);
        }
    }
    for depth in 90..110 {
        let mut group = vec![];
        for _ in 0..depth {
            group = [&[0x9B, 0x06][..], &group, &[0x9C, 0x06]].concat();
        }
        check(&group);
        check(&nested(group, 1, 1));
    }
}

#[test]
fn every_short_input_gets_prosts_verdict() {
    for a in 0..=255u8 {
        check(&[a]);
        for b in 0..=255u8 {
            check(&[a, b]);
            check(&[0x0A, 2, a, b]);
            check(&[0x0A, 4, 0x12, 2, a, b]);
        }
    }
}

#[test]
fn an_error_says_where() {
    let request = request(&mut Rng::new(7), 3);
    let mut bad = request;
    bad.resource_spans.truncate(1);
    let span = crate::generator::span(&mut Rng::new(8));
    let scope = opentelemetry_proto::tonic::trace::v1::ScopeSpans {
        spans: vec![span.clone(), opentelemetry_proto::tonic::trace::v1::Span { trace_id: vec![1; 15], ..span }],
        ..Default::default()
    };
    bad.resource_spans = vec![
        Default::default(),
        opentelemetry_proto::tonic::trace::v1::ResourceSpans { scope_spans: vec![scope], ..Default::default() },
    ];
    let error = validate(&bad.encode_to_vec()).unwrap_err();
    assert_eq!(error.path, "resourceSpans[1].scopeSpans[0].spans[1]");
    assert_eq!(error.what, "an id that does not have 16 bytes");
}
