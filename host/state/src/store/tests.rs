//! What the store promises.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod kept;
mod model;
mod requests;
mod shared;
mod view;

use std::sync::Arc;

use sluice_spans::{RefusalCode, Texts, Values};

use super::{Staged, Store};

const SECOND: u64 = 1_000_000_000;

fn keys(keys: &[&str]) -> Texts {
    keys.iter().collect()
}

fn staged(store: &Arc<Store>) -> Staged {
    let mut staged = Staged::default();
    staged.on(store);
    staged
}

fn store() -> Arc<Store> {
    Arc::new(Store::timed_by_hand(1 << 20))
}

/// What a request that begins now reads: `i` before an int, `-` for nothing.
fn read(store: &Arc<Store>, names: &[&str]) -> String {
    shown(&staged(store).get(&keys(names), 1 << 20).unwrap())
}

fn shown(values: &Values) -> String {
    let one = |(i, kind): (usize, &u8)| match kind {
        0 => "-".to_owned(),
        2..=4 => format!("i{}", values.numbers[i] as i64),
        _ => String::from_utf8_lossy(values.texts.get(i)).into_owned(),
    };
    values.types.iter().enumerate().map(one).collect::<Vec<_>>().join(" ")
}

/// Does something as a request of its own that passes.
fn request<T>(store: &Arc<Store>, work: impl FnOnce(&mut Staged) -> T) -> T {
    let mut staged = staged(store);
    let done = work(&mut staged);
    staged.settle(true);
    staged.commit();
    done
}

#[test]
fn a_value_comes_back_as_it_was_set_with_its_type() {
    let store = store();
    let values = Values {
        types: vec![1, 2, 3, 4, 5, 6, 7],
        numbers: vec![0, 1, u64::MAX, 0.5_f64.to_bits(), 0, 0, 0],
        texts: keys(&["text", "", "", "", "array", "map", "\u{1}"]),
    };
    let names = keys(&["a", "b", "c", "d", "e", "f", "g"]);
    request(&store, |staged| staged.set(&names, &values, 0)).unwrap();
    assert_eq!(staged(&store).get(&names, 1 << 20).unwrap(), values);
}

#[test]
fn one_value_serves_for_many_keys_and_absent_removes() {
    let store = store();
    let names = keys(&["a", "b"]);
    request(&store, |staged| staged.set(&names, &Values::string("x"), 0)).unwrap();
    assert_eq!(read(&store, &["a", "b", "c"]), "x x -");
    let absent = Values { types: vec![0], ..Values::default() };
    request(&store, |staged| staged.set(&keys(&["a"]), &absent, 0)).unwrap();
    assert_eq!(read(&store, &["a", "b"]), "- x");
    request(&store, |staged| staged.remove(&keys(&["b"]))).unwrap();
    assert_eq!((read(&store, &["a", "b"]).as_str(), store.bytes()), ("- -", 0));
}

#[test]
fn additions_add_up_and_overflow_wraps() {
    let store = store();
    let sums = request(&store, |staged| staged.add(&keys(&["a", "b", "a"]), &[1, 2, 3], 0)).unwrap();
    assert_eq!(sums, [1, 2, 4]);
    let sums = request(&store, |staged| staged.add(&keys(&["a"]), &[-5_i64 as u64], 0)).unwrap();
    assert_eq!(sums[0] as i64, -1);
    request(&store, |staged| staged.add(&keys(&["b"]), &[i64::MAX as u64], 0)).unwrap();
    assert_eq!(read(&store, &["b"]), format!("i{}", i64::MIN + 1));
}

#[test]
fn a_value_is_gone_when_its_time_is_over_and_so_are_its_bytes() {
    let store = store();
    request(&store, |staged| staged.set(&keys(&["short", "long"]), &Values::string("x"), 1000)).unwrap();
    request(&store, |staged| staged.set(&keys(&["long"]), &Values::string("y"), 5000)).unwrap();
    store.set_time(SECOND - 1);
    assert_eq!(read(&store, &["short", "long"]), "x y");
    store.set_time(SECOND);
    assert_eq!(read(&store, &["short", "long"]), "- y");
    store.set_time(5 * SECOND);
    assert_eq!(read(&store, &["long"]), "-");
    // Writes clear away what is over; 64 of them come by every shard.
    for number in 0..200 {
        let key = format!("other-{number}");
        request(&store, |staged| staged.set(&keys(&[&key]), &Values::string("z"), 0)).unwrap();
        request(&store, |staged| staged.remove(&keys(&[&key]))).unwrap();
    }
    assert_eq!(store.bytes(), 0);
}

