#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::{Batching, OnFull, Settings, Sizer};
use crate::config::section::read_text;
use crate::queue::Weight;

fn read(yaml: &str) -> (Settings, Vec<String>) {
    let (settings, problems) = read_text("q.yaml", yaml, |mut section| {
        let settings = Settings::read(&mut section, Settings::default());
        section.finish();
        settings
    });
    (settings, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn what_is_not_said_is_as_documented() {
    for yaml in ["", "sending_queue:", "sending_queue: { batch: }"] {
        let (settings, problems) = read(yaml);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            (settings.max_bytes, settings.size, settings.on_full, settings.consumers),
            (64 << 20, None, OnFull::Refuse, 10)
        );
        let batch =
            Batching { flush_timeout: Duration::from_millis(200), min_size: 8192, max_size: 0, sizer: Sizer::Items };
        assert_eq!((settings.batch, settings.max_send_bytes), (Some(batch), 3 << 20), "{yaml}");
    }
}

#[test]
fn the_fuller_a_queue_is_the_longer_answers_are_held_back() {
    let pause = |yaml: &str, mib: u64| {
        let (settings, problems) = read(yaml);
        assert!(problems.is_empty(), "{problems:?}");
        settings.pause(Weight { bytes: mib << 20, ..Weight::default() }).as_millis()
    };
    // Nothing up to 8 of 64 MiB, 100 ms from 64 on, and half of it half way, at 36.
    assert_eq!([0, 8, 36, 64, 80].map(|mib| pause("", mib)), [0, 0, 50, 100, 100]);
    assert_eq!(pause("sending_queue: { sizer: bytes, queue_size: 8388608 }", 8), 100);
    assert_eq!(pause("sending_queue: { on_full: block }", 36), 50);
    // Who has the queue drop wants to be held up by nothing.
    assert_eq!(
        ["newest", "oldest"].map(|which| pause(&format!("sending_queue: {{ on_full: drop_{which} }}"), 64)),
        [0, 0]
    );
}

#[test]
fn the_collectors_keys_are_read() {
    let (settings, problems) = read(
        "sending_queue: { num_consumers: 3, queue_size: 500, sizer: items, block_on_overflow: true, \
         batch: { flush_timeout: 1s, min_size: 10, max_size: 20, sizer: bytes } }",
    );
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!((settings.consumers, settings.size, settings.on_full), (3, Some((Sizer::Items, 500)), OnFull::Block));
    assert_eq!(
        settings.batch,
        Some(Batching { flush_timeout: Duration::from_secs(1), min_size: 10, max_size: 20, sizer: Sizer::Bytes })
    );
    assert_eq!(read("sending_queue: { batch: { enabled: false } }").0.batch, None);
    assert!(read("sending_queue: { wait_for_result: true }").0.wait_for_result && !settings.wait_for_result);
    assert_eq!(read("sending_queue: { on_full: drop_oldest }").0.on_full, OnFull::DropOldest);
}

#[test]
fn storage_names_an_extension_that_is_found_later() {
    let (settings, problems) = read("sending_queue: { storage: file_storage/q, queue_size: 100000, sizer: bytes }");
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!((settings.max_bytes, settings.max_age), (100_000, None));
    let (aged, problems) = read("sending_queue: { storage: file_storage, max_age: 36h }");
    assert_eq!((aged.max_age, problems.len()), (Some(Duration::from_hours(36)), 0));
    assert_eq!(read("sending_queue: { max_age: 0 }"), (Settings::default(), Vec::new()));
    let storage = settings.storage.unwrap();
    assert_eq!((storage.extension.to_string(), storage.folder), ("file_storage/q".to_owned(), None));
}

#[test]
fn what_is_not_supported_or_cannot_be_is_told() {
    for (yaml, told) in [
        ("sending_queue: { storage: 'file_storage/' }", "is no extension id"),
        ("sending_queue: { storage: file_storage, wait_for_result: true }", "cannot be combined with `storage`"),
        (
            "sending_queue: { storage: file_storage, sizer: bytes, queue_size: 1000 }",
            "`queue_size` must be at least 65536 bytes",
        ),
        ("sending_queue: { wait_for_result: true, on_full: drop_oldest }", "use `refuse` or `block`"),
        ("sending_queue: { max_age: 1h }", "`max_age` without `storage` is not supported yet"),
        ("sending_queue: { enabled: false }", "`enabled: false`: an exporter without a queue is not supported yet"),
        ("sending_queue: { queue_size: 0 }", "`queue_size` must be at least 1"),
        ("sending_queue: { batch: { min_size: 5, max_size: 4 } }", "`max_size` must not be smaller than `min_size`"),
        ("sending_queue: { on_full: explode }", "`on_full` must be `refuse`"),
    ] {
        let (_, problems) = read(yaml);
        assert!(problems.len() == 1 && problems.iter().all(|problem| problem.contains(told)), "{yaml}: {problems:?}");
    }
}
