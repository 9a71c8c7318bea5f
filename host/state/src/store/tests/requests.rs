//! What a request does counts once it has passed, or not at all.

use sluice_spans::{RefusalCode, Values};

use super::{SECOND, keys, read, request, shown, staged, store};

#[test]
fn writes_are_seen_by_their_request_at_once_and_by_others_when_it_has_passed() {
    let store = store();
    request(&store, |staged| staged.add(&keys(&["n"]), &[10], 0)).unwrap();
    let mut first = staged(&store);
    first.set(&keys(&["s"]), &Values::string("mine"), 0).unwrap();
    first.add(&keys(&["n"]), &[1], 0).unwrap();
    first.settle(true);
    assert_eq!(shown(&first.get(&keys(&["s", "n"]), 100).unwrap()), "mine i11");
    assert_eq!(read(&store, &["s", "n"]), "- i10");
    // What others add meanwhile is in the sum.
    request(&store, |staged| staged.add(&keys(&["n"]), &[100], 0)).unwrap();
    assert_eq!(shown(&first.get(&keys(&["n"]), 100).unwrap()), "i111");
    first.commit();
    assert_eq!(read(&store, &["s", "n"]), "mine i111");
}

#[test]
fn a_request_that_is_refused_leaves_nothing() {
    let store = store();
    request(&store, |staged| staged.set(&keys(&["old"]), &Values::string("x"), 0)).unwrap();
    let before = store.bytes();
    let mut refused = staged(&store);
    refused.set(&keys(&["new"]), &Values::string("y"), 0).unwrap();
    refused.remove(&keys(&["old"])).unwrap();
    let swapped = refused.compare_and_set(&keys(&["cas"]), &absent(), &Values::int(1), 0).unwrap();
    assert_eq!((swapped, read(&store, &["cas"]).as_str()), (vec![1], "i1"), "a swap is there at once");
    refused.settle(true);
    drop(refused);
    assert_eq!(read(&store, &["old", "new", "cas"]), "x - -");
    assert_eq!(store.bytes(), before);
}

#[test]
fn a_call_that_fails_takes_back_its_own_and_not_what_earlier_calls_did() {
    let store = store();
    let mut request = staged(&store);
    request.add(&keys(&["n", "once"]), &[1], 0).unwrap();
    request.take(&keys(&["bucket"]), &[1], 0.0, 3).unwrap();
    request.settle(true);
    request.add(&keys(&["n"]), &[10], 0).unwrap();
    request.set(&keys(&["once"]), &Values::string("changed"), 0).unwrap();
    request.remove(&keys(&["n"])).unwrap();
    assert_eq!(request.take(&keys(&["bucket", "bucket", "bucket"]), &[1], 0.0, 3).unwrap(), [1, 1, 0]);
    request.settle(false);
    request.add(&keys(&["n"]), &[100], 0).unwrap();
    request.settle(true);
    request.commit();
    assert_eq!(read(&store, &["n", "once"]), "i101 i1");
    assert_eq!(super::request(&store, |next| next.take(&keys(&["bucket"; 3]), &[1], 0.0, 3)).unwrap(), [1, 1, 0]);
}

#[test]
fn a_request_needs_what_it_has_of_different_keys_however_many_calls_it_takes() {
    let store = store();
    let mut request = staged(&store);
    let call = |request: &mut crate::Staged, key: &str| {
        request.add(&keys(&[key, "n"]), &[1], 0).unwrap();
        request.set(&keys(&["text"]), &Values::string("0123456789"), 0).unwrap();
        assert_eq!(request.take(&keys(&["bucket", key]), &[1], 0.0, 1_000).unwrap(), [1, 1]);
        request.settle(true);
        request.bytes()
    };
    let first = call(&mut request, "a");
    // Two counters, a text, two buckets.
    assert_eq!(first, 5 * crate::ENTRY_BYTES + 2 + 14 + 7);
    for _ in 0..100 {
        assert_eq!(call(&mut request, "a"), first);
    }
    assert_eq!(call(&mut request, "b"), first + 2 * crate::ENTRY_BYTES + 2);
    request.set(&keys(&["text", "c"]), &Values::string("longer than before"), 0).unwrap();
    request.settle(false);
    assert_eq!(request.bytes(), first + 2 * crate::ENTRY_BYTES + 2, "a call that failed leaves nothing");
    drop(request);
    let taken = super::request(&store, |next| next.take(&keys(&["bucket"]), &[1_000], 0.0, 1_000));
    assert_eq!(taken.unwrap(), [1], "all is put back");
}

