//! What is refused, and that nothing hostile panics.

use crate::config;
use crate::edits::stage;
use crate::generator::request;
use crate::model::Op;
use crate::rng::Rng;
use proptest::prelude::*;
use prost::Message;
use sluice_spans::{Batch, Edits, Refusal, RefusalCode, Table, Texts, Values, Verdict};

fn batch() -> Batch {
    let mut rng = Rng::new(1);
    let wire = request(&mut rng, 20).encode_to_vec();
    Batch::parse(wire.into()).unwrap()
}

fn code(op: Op) -> Option<RefusalCode> {
    let mut edits = Edits::new();
    let result = stage(&mut edits, &mut batch(), op);
    assert!(edits.is_empty() || result.is_ok());
    result.err().map(|refusal: Refusal| refusal.code)
}

fn values(types: &[u8], numbers: &[u64], texts: &[&[u8]]) -> Values {
    Values { types: types.to_vec(), numbers: numbers.to_vec(), texts: texts.iter().collect() }
}

#[test]
fn edits_that_do_not_fit_are_refused() {
    use RefusalCode::{Malformed, NotPossible, OutOfRange, Unknown};
    let t = Table::Spans;
    let set = |rows: &[u32], values| code(Op::Set(t, "k".into(), rows.to_vec(), values));
    assert_eq!(code(Op::Drop(Table::Scopes, vec![0])), Some(NotPossible));
    assert_eq!(code(Op::Drop(t, vec![20])), Some(OutOfRange));
    assert_eq!(code(Op::Drop(t, vec![19])), None);
    assert_eq!(code(Op::Remove(t, "k".into(), vec![u32::MAX])), Some(OutOfRange));
    assert_eq!(code(Op::RemoveEntries(t, vec![1_000])), Some(OutOfRange));
    assert_eq!(set(&[0, 1, 2], values(&[1, 1], &[], &[b"a", b"b"])), Some(Malformed));
    assert_eq!(set(&[0, 1, 2], values(&[1], &[], &[b"a"])), None);
    assert_eq!(set(&[], values(&[], &[], &[])), None);
    assert_eq!(set(&[0], values(&[1], &[], &[b"\xFF"])), Some(Malformed));
    assert_eq!(set(&[0], values(&[7], &[], &[b"\xFF"])), None);
    assert_eq!(set(&[0], values(&[9], &[1], &[])), Some(Malformed));
    assert_eq!(set(&[0], values(&[2], &[2], &[])), Some(Malformed));
    assert_eq!(set(&[0], values(&[3], &[], &[])), Some(Malformed));
    assert_eq!(set(&[0], values(&[1], &[], &[])), Some(Malformed));
    assert_eq!(set(&[0], values(&[0], &[], &[])), None);
    // An array of one int, and what is none.
    assert_eq!(set(&[0], values(&[5], &[], &[b"\x0A\x02\x18\x01"])), None);
    assert_eq!(set(&[0], values(&[5], &[], &[b"\x0A\x03\x18\x01"])), Some(Malformed));
    assert_eq!(set(&[0], values(&[6], &[], &[b"\x08\x01"])), Some(Malformed));
    let broken = Values { types: vec![1], numbers: vec![], texts: Texts { ends: vec![5], bytes: vec![b'a'] } };
    assert_eq!(set(&[0], broken), Some(Malformed));
    let numbers = |field, number| code(Op::Numbers(t, field, vec![0], vec![number]));
    assert_eq!(numbers(1, 0), Some(Unknown));
    assert_eq!(numbers(5, 0), Some(Unknown));
    assert_eq!(numbers(10, 1 << 32), Some(Malformed));
    assert_eq!(numbers(6, 1 << 31), Some(Malformed));
    assert_eq!(numbers(6, (-1i64) as u64), None);
    assert_eq!(numbers(7, u64::MAX), None);
    let texts = |field| code(Op::Texts(t, field, vec![0], vec!["x".into()]));
    assert_eq!(texts(1), Some(Unknown));
    assert_eq!(texts(9), Some(Unknown));
    assert_eq!(texts(15), Some(Unknown));
    assert_eq!(texts(1003), Some(Unknown));
    assert_eq!(texts(u32::MAX), Some(Unknown));
    assert_eq!(texts(3), None);
}

