//! Cutting and joining keep everything.

use crate::config;
use crate::faithful::spans_of;
use crate::generator::{request, span};
use crate::mangle::{Message as Kind, Tricks, mangle};
use crate::rng::Rng;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;
use sluice_spans::{Batch, Table, count_spans, join, split_encoded, validate};

type Owner<'a> = (Option<&'a Resource>, &'a str, ScopeSpans);

/// Every span with all that belongs to it.
fn owned(request: &ExportTraceServiceRequest) -> Vec<(Owner<'_>, &Span)> {
    let mut all = Vec::new();
    for resource in &request.resource_spans {
        for scope in &resource.scope_spans {
            let header = ScopeSpans { spans: vec![], ..scope.clone() };
            for span in &scope.spans {
                let owner = (resource.resource.as_ref(), resource.schema_url.as_str());
                all.push(((owner.0, owner.1, header.clone()), span));
            }
        }
    }
    all
}

/// The same with neighbours of one owner put together, and what is empty left in its place.
fn canonical(request: &ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    let mut out: Vec<ResourceSpans> = Vec::new();
    for resource in &request.resource_spans {
        let same =
            |other: &ResourceSpans| other.resource == resource.resource && other.schema_url == resource.schema_url;
        if !out.last().is_some_and(same) {
            out.push(ResourceSpans { scope_spans: vec![], ..resource.clone() });
        }
        let scopes = &mut out.last_mut().unwrap().scope_spans;
        for scope in &resource.scope_spans {
            match scopes.last_mut() {
                Some(last) if last.scope == scope.scope && last.schema_url == scope.schema_url => {
                    last.spans.extend(scope.spans.clone());
                }
                _ => scopes.push(scope.clone()),
            }
        }
    }
    ExportTraceServiceRequest { resource_spans: out }
}

fn check_parts(wire: &Bytes, parts: &[Bytes]) -> Result<(), TestCaseError> {
    let before = ExportTraceServiceRequest::decode(&wire[..]).unwrap();
    let decoded: Vec<_> = parts.iter().map(|part| ExportTraceServiceRequest::decode(&part[..]).unwrap()).collect();
    let spans: Vec<_> = decoded.iter().flat_map(owned).collect();
    prop_assert!(spans == owned(&before));
    let bytes = |wire: &Bytes| -> Vec<Vec<u8>> { spans_of(wire).iter().map(|span| span.1.to_vec()).collect() };
    prop_assert!(parts.iter().flat_map(bytes).collect::<Vec<_>>() == bytes(wire));
    let joined = join(parts.to_vec());
    let again = ExportTraceServiceRequest::decode(&joined[..]).unwrap();
    prop_assert!(canonical(&again) == canonical(&before), "{:#?}\n{:#?}", again, before);
    prop_assert!(joined.len() <= parts.iter().map(Bytes::len).sum());
    prop_assert!(again.resource_spans.len() <= before.resource_spans.len());
    let (theirs, ours) = (validate(wire).unwrap(), validate(&joined).unwrap());
    prop_assert_eq!(theirs, ours);
    Ok(())
}

fn wire_of(rng: &mut Rng, size: usize) -> Bytes {
    let plain = request(rng, size).encode_to_vec();
    let tricks = Tricks::random(rng);
    mangle(rng, tricks, Kind::Request, &plain).into()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn slices_keep_everything_and_are_bounded(seed: u64, size in 0..30usize, most in 1..12usize) {
        let wire = wire_of(&mut Rng::new(seed), size);
        let batch = Batch::parse(wire.clone()).unwrap();
        let spans = batch.spans() as usize;
        let mut slices = batch.slices(most);
        let mut parts = Vec::new();
        for slice in &mut slices {
            let part = slice.encode();
            prop_assert_eq!(count_spans(&part).unwrap(), slice.spans());
            prop_assert_eq!(slice.len(Table::Spans), slice.spans() as usize);
            parts.push(part);
        }
        if wire.len() < 100_000 {
            // Copies are within their allowance here, so the bound is exact.
            let counts: Vec<u32> = parts.iter().map(|part| count_spans(part).unwrap()).collect();
            prop_assert!(counts.iter().all(|&count| count as usize <= most) || small(&wire, most));
        }
        prop_assert!(parts.len() <= spans.max(1));
        check_parts(&wire, &parts)?;
    }

    #[test]
    fn split_requests_keep_everything_and_are_bounded(
        seed: u64,
        size in 0..20usize,
        bytes in 100..5_000usize,
        most in 1..20usize,
    ) {
        let wire = wire_of(&mut Rng::new(seed), size);
        let parts = split_encoded(wire.clone(), bytes, most);
        let total: usize = parts.iter().map(Bytes::len).sum();
        prop_assert!(total <= 6 * wire.len() + 100);
        check_parts(&wire, &parts)?;
    }
}

/// Whether copies of resources and scopes may have used up their allowance.
fn small(wire: &Bytes, most: usize) -> bool {
    let decoded = ExportTraceServiceRequest::decode(&wire[..]).unwrap();
    let spans = spans_of(wire);
    let of_spans: usize = spans.iter().map(|span| span.0.len()).sum();
    let headers = wire.len() - of_spans;
    headers * (spans.len() / most + decoded.resource_spans.len()) > 4 * wire.len()
}

