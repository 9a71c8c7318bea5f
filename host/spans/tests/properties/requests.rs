//! Several requests as one batch: what they are together, and which spans go out in which.

use crate::edits::{op, stage};
use crate::faithful::spans_of;
use crate::generator::request;
use crate::mangle::{Message as Kind, Tricks, mangle};
use crate::model::{Op, apply, rows, span};
use crate::rng::Rng;
use crate::{columns, config};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;
use sluice_spans::{Batch, Edits, Table, validate};

/// Requests whose spans tell by their ids which request they are of.
fn requests(rng: &mut Rng, size: usize) -> Vec<Bytes> {
    let count = 1 + rng.below(4) as u8;
    let one = |number: u8| {
        let mut request = request(rng, size);
        for scope in request.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans) {
            scope.spans.iter_mut().for_each(|span| span.trace_id = vec![number; 16]);
        }
        let tricks = Tricks::random(rng);
        Bytes::from(mangle(rng, tricks, Kind::Request, &request.encode_to_vec()))
    };
    (0..count).map(one).collect()
}

fn decode(wire: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(wire).expect("it is valid")
}

/// The first byte of the trace id of every span.
fn numbers(request: &ExportTraceServiceRequest) -> Vec<u8> {
    rows(request, Table::Spans).into_iter().map(|path| span(request, path).trace_id[0]).collect()
}

fn edited(seed: u64, size: usize) {
    let rng = &mut Rng::new(seed);
    let wires = requests(rng, size);
    // A span's trace id that occurs twice may have been mangled to be another one; the last one counts.
    let before: Vec<u8> = wires.iter().flat_map(|wire| numbers(&decode(wire))).collect();
    let mut model = decode(&wires.concat());
    let mut batch = Batch::of_requests(&wires).expect("what prost takes is taken");
    if rng.one_in(2) {
        columns::check(&mut batch, &model);
    }
    let untouched: Vec<Bytes> = batch.encode_requests().into_iter().map(|(wire, _)| wire).collect();
    assert_eq!(untouched, wires);
    for _round in 0..2 {
        let ops: Vec<Op> = (0..=rng.below(4)).map(|_| op(rng, &model)).collect();
        let mut edits = Edits::new();
        for op in &ops {
            stage(&mut edits, &mut batch, op.clone()).expect("a valid edit is staged");
        }
        batch.commit(edits);
        apply(&mut model, &ops);
        let out = batch.encode_requests();
        assert_eq!(out.len(), wires.len());
        let mut together = Vec::new();
        for (number, (wire, spans)) in out.iter().enumerate() {
            let verdict = validate(wire).expect("each is a request of its own");
            assert_eq!((verdict.spans, spans_of(wire).len()), (*spans, *spans as usize));
            let own = numbers(&decode(wire));
            assert!(own.iter().all(|&of| usize::from(of) == number), "{own:?} in {number}; {before:?}");
            together.extend_from_slice(wire);
        }
        assert!(decode(&together) == model, "{ops:#?}");
        assert_eq!(together, batch.encode());
        assert_eq!(batch.spans() as usize, rows(&model, Table::Spans).len());
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn each_request_keeps_its_own_spans(seed: u64, size in 0..8usize) {
        edited(seed, size);
    }
}

/// Two halves of a request are none, though they are one together.
#[test]
fn bytes_that_the_next_request_completes_are_malformed() {
    let whole = Bytes::from(request(&mut Rng::new(7), 6).encode_to_vec());
    assert!(Batch::of_requests(&[whole.clone(), whole.clone()]).is_ok());
    let mut found = 0;
    for at in 1..whole.len() {
        let halves = [whole.slice(..at), whole.slice(at..)];
        let each = halves.iter().all(|half| ExportTraceServiceRequest::decode(half.clone()).is_ok());
        let is_valid = halves.iter().all(|half| validate(half).is_ok());
        assert_eq!(Batch::of_requests(&halves).is_ok(), is_valid, "cut at {at}, prost says {each}");
        found += usize::from(!is_valid);
    }
    assert!(found > whole.len() / 2, "{found} of {}", whole.len());
}
