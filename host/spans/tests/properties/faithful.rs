//! What nobody touched leaves as it came, byte for byte; unknown fields stay even in what was
//! edited.

use crate::config;
use crate::edits::stage;
use crate::generator::request;
use crate::mangle::{Message as Kind, Tricks, mangle};
use crate::model::Op;
use crate::rng::Rng;
use bytes::Bytes;
use proptest::prelude::*;
use sluice_spans::{Batch, Edits, Table, Texts, Values, fields};
use std::collections::BTreeMap;

/// A field of a message, read the slow and simple way: number, whole, content.
pub fn fields_of(buf: &[u8]) -> Vec<(u32, &[u8], &[u8])> {
    let mut at = 0;
    let mut all = Vec::new();
    while at < buf.len() {
        let start = at;
        let key = crate::mangle::varint(buf, &mut at);
        let mut body = at;
        skip(buf, key, &mut at, &mut body);
        all.push(((key >> 3) as u32, &buf[start..at], &buf[body..at]));
    }
    all
}

fn skip(buf: &[u8], key: u64, at: &mut usize, body: &mut usize) {
    match key & 7 {
        0 => {
            crate::mangle::varint(buf, at);
        }
        1 => *at += 8,
        5 => *at += 4,
        2 => {
            let len = crate::mangle::varint(buf, at) as usize;
            *body = *at;
            *at += len;
        }
        _ => loop {
            let key = crate::mangle::varint(buf, at);
            if key & 7 == 4 {
                break;
            }
            skip(buf, key, at, &mut 0);
        },
    }
}

/// Every span of a request: its bytes with key and length, and without.
pub fn spans_of(wire: &[u8]) -> Vec<(&[u8], &[u8])> {
    let within = |buf, number| {
        let fields = fields_of(buf).into_iter();
        fields.filter(move |field| field.0 == number)
    };
    within(wire, 1)
        .flat_map(|resource| within(resource.2, 2))
        .flat_map(|scope| within(scope.2, 2))
        .map(|span| (span.1, span.2))
        .collect()
}

/// The fields that messages do not know, in order, by the path of the message.
type Unknown = BTreeMap<Vec<u32>, Vec<Vec<u8>>>;

/// The fields that a span and what is in it do not know. Those of values are left out: they go when one is set.
fn unknown_of(span: &[u8]) -> Unknown {
    let mut unknown = Unknown::new();
    find_unknown(Kind::Span, span, &[], &mut unknown);
    unknown
}

fn find_unknown(kind: Kind, message: &[u8], path: &[u32], unknown: &mut Unknown) {
    for (number, whole, content) in fields_of(message) {
        if !kind.knows(number) {
            unknown.entry(path.to_vec()).or_default().push(whole.to_vec());
        } else if let Some(child) = kind.child(number).filter(|child| *child != Kind::AnyValue) {
            find_unknown(child, content, &[path, &[number]].concat(), unknown);
        }
    }
}

