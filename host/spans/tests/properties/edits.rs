//! Random edits of a batch against the model, over three commits.

use crate::generator::{KEYS, NEW_KEYS, request, text, value};
use crate::mangle::{Message as Kind, Tricks, mangle};
use crate::model::{Op, apply, attributes, rows};
use crate::rng::Rng;
use crate::{columns, config};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;
use sluice_spans::{Batch, Edits, Refusal, Table, Texts, Values, validate};

/// Fields that hold texts, and fields that hold numbers with their width in bits.
const TEXTS: [(Table, u32); 9] = [
    (Table::Resources, 1003),
    (Table::Scopes, 1),
    (Table::Scopes, 2),
    (Table::Scopes, 1003),
    (Table::Spans, 3),
    (Table::Spans, 5),
    (Table::Spans, 1502),
    (Table::Events, 2),
    (Table::Links, 3),
];
const NUMBERS: [(Table, u32, u32); 14] = [
    (Table::Resources, 2, 32),
    (Table::Scopes, 4, 32),
    (Table::Spans, 6, 31),
    (Table::Spans, 7, 64),
    (Table::Spans, 8, 64),
    (Table::Spans, 10, 32),
    (Table::Spans, 12, 32),
    (Table::Spans, 14, 32),
    (Table::Spans, 16, 32),
    (Table::Spans, 1503, 31),
    (Table::Events, 1, 64),
    (Table::Events, 4, 32),
    (Table::Links, 5, 32),
    (Table::Links, 6, 32),
];

fn any_key(rng: &mut Rng) -> String {
    let keys = if rng.one_in(3) { &NEW_KEYS[..] } else { &KEYS[..] };
    (*rng.pick(keys)).to_owned()
}

fn some_of(rng: &mut Rng, count: usize) -> Vec<u32> {
    let often = 1 + rng.below(4);
    let mut rows: Vec<u32> = (0..count as u32).filter(|_| rng.one_in(often)).collect();
    if rng.one_in(4) && !rows.is_empty() {
        // Out of order and with a repetition: the last one counts.
        rows.reverse();
        rows.push(*rng.pick(&rows.clone()));
    }
    rows
}

fn values(rng: &mut Rng, rows: usize) -> Values {
    let count = if rng.one_in(3) { 1 } else { rows };
    let mut all = Values::default();
    let items: Vec<_> = (0..count).map(|_| columns::shown(Some(&value(rng, 2)))).collect();
    let is_text = |kind: u8| [1, 5, 6, 7].contains(&kind);
    let (texts, numbers) =
        (items.iter().any(|item| is_text(item.0)), items.iter().any(|item| item.0 > 0 && !is_text(item.0)));
    for (kind, number, text) in items {
        all.types.push(kind);
        if numbers {
            all.numbers.push(number);
        }
        if texts {
            all.texts.push(&text);
        }
    }
    all
}

pub fn op(rng: &mut Rng, now: &ExportTraceServiceRequest) -> Op {
    let t = *rng.pick(&Table::ALL);
    let paths = rows(now, t);
    let entries: usize = paths.iter().map(|&p| attributes(now, t, p).len()).sum();
    let chosen = some_of(rng, paths.len());
    let key = any_key(rng);
    match rng.below(12) {
        0 => {
            let t = *rng.pick(&[Table::Spans, Table::Events, Table::Links]);
            Op::Drop(t, some_of(rng, rows(now, t).len()))
        }
        1 | 2 => {
            let values = values(rng, chosen.len());
            Op::Set(t, key, chosen, values)
        }
        3 => Op::Remove(t, key, chosen),
        4 => Op::Rename(t, key, any_key(rng), chosen),
        5 => {
            let chosen = some_of(rng, entries);
            let values = values(rng, chosen.len());
            Op::SetEntries(t, chosen, values)
        }
        6 => Op::RemoveEntries(t, some_of(rng, entries)),
        7 => {
            let (t, field) = *rng.pick(&TEXTS);
            let chosen = some_of(rng, rows(now, t).len());
            let count = if rng.one_in(3) { 1 } else { chosen.len() };
            let texts = (0..count).map(|_| text(rng)).collect();
            Op::Texts(t, field, chosen, texts)
        }
        8 => {
            let (t, field, bits) = *rng.pick(&NUMBERS);
            let chosen = some_of(rng, rows(now, t).len());
            let count = if rng.one_in(3) { 1 } else { chosen.len() };
            let numbers = (0..count).map(|_| rng.number() >> (64 - bits)).collect();
            Op::Numbers(t, field, chosen, numbers)
        }
        9 => Op::Clean(rng.below(4) as u32),
        _ => {
            // What all rows get alike is kept once.
            let key = (*rng.pick(&NEW_KEYS)).to_owned();
            Op::Set(t, key, (0..paths.len() as u32).collect(), values(rng, 1))
        }
    }
}