fn absent() -> Values {
    Values { types: vec![0], ..Values::default() }
}

#[test]
fn a_swap_needs_the_very_value_that_is_expected() {
    let store = store();
    let swap = |expected: &Values, new: &Values| {
        request(&store, |staged| staged.compare_and_set(&keys(&["k"]), expected, new, 0)).unwrap()[0]
    };
    assert_eq!(swap(&Values::int(0), &Values::int(1)), 0, "there is none");
    assert_eq!(swap(&absent(), &Values::int(1)), 1);
    assert_eq!(swap(&absent(), &Values::int(2)), 0, "there is one");
    assert_eq!(swap(&Values::bool(true), &Values::int(2)), 0, "1 is not true");
    assert_eq!(swap(&Values::int(1), &Values::string("x")), 1);
    assert_eq!(swap(&Values::string("x"), &absent()), 1);
    assert_eq!((read(&store, &["k"]).as_str(), store.bytes()), ("-", 0));
}

#[test]
fn a_swap_that_was_overtaken_is_not_taken_back() {
    let store = store();
    let mut refused = staged(&store);
    refused.compare_and_set(&keys(&["k"]), &absent(), &Values::int(1), 0).unwrap();
    request(&store, |staged| staged.compare_and_set(&keys(&["k"]), &Values::int(1), &Values::int(2), 0)).unwrap();
    drop(refused);
    assert_eq!(read(&store, &["k"]), "i2");
}

#[test]
fn several_swaps_of_one_key_are_taken_back_in_order() {
    let store = store();
    request(&store, |staged| staged.set(&keys(&["k"]), &Values::int(0), 0)).unwrap();
    let mut refused = staged(&store);
    for n in 0..3 {
        let swapped = refused.compare_and_set(&keys(&["k"]), &Values::int(n), &Values::int(n + 1), 0).unwrap();
        assert_eq!(swapped, [1]);
    }
    let removed = refused.compare_and_set(&keys(&["k"]), &Values::int(3), &absent(), 0).unwrap();
    assert_eq!((removed, read(&store, &["k"]).as_str()), (vec![1], "-"));
    drop(refused);
    assert_eq!(read(&store, &["k"]), "i0");
}

#[test]
fn a_swap_of_what_the_request_has_staged_is_refused() {
    let store = store();
    let mut staged = staged(&store);
    staged.add(&keys(&["k"]), &[1], 0).unwrap();
    let refusal = staged.compare_and_set(&keys(&["other", "k"]), &absent(), &Values::int(1), 0).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotPossible);
    assert_eq!(read(&store, &["other"]), "-");
}

#[test]
fn a_bucket_gives_its_burst_and_then_its_rate() {
    let store = store();
    let take = |amount: u64| request(&store, |staged| staged.take(&keys(&["b"]), &[amount], 2.0, 10)).unwrap()[0];
    assert_eq!((take(8), take(3), take(2), take(1)), (1, 0, 1, 0));
    store.set_time(SECOND / 2 - 1);
    assert_eq!(take(1), 0);
    store.set_time(SECOND / 2);
    assert_eq!((take(1), take(1)), (1, 0));
    store.set_time(100 * SECOND);
    assert_eq!((take(11), take(10), take(1)), (0, 1, 0), "never more than the burst");
}

#[test]
fn a_bucket_is_kept_until_it_is_full() {
    let store = store();
    let names: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    let all = names.iter().collect();
    assert_eq!(request(&store, |staged| staged.take(&all, &[5], 1.0, 10)).unwrap(), [1; 500]);
    let kept = store.bytes();
    store.set_time(4 * SECOND);
    // Taking from some clears away what is full in their shards, which nothing is yet.
    assert_eq!(request(&store, |staged| staged.take(&all, &[10], 1.0, 10)).unwrap(), [0; 500]);
    assert_eq!(store.bytes(), kept);
    store.set_time(60 * SECOND);
    // Each clears eight of some thirty in a shard. That one of the 16 is met by less than four of a thousand keys has a
    // chance of less than 10^-20.
    for number in 0..1_000 {
        let key = format!("other-{number}");
        request(&store, |staged| staged.add(&keys(&[&key]), &[1], 0)).unwrap();
        request(&store, |staged| staged.remove(&keys(&[&key]))).unwrap();
    }
    assert_eq!(store.bytes(), 0);
}
