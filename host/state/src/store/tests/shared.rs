//! Many threads on one store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sluice_spans::Values;

use super::super::{Store, Stores};
use super::{keys, read, staged, store};

const THREADS: u64 = 8;
const ROUNDS: u64 = 2_000;

fn on_all_threads(work: impl Fn(u64) + Sync) {
    thread::scope(|scope| {
        for number in 0..THREADS {
            let work = &work;
            scope.spawn(move || work(number));
        }
    });
}

#[test]
fn no_addition_is_lost_and_none_of_a_refused_request_counts() {
    let store = store();
    on_all_threads(|_| {
        for round in 0..ROUNDS {
            let mut request = staged(&store);
            request.add(&keys(&["all", "all", "other"]), &[1], 0).unwrap();
            request.settle(true);
            // Every fourth request is refused.
            if round % 4 != 0 {
                request.commit();
            }
        }
    });
    let passed = THREADS * ROUNDS * 3 / 4;
    assert_eq!(read(&store, &["all", "other"]), format!("i{} i{passed}", 2 * passed));
}

#[test]
fn a_bucket_gives_exactly_what_it_has() {
    let store = store();
    let taken = AtomicU64::new(0);
    on_all_threads(|thread| {
        for _ in 0..ROUNDS {
            let mut request = staged(&store);
            let took = request.take(&keys(&["b"]), &[1], 0.0, 5_000).unwrap()[0];
            // Half of the threads are refused each time and give back what they took.
            if thread % 2 == 0 {
                taken.fetch_add(u64::from(took), Ordering::Relaxed);
                request.commit();
            }
        }
    });
    // Whoever came while refused requests held tokens went without: the rest is still there.
    let mut last = staged(&store);
    let rest: u64 = (0..=5_000).map(|_| u64::from(last.take(&keys(&["b"]), &[1], 0.0, 5_000).unwrap()[0])).sum();
    assert_eq!(taken.load(Ordering::Relaxed) + rest, 5_000);
}

#[test]
fn one_of_many_swaps_wins() {
    let store = store();
    let wins = AtomicU64::new(0);
    on_all_threads(|thread| {
        for round in 0..ROUNDS {
            let mut request = staged(&store);
            let expected = Values::int(round as i64 - 1);
            let absent = Values { types: vec![0], ..Values::default() };
            let expected = if round == 0 { absent } else { expected };
            let new = Values::int(round as i64);
            let won = request.compare_and_set(&keys(&["k"]), &expected, &new, 0).unwrap()[0];
            wins.fetch_add(u64::from(won), Ordering::Relaxed);
            request.commit();
            while thread > 0 && won == 0 && read(&store, &["k"]) == format!("i{}", round as i64 - 1) {
                thread::yield_now();
            }
        }
    });
    assert!(wins.load(Ordering::Relaxed) <= ROUNDS);
    assert_eq!(read(&store, &["k"]), format!("i{}", ROUNDS - 1));
    assert_eq!(wins.load(Ordering::Relaxed), ROUNDS, "each number was set by one");
}

#[test]
fn a_store_is_never_larger_than_its_limit() {
    let store = Arc::new(Store::new(50_000));
    let most = AtomicU64::new(0);
    on_all_threads(|thread| {
        for round in 0..ROUNDS {
            let mut request = staged(&store);
            let key = format!("{thread}-{round}");
            let stored = request.set(&keys(&[&key]), &Values::string(&"x".repeat(100)), 0);
            request.settle(stored.is_ok());
            most.fetch_max(store.bytes() as u64, Ordering::Relaxed);
            request.commit();
        }
    });
    // A write is counted twice for the moment in which it is done.
    let in_flight = THREADS * 400;
    let most = most.load(Ordering::Relaxed);
    assert!((40_000..=50_000 + in_flight).contains(&most), "{most}");
    assert!((40_000..=50_000).contains(&store.bytes()), "{}", store.bytes());
}

#[test]
fn a_plugin_finds_its_store_again_and_another_layout_begins_empty() {
    let stores = Stores::default();
    let open = |plugin: &str, schema| stores.open(plugin, schema, 1000, None).0;
    let first = open("wasm/a", 1);
    super::request(&first, |staged| staged.add(&keys(&["n"]), &[1], 0)).unwrap();
    assert_eq!(read(&open("wasm/a", 1), &["n"]), "i1");
    assert_eq!(read(&open("wasm/a", 2), &["n"]), "-");
    assert_eq!(read(&open("wasm/b", 1), &["n"]), "-");
    drop(first);
    assert_eq!(read(&open("wasm/a", 1), &["n"]), "-", "nobody kept it");
}