fn one_scope(spans: usize, header: usize) -> Bytes {
    let rng = &mut Rng::new(3);
    let plain = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: (0..spans)
                    .map(|_| Span {
                        name: "n".repeat(40),
                        attributes: vec![],
                        events: vec![],
                        links: vec![],
                        status: None,
                        trace_state: String::new(),
                        ..span(rng)
                    })
                    .collect(),
                ..Default::default()
            }],
            schema_url: "s".repeat(header),
            ..Default::default()
        }],
    };
    plain.encode_to_vec().into()
}

#[test]
fn parts_are_no_larger_than_asked() {
    let wire = one_scope(1_000, 30);
    for most in [200, 777, 4_000, 50_000] {
        let parts = split_encoded(wire.clone(), most, 1_000_000);
        assert!(parts.iter().all(|part| part.len() <= most), "{most}");
        // No part is needlessly small either: two neighbours never fit into one.
        let sizes: Vec<usize> = parts.iter().map(Bytes::len).collect();
        assert!(sizes.windows(2).all(|pair| pair[0] + pair[1] > most - 200), "{most}");
    }
    let alone = split_encoded(wire.clone(), 10, 1_000_000);
    assert_eq!(alone.len(), 1_000);
    let by_count = split_encoded(wire.clone(), usize::MAX, 300);
    let counts: Vec<u32> = by_count.iter().map(|part| count_spans(part).unwrap()).collect();
    assert_eq!(counts, [300, 300, 300, 100]);
    assert_eq!(split_encoded(wire.clone(), usize::MAX, 1_000), [wire]);
}

#[test]
fn a_huge_resource_is_not_multiplied_without_bound() {
    let wire = one_scope(10_000, 500_000);
    let parts = Batch::parse(wire.clone()).unwrap().slices(1);
    let total: usize = parts.iter().map(Batch::wire_len).sum();
    assert!(total < 6 * wire.len(), "{total} of {}", wire.len());
    assert_eq!(parts.iter().map(Batch::spans).sum::<u32>(), 10_000);
}

#[test]
fn nothing_to_cut_is_one_part() {
    let parts = Batch::default().slices(10);
    assert_eq!(parts.len(), 1);
    assert_eq!(split_encoded(Bytes::new(), 10, 10), [Bytes::new()]);
    assert_eq!(join(vec![]), Bytes::new());
    assert_eq!(join(vec![Bytes::new(), Bytes::new()]), Bytes::new());
}

/// The spans of some rows and all others, as two parts.
#[test]
fn a_part_has_just_the_spans_that_were_picked_with_their_owners() {
    proptest!(config(), |(seed: u64, picks: u64)| {
        let wire: Bytes = request(&mut Rng::new(seed), 12).encode_to_vec().into();
        let before = ExportTraceServiceRequest::decode(&wire[..]).unwrap();
        let keep = |row: u32| picks >> (row % 64) & 1 == 1;
        let mut batch = Batch::parse(wire.clone()).unwrap();
        for kept in [true, false] {
            let mut part = batch.part(|row| keep(row) == kept);
            let expected: Vec<_> =
                (0u32..).zip(owned(&before)).filter(|(row, _)| keep(*row) == kept).map(|(_, span)| span).collect();
            prop_assert_eq!(part.spans() as usize, expected.len());
            let found = ExportTraceServiceRequest::decode(part.encode()).unwrap();
            // The scopes' headers have the number of their spans in `owned` taken out.
            prop_assert!(owned(&found) == expected);
            prop_assert_eq!(part.len(Table::Spans), expected.len());
        }
        prop_assert_eq!(batch.encode(), wire);
    });
}

#[test]
fn what_is_dealt_out_is_all_there_and_where_it_was_sent() {
    proptest!(config(), |(seed: u64, to: Vec<u8>, count in 1..4usize)| {
        let wire = wire_of(&mut Rng::new(seed), 12);
        let bytes: Vec<Vec<u8>> = spans_of(&wire).iter().map(|span| span.1.to_vec()).collect();
        let mut parts = Batch::parse(wire.clone()).unwrap().divide(&to, count);
        prop_assert_eq!(parts.len(), count);
        for (number, part) in parts.iter_mut().enumerate() {
            let part_of = |row: usize| to.get(row).map_or(0, |&to| usize::from(to));
            let is_here = |row: usize| number == if part_of(row) < count { part_of(row) } else { 0 };
            let expected: Vec<_> =
                bytes.iter().enumerate().filter(|(row, _)| is_here(*row)).map(|(_, span)| span.clone()).collect();
            let encoded = part.encode();
            prop_assert_eq!(validate(&encoded).unwrap().spans, part.spans());
            prop_assert!(spans_of(&encoded).iter().map(|span| span.1.to_vec()).collect::<Vec<_>>() == expected);
        }
        // Every span with the owners that it had, wherever it went.
        let before = ExportTraceServiceRequest::decode(&wire[..]).unwrap();
        let mut joined = Batch::joined(parts);
        let after = ExportTraceServiceRequest::decode(joined.encode()).unwrap();
        let sorted = |request: &ExportTraceServiceRequest| {
            let mut all: Vec<_> = owned(request).into_iter().map(|span| format!("{span:?}")).collect();
            all.sort();
            all
        };
        prop_assert!(sorted(&after) == sorted(&before));
        prop_assert_eq!(joined.spans() as usize, bytes.len());
        prop_assert_eq!(joined.len(Table::Spans), bytes.len());
        if count == 1 {
            prop_assert!(canonical(&after) == canonical(&before));
        }
    });
}