pub fn stage(edits: &mut Edits, b: &mut Batch, op: Op) -> Result<(), Refusal> {
    match op {
        Op::Drop(t, rows) => edits.drop_rows(b, t, &rows),
        Op::Set(t, key, rows, values) => edits.set_attribute(b, t, &key, &rows, values),
        Op::Remove(t, key, rows) => edits.remove_attribute(b, t, &key, &rows),
        Op::Rename(t, key, to, rows) => edits.rename_attribute(b, t, &key, &to, &rows),
        Op::SetEntries(t, entries, values) => edits.set_entries(b, t, &entries, values),
        Op::RemoveEntries(t, entries) => edits.remove_entries(b, t, &entries),
        Op::Texts(t, f, rows, texts) => {
            let texts: Texts = texts.iter().collect();
            edits.set_texts(b, t, f, &rows, texts)
        }
        Op::Numbers(t, f, rows, numbers) => edits.set_numbers(b, t, f, &rows, &numbers),
        Op::Clean(what) => {
            edits.clean(what);
            Ok(())
        }
    }
}

fn edited(seed: u64, size: usize) {
    let rng = &mut Rng::new(seed);
    let plain = request(rng, size).encode_to_vec();
    let tricks = Tricks::random(rng);
    let wire = mangle(rng, tricks, Kind::Request, &plain);
    let mut model = ExportTraceServiceRequest::decode(&wire[..]).expect("mangling keeps it valid");
    // Indexed on the way in, or when it is asked for.
    let mut batch = if rng.one_in(2) {
        Batch::parse(wire.clone().into()).expect("what prost takes is taken")
    } else {
        let verdict = validate(&wire).expect("what prost takes is taken");
        Batch::from_validated(wire.clone().into(), verdict)
    };
    if rng.one_in(2) {
        columns::check(&mut batch, &model);
    }
    for _round in 0..3 {
        let ops: Vec<Op> = (0..=rng.below(5)).map(|_| op(rng, &model)).collect();
        let mut edits = Edits::new();
        let mut cleaned = 0;
        for op in &ops {
            if let Op::Clean(what) = op {
                cleaned |= what;
            }
            stage(&mut edits, &mut batch, op.clone()).expect("a valid edit is staged");
        }
        let bound = batch.encode().len() + edits.bytes();
        let committed = batch.commit(edits);
        let dropped = apply(&mut model, &ops);
        assert_eq!(committed.dropped_spans as usize, dropped);
        assert!(committed.edited_spans <= batch.spans());
        let out = batch.encode();
        let decoded = ExportTraceServiceRequest::decode(&out[..]).expect("it encodes valid bytes");
        assert!(decoded == model, "{ops:#?}\nis  {decoded:#?}\nnot {model:#?}");
        let verdict = validate(&out).expect("it encodes what it takes");
        assert!(cleaned & 1 == 0 || !verdict.irregular);
        assert!(cleaned & 2 == 0 || !verdict.unknown);
        assert!(out.len() <= bound, "{} > {bound}", out.len());
        if rng.one_in(2) {
            columns::check(&mut batch, &model);
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn edits_do_what_they_do_to_the_structs(seed: u64, size in 0..12usize) {
        edited(seed, size);
    }
}
