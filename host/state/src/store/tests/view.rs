//! A view keeps its writes to itself.

use std::sync::Arc;

use sluice_spans::{Texts, Values};

use super::super::{Store, Value};
use super::{keys, staged};

fn add(store: &Arc<Store>, key: &str, amount: u64) -> u64 {
    let mut staged = staged(store);
    let sums = staged.add(&keys(&[key]), &[amount], 0).unwrap();
    staged.commit();
    sums[0]
}

fn int(store: &Arc<Store>, key: &str) -> Option<i64> {
    store.get(key.as_bytes(), store.now(), |value| value.and_then(Value::as_int))
}

#[test]
fn what_a_view_writes_is_its_own_and_the_rest_is_the_stores() {
    let base = Arc::new(Store::timed_by_hand(1 << 20));
    add(&base, "both", 10);
    add(&base, "gone", 1);
    let before = base.bytes();
    let view = Arc::new(Store::over(&base));
    assert_eq!((int(&view, "both"), int(&view, "none")), (Some(10), None));
    assert_eq!(add(&view, "both", 5), 15);
    assert_eq!(add(&view, "mine", 1), 1);
    let mut request = staged(&view);
    request.remove(&keys(&["gone"])).unwrap();
    request.commit();
    assert_eq!((int(&view, "both"), int(&view, "mine"), int(&view, "gone")), (Some(15), Some(1), None));
    assert_eq!((int(&base, "both"), int(&base, "mine"), int(&base, "gone")), (Some(10), None, Some(1)));
    assert_eq!((base.bytes(), view.copied()), (before, 3));
    // What others write is seen where the view has written nothing.
    add(&base, "both", 100);
    add(&base, "late", 7);
    assert_eq!((int(&view, "both"), int(&view, "late")), (Some(15), Some(7)));
    drop(view);
    assert_eq!((int(&base, "both"), int(&base, "mine")), (Some(110), None));
}

#[test]
fn what_takes_effect_at_once_does_so_in_the_view_alone() {
    let base = Arc::new(Store::timed_by_hand(1 << 20));
    add(&base, "swap", 1);
    let take = |store: &Arc<Store>, amount: u64| {
        let mut request = staged(store);
        let taken = request.take(&keys(&["bucket"]), &[amount], 0.0, 10).unwrap();
        request.commit();
        taken[0]
    };
    assert_eq!(take(&base, 4), 1);
    let view = Arc::new(Store::over(&base));
    assert_eq!((take(&view, 7), take(&view, 6), take(&view, 1)), (0, 1, 0), "six are left in the view's");
    assert_eq!((take(&base, 6), take(&base, 1)), (1, 0), "and six in the store's");
    let value = |number: i64| Values::int(number);
    let swap = |from: i64, to: i64, keep: bool| {
        let mut request = staged(&view);
        let done = request.compare_and_set(&keys(&["swap"]), &value(from), &value(to), 0).unwrap();
        if keep {
            request.commit();
        }
        done[0]
    };
    assert_eq!((swap(2, 3, true), swap(1, 2, false)), (0, 1));
    assert_eq!(int(&view, "swap"), Some(1), "taken back");
    assert_eq!((swap(1, 2, true), int(&view, "swap"), int(&base, "swap")), (1, Some(2), Some(1)));
}

#[test]
fn a_value_lives_as_long_in_the_view_as_in_the_store() {
    let base = Arc::new(Store::timed_by_hand(1 << 20));
    let mut request = staged(&base);
    request.add(&keys(&["short"]), &[1], 1_000).unwrap();
    request.commit();
    let view = Arc::new(Store::over(&base));
    assert_eq!(add(&view, "short", 1), 2);
    base.set_time(999_999_999);
    assert_eq!(int(&view, "short"), Some(2));
    base.set_time(1_000_000_000);
    assert_eq!((int(&view, "short"), int(&base, "short")), (None, None));
    assert_eq!(add(&view, "short", 1), 1, "what was copied is gone for good");
}

#[test]
fn the_limit_holds_for_what_the_view_holds() {
    let base = Arc::new(Store::timed_by_hand(1_000));
    let view = Arc::new(Store::over(&base));
    let mut request = staged(&view);
    let ten: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    let ten: Texts = ten.iter().collect();
    assert!(request.add(&ten, &[1], 0).is_err());
    drop(request);
    assert_eq!((view.bytes(), base.bytes()), (0, 0));
}
