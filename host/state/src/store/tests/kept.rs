//! A store that outlives its process.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::{fs, path::Path};

use proptest::prelude::*;
use sluice_spans::Values;

use super::super::{NotRead, Store, Stores};
use super::{SECOND, keys, read, request, store};

/// The store as it comes out of its file so many nanoseconds later.
fn reread(store: &Store, later: u64) -> Arc<Store> {
    Arc::new(Store::from_bytes(&store.to_bytes(1000), 1000 + later, 1 << 20).unwrap())
}

#[test]
fn what_was_written_is_there_with_its_times() {
    let store = store();
    let values = Values {
        types: vec![1, 3, 4, 7],
        numbers: vec![0, u64::MAX, 0.5_f64.to_bits(), 0],
        texts: keys(&["text", "", "", "\u{0}"]),
    };
    request(&store, |staged| staged.set(&keys(&["a", "b", "c", "d"]), &values, 0)).unwrap();
    request(&store, |staged| staged.set(&keys(&["short"]), &Values::string("s"), 10_000)).unwrap();
    request(&store, |staged| staged.set(&keys(&["long"]), &Values::string("l"), 60_000)).unwrap();
    request(&store, |staged| staged.take(&keys(&["bucket"]), &[10], 1.0, 10)).unwrap();
    store.set_time(2 * SECOND);
    let again = reread(&store, 7 * SECOND);
    assert_eq!(again.bytes(), store.bytes());
    assert_eq!(read(&again, &["a", "b", "c", "short", "long"]), read(&store, &["a", "b", "c", "short", "long"]));
    // 2 and 7 seconds have filled 9 tokens.
    let take = |amount: u64| request(&again, |staged| staged.take(&keys(&["bucket"]), &[amount], 1.0, 10)).unwrap();
    assert_eq!((take(10), take(9)), (vec![0], vec![1]));
    let later = reread(&store, 9 * SECOND);
    assert_eq!(read(&later, &["short", "long", "d"]), "- l \u{0}");
    assert!(later.bytes() < store.bytes());
}

#[test]
fn what_a_request_has_not_committed_is_not_in_the_file() {
    let store = store();
    let mut staged = super::staged(&store);
    staged.set(&keys(&["k"]), &Values::string("x"), 0).unwrap();
    let again = reread(&store, 0);
    assert_eq!((read(&again, &["k"]).as_str(), again.bytes()), ("-", 0));
}

fn open(stores: &Stores, folder: &Path) -> Arc<Store> {
    let (store, problem) = stores.open("wasm/a b", 3, 1 << 20, Some(folder));
    assert!(problem.is_none());
    store
}

#[test]
fn a_kept_store_is_written_when_it_has_changed_and_found_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("stores");
    let file = place.join("wasm%2Fa%20b.3.store");
    let stores = Stores::default();
    let first = open(&stores, &place);
    assert!(stores.save().is_empty());
    assert!(!file.exists(), "nothing to write");
    request(&first, |staged| staged.add(&keys(&["n"]), &[5], 0)).unwrap();
    assert!(stores.save().is_empty());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place), mode(&file)), (0o700, 0o600));
    let written = fs::metadata(&file).unwrap().modified().unwrap();
    assert!(stores.save().is_empty());
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written, "nothing has changed");
    assert_eq!(read(&open(&Stores::default(), &place), &["n"]), "i5");
    // Another layout, and a store that is not kept, begin empty.
    let (other, _) = Stores::default().open("wasm/a b", 4, 1 << 20, Some(&place));
    let (memory, _) = Stores::default().open("wasm/a b", 3, 1 << 20, None);
    assert_eq!((read(&other, &["n"]).as_str(), read(&memory, &["n"]).as_str()), ("-", "-"));
}

#[test]
fn where_a_store_is_kept_is_for_the_version_that_serves_to_say() {
    let folder = tempfile::tempdir().unwrap();
    let [here, there] = ["here", "there"].map(|name| folder.path().join(name));
    let stores = Stores::default();
    let store = open(&stores, &here);
    let saved_after_one_more = |place: &Path| {
        request(&store, |staged| staged.add(&keys(&["n"]), &[1], 0)).unwrap();
        assert!(stores.save().is_empty());
        read(&open(&Stores::default(), place), &["n"])
    };
    for wanted in [None, Some(&*there)] {
        let (prepared, _) = stores.open("wasm/a b", 3, 1 << 20, wanted);
        assert!(Arc::ptr_eq(&prepared, &store));
    }
    assert_eq!(saved_after_one_more(&here), "i1", "who is only prepared changes nothing");
    stores.keep("wasm/a b", 3, None);
    assert_eq!(saved_after_one_more(&here), "i1", "it is not kept any more");
    stores.keep("wasm/a b", 3, Some(&there));
    assert_eq!(saved_after_one_more(&there), "i3");
    stores.keep("wasm/a b", 3, Some(&here));
    assert!(stores.save().is_empty());
    assert_eq!(read(&open(&Stores::default(), &here), &["n"]), "i3", "all of it, at once");
}

#[test]
fn what_the_last_user_has_done_is_written_and_then_the_store_goes() {
    let folder = tempfile::tempdir().unwrap();
    let stores = Stores::default();
    let store = open(&stores, folder.path());
    request(&store, |staged| staged.add(&keys(&["n"]), &[5], 0)).unwrap();
    let last = Arc::downgrade(&store);
    drop(store);
    assert!(last.upgrade().is_some());
    assert!(stores.save().is_empty());
    assert!(last.upgrade().is_none());
    assert_eq!(read(&open(&stores, folder.path()), &["n"]), "i5");
}

#[test]
fn a_damaged_file_is_told_of_and_the_store_begins_empty() {
    let folder = tempfile::tempdir().unwrap();
    let stores = Stores::default();
    let store = open(&stores, folder.path());
    request(&store, |staged| staged.add(&keys(&["n"]), &[5], 0)).unwrap();
    assert!(stores.save().is_empty());
    let file = folder.path().join("wasm%2Fa%20b.3.store");
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    for damaged in [&whole[..whole.len() - 1], &flipped, b"", b"sluice store 1\n"] {
        fs::write(&file, damaged).unwrap();
        let (store, problem) = Stores::default().open("wasm/a b", 3, 1 << 20, Some(folder.path()));
        assert!(matches!(problem, Some(NotRead::Damaged)));
        assert_eq!(read(&store, &["n"]), "-");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("stores");
    fs::write(&place, "a file where the folder should be").unwrap();
    let stores = Stores::default();
    let (store, _) = stores.open("wasm/a b", 3, 1 << 20, Some(&place));
    request(&store, |staged| staged.add(&keys(&["n"]), &[5], 0)).unwrap();
    assert_eq!(stores.save().len(), 1);
    fs::remove_file(&place).unwrap();
    assert!(stores.save().is_empty());
    assert_eq!(read(&open(&Stores::default(), &place), &["n"]), "i5");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), cut in any::<prop::sample::Index>()) {
        use sha2::{Digest as _, Sha256};
        // With a digest that fits, so that what is inside is looked at.
        for body in [bytes.clone(), [&b"sluice store 1\n"[..], &bytes].concat()] {
            let whole = [body.clone(), Sha256::digest(&body).to_vec()].concat();
            let _ = Store::from_bytes(&whole, 0, 1000);
            let _ = Store::from_bytes(&whole[..cut.index(whole.len())], 0, 1000);
        }
    }
}