#[test]
fn reads_that_do_not_exist_are_refused() {
    let mut b = batch();
    assert_eq!(Table::try_from(5).unwrap_err().code, RefusalCode::Unknown);
    assert_eq!(b.numbers(Table::Spans, 5).unwrap_err().code, RefusalCode::Unknown);
    assert_eq!(b.texts(Table::Links, 2).unwrap_err().code, RefusalCode::Unknown);
    assert_eq!(b.trace_ids(Table::Scopes).unwrap_err().code, RefusalCode::Unknown);
    let refusal = b.attribute(Table::Spans, b"\xFF").unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Malformed);
}

#[test]
fn a_value_for_all_rows_counts_for_each() {
    let mut b = batch();
    let rows: Vec<u32> = (0..20).collect();
    let mut edits = Edits::new();
    let value = Values::string(&"v".repeat(1_000));
    edits.set_attribute(&mut b, Table::Spans, "k", &rows, value).unwrap();
    assert!(edits.bytes() >= 20_000);
    let huge = Values::string(&"v".repeat(60 << 20));
    let refusal = edits.set_attribute(&mut b, Table::Spans, "k", &rows, huge).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Limit);
}

#[test]
fn rows_and_entries_can_be_named_again_but_not_without_end() {
    const AGAIN: usize = 65_536;
    let mut b = batch();
    let (rows, entries) = (b.len(Table::Spans), b.entries(Table::Spans, None).unwrap().0.owners.len());
    let mut edits = Edits::new();
    for (more, refused) in [(0, None), (1, Some(RefusalCode::Limit))] {
        let (rows, entries) = (vec![0; rows + AGAIN + more], vec![0; entries + AGAIN + more]);
        assert_eq!(edits.drop_rows(&mut b, Table::Spans, &rows).err().map(|refusal| refusal.code), refused);
        assert_eq!(edits.remove_entries(&mut b, Table::Spans, &entries).err().map(|refusal| refusal.code), refused);
    }
    let beyond = vec![u32::MAX; rows + AGAIN + 1];
    assert_eq!(edits.drop_rows(&mut b, Table::Spans, &beyond).unwrap_err().code, RefusalCode::OutOfRange);
    assert!(edits.bytes() >= 2 * AGAIN * 8, "what they take is counted");
}

#[test]
fn an_array_with_tricks_is_made_regular_when_it_is_set() {
    let mut b = batch();
    let mut edits = Edits::new();
    // One value with an int and then another int: the last one counts.
    let array = values(&[5], &[], &[b"\x0A\x04\x18\x01\x18\x02"]);
    edits.set_attribute(&mut b, Table::Spans, "k", &[0], array).unwrap();
    b.commit(edits);
    let column = b.attribute(Table::Spans, b"k").unwrap();
    assert_eq!(column.values.texts.get(0), b"\x0A\x02\x18\x02");
}

#[test]
fn an_unknown_field_in_a_value_that_was_set_is_cleaned() {
    let mut b = batch();
    let mut edits = Edits::new();
    let array = values(&[5], &[], &[b"\x0A\x02\x18\x01\x50\x01"]);
    edits.set_attribute(&mut b, Table::Spans, "k", &[0], array).unwrap();
    edits.clean(2);
    b.commit(edits);
    let column = b.attribute(Table::Spans, b"k").unwrap();
    assert_eq!(column.values.texts.get(0), b"\x0A\x02\x18\x01");
}

proptest! {
    #![proptest_config(config())]

    /// A verdict that is not that of the bytes gives nonsense, but no panic.
    #[test]
    fn a_wrong_verdict_does_not_panic(seed: u64, size in 0..6usize, irregular: bool) {
        let rng = &mut Rng::new(seed);
        let mut wire = request(rng, size).encode_to_vec();
        for _ in 0..rng.below(6) {
            if !wire.is_empty() {
                let at = rng.below(wire.len());
                wire[at] = rng.next() as u8;
            }
        }
        let verdict = Verdict { spans: 3, irregular, unknown: true };
        let mut b = Batch::from_validated(wire.into(), verdict);
        for t in Table::ALL {
            b.len(t);
            for field in (0..20).chain([1003, 1502, 1503]) {
                let _ = (b.numbers(t, field), b.texts(t, field));
            }
            let _ = (b.trace_ids(t), b.span_ids(t), b.entries(t, None), b.entry_keys(t, None));
            let _ = b.attribute(t, b"a");
        }
        b.durations();
        let mut edits = Edits::new();
        let rows: Vec<u32> = (0..b.len(Table::Spans) as u32).collect();
        let _ = edits.set_attribute(&mut b, Table::Spans, "a", &rows, Values::int(1));
        let _ = edits.drop_rows(&mut b, Table::Spans, &rows[rows.len() / 2..]);
        edits.clean(3);
        b.commit(edits);
        b.encode();
        b.slices(1);
    }
}