#[test]
fn a_counter_lives_from_its_first_addition_on() {
    let store = store();
    let add = |store: &Arc<Store>| request(store, |staged| staged.add(&keys(&["window"]), &[1], 1000)).unwrap()[0];
    assert_eq!(add(&store), 1);
    store.set_time(SECOND - 1);
    assert_eq!(add(&store), 2);
    store.set_time(SECOND);
    assert_eq!(add(&store), 1, "the next window");
}

#[test]
fn a_full_store_refuses_and_serves_what_it_has() {
    let store = Arc::new(Store::timed_by_hand(1000));
    request(&store, |staged| staged.set(&keys(&["a"]), &Values::string(&"x".repeat(500)), 1000)).unwrap();
    let mut other = staged(&store);
    let refusal = other.set(&keys(&["b"]), &Values::string(&"y".repeat(500)), 0).unwrap_err();
    assert_eq!((refusal.code, other.is_full()), (RefusalCode::Limit, true));
    other.set(&keys(&["a"]), &Values::string(&"z".repeat(500)), 1000).unwrap();
    other.settle(true);
    assert_eq!(other.full_calls(), 1);
    other.commit();
    assert_eq!(read(&store, &["a"]), "z".repeat(500));
    assert!(store.bytes() <= 1000);
    // What is over makes room at once.
    store.set_time(SECOND);
    request(&store, |staged| staged.set(&keys(&["b"]), &Values::string(&"y".repeat(500)), 0)).unwrap();
    assert_eq!(read(&store, &["a", "b"]), format!("- {}", "y".repeat(500)));
}

#[test]
fn requests_under_way_cannot_promise_the_same_room_twice() {
    let store = Arc::new(Store::timed_by_hand(1000));
    let value = Values::string(&"x".repeat(500));
    let (mut first, mut second) = (staged(&store), staged(&store));
    first.set(&keys(&["a"]), &value, 0).unwrap();
    assert!(second.set(&keys(&["b"]), &value, 0).is_err());
    drop(first);
    second.set(&keys(&["b"]), &value, 0).unwrap();
    drop(second);
    assert_eq!(store.bytes(), 0);
}

#[test]
fn what_is_not_well_formed_is_refused_and_does_nothing() {
    let store = store();
    let mut staged = staged(&store);
    let two = keys(&["a", "b"]);
    let lying = Texts { ends: vec![9], bytes: vec![0] };
    let malformed = [
        staged.set(&lying, &Values::int(1), 0),
        staged.set(&two, &Values { types: vec![1, 1, 1], ..Values::default() }, 0),
        staged.set(&two, &Values { types: vec![1], ..Values::default() }, 0),
        staged.set(&two, &Values { types: vec![3], ..Values::default() }, 0),
        staged.set(&two, &Values { types: vec![8], numbers: vec![0], texts: keys(&[""]) }, 0),
        staged.set(&two, &Values { types: vec![2], numbers: vec![2], ..Values::default() }, 0),
        staged.set(&two, &Values { types: vec![1], numbers: vec![], texts: [[0xff]].iter().collect() }, 0),
        staged.add(&two, &[1, 2, 3], 0).map(drop),
        staged.take(&two, &[1], f64::NAN, 1).map(drop),
        staged.take(&two, &[1], -1.0, 1).map(drop),
        staged.compare_and_set(&two, &Values::default(), &Values::int(1), 0).map(drop),
        staged.get(&lying, 100).map(drop),
    ];
    for (number, result) in malformed.into_iter().enumerate() {
        assert_eq!(result.unwrap_err().code, RefusalCode::Malformed, "case {number}");
    }
    let long = "k".repeat(1025);
    assert_eq!(staged.get(&keys(&[&long]), 100).unwrap_err().code, RefusalCode::Limit);
    let many: Texts = (0..65_537).map(|_| "").collect();
    assert_eq!(staged.get(&many, 100).unwrap_err().code, RefusalCode::Limit);
    staged.settle(true);
    staged.commit();
    assert_eq!((store.bytes(), read(&store, &["a", "b"]).as_str()), (0, "- -"));
}

#[test]
fn an_answer_is_not_larger_than_what_may_cross() {
    let store = store();
    request(&store, |staged| staged.set(&keys(&["a"]), &Values::string(&"x".repeat(60)), 0)).unwrap();
    let staged = staged(&store);
    assert!(staged.get(&keys(&["a"]), 100).is_ok());
    assert_eq!(staged.get(&keys(&["a", "a"]), 100).unwrap_err().code, RefusalCode::Limit);
}