fn mangled(rng: &mut Rng, size: usize, tricks: Tricks) -> Bytes {
    let plain = prost::Message::encode_to_vec(&request(rng, size));
    mangle(rng, tricks, Kind::Request, &plain).into()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_untouched_batch_is_the_same_bytes(seed: u64, size in 0..10usize) {
        let rng = &mut Rng::new(seed);
        let tricks = Tricks::random(rng);
        let wire = mangled(rng, size, tricks);
        let mut batch = Batch::parse(wire.clone()).unwrap();
        for t in Table::ALL {
            batch.attribute(t, b"a").unwrap();
        }
        let mut edits = Edits::new();
        edits.remove_attribute(&mut batch, Table::Spans, "absent", &[]).unwrap();
        batch.commit(edits);
        let out = batch.encode();
        prop_assert_eq!(out.as_ptr(), wire.as_ptr());
        prop_assert_eq!(out.len(), wire.len());
    }

    #[test]
    fn untouched_spans_leave_byte_for_byte(seed: u64, size in 0..10usize) {
        let rng = &mut Rng::new(seed);
        let tricks = Tricks::random(rng);
        let wire = mangled(rng, size, tricks);
        let before = spans_of(&wire);
        let mut batch = Batch::parse(wire.clone()).unwrap();
        let count = before.len() as u32;
        let fate: Vec<usize> = (0..count).map(|_| rng.below(3)).collect();
        let of = |fate: &[usize], wanted: usize| -> Vec<u32> {
            (0..count).filter(|&row| fate[row as usize] == wanted).collect()
        };
        let all: Vec<u32> = (0..batch.len(Table::Resources) as u32).collect();
        let mut edits = Edits::new();
        let ops = [
            Op::Drop(Table::Spans, of(&fate, 1)),
            Op::Set(Table::Spans, "new".into(), of(&fate, 2), Values::int(5)),
            Op::Set(Table::Resources, "new".into(), all, Values::bool(true)),
        ];
        for op in ops {
            stage(&mut edits, &mut batch, op).unwrap();
        }
        let committed = batch.commit(edits);
        prop_assert_eq!(committed.dropped_spans as usize, of(&fate, 1).len());
        prop_assert_eq!(committed.edited_spans as usize, of(&fate, 2).len());
        let out = batch.encode();
        let after = spans_of(&out);
        let kept = (0..before.len()).filter(|&row| fate[row] != 1);
        prop_assert_eq!(after.len(), kept.clone().count());
        for (now, row) in after.iter().zip(kept) {
            if fate[row] == 0 {
                prop_assert!(now.1 == before[row].1, "span {row}");
            }
        }
    }

    #[test]
    fn unknown_fields_stay_in_edited_spans(seed: u64, size in 1..10usize) {
        let rng = &mut Rng::new(seed);
        let tricks = Tricks { unknown: 3, repeat: 0, shuffle: *rng.pick(&[0, 3]), overlong: 0 };
        let wire = mangled(rng, size, tricks);
        let mut batch = Batch::parse(wire.clone()).unwrap();
        let rows: Vec<u32> = (0..batch.spans()).collect();
        let entries = batch.entries(Table::Spans, None).unwrap().0.owners.len() as u32;
        let mut edits = Edits::new();
        let all: Vec<u32> = (0..entries).collect();
        let name: Texts = ["name"].into_iter().collect();
        edits.set_entries(&mut batch, Table::Spans, &all, Values::string("new")).unwrap();
        edits.set_texts(&mut batch, Table::Spans, fields::span::NAME, &rows, name.clone()).unwrap();
        edits.set_texts(&mut batch, Table::Spans, fields::span::STATUS_MESSAGE, &rows, name).unwrap();
        batch.commit(edits);
        let out = batch.encode();
        let (before, after) = (spans_of(&wire), spans_of(&out));
        prop_assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            prop_assert_eq!(unknown_of(before.1), unknown_of(after.1));
        }
    }

    #[test]
    fn cleaning_is_free_when_there_is_nothing(seed: u64, size in 0..10usize) {
        let rng = &mut Rng::new(seed);
        let tricks = Tricks { unknown: 0, repeat: 0, shuffle: 3, overlong: 3 };
        let wire = mangled(rng, size, tricks);
        let mut batch = Batch::parse(wire.clone()).unwrap();
        let mut edits = Edits::new();
        edits.clean(3);
        batch.commit(edits);
        prop_assert_eq!(batch.encode().as_ptr(), wire.as_ptr());
    }

    #[test]
    fn cleaning_leaves_clean_spans_as_they_are(seed: u64, size in 1..10usize) {
        let rng = &mut Rng::new(seed);
        let tricks = Tricks { unknown: 60, repeat: 60, shuffle: 0, overlong: 4 };
        let wire = mangled(rng, size, tricks);
        let mut batch = Batch::parse(wire.clone()).unwrap();
        let mut edits = Edits::new();
        edits.clean(3);
        let committed = batch.commit(edits);
        let out = batch.encode();
        let (before, after) = (spans_of(&wire), spans_of(&out));
        prop_assert_eq!(before.len(), after.len());
        let changed = before.iter().zip(&after).filter(|(a, b)| a.1 != b.1).count();
        prop_assert_eq!(committed.edited_spans as usize, changed);
        for (before, after) in before.iter().zip(&after) {
            if !has_tricks(before.1) {
                prop_assert!(before.1 == after.1);
            }
        }
    }
}

/// Whether a span message has anything that cleaning takes out: asked of the door, which is
/// checked against `prost` elsewhere, by wrapping the span alone.
fn has_tricks(span: &[u8]) -> bool {
    let mut wire = span.to_vec();
    for number in [2, 2, 1] {
        let mut outer = vec![number << 3 | 2];
        prost::encode_length_delimiter(wire.len(), &mut outer).unwrap();
        outer.extend(wire);
        wire = outer;
    }
    let verdict = sluice_spans::validate(&wire).unwrap();
    verdict.irregular || verdict.unknown
}
