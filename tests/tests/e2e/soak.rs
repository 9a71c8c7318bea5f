//! The soaks in short; `cargo xtask soak` runs them in full.

use std::time::Duration;

use sluice_tests::soak::{kill9, outage};

#[test]
fn no_acknowledged_span_is_lost_by_kill_9() {
    let outcome = kill9::run(6, 42).unwrap();
    assert!(outcome.is_good(), "{outcome:?}");
    assert!(outcome.acknowledged_spans > 100, "hardly anything was sent: {outcome:?}");
}

#[test]
fn an_outage_costs_disk_and_no_memory_and_everything_is_delivered_afterwards() {
    let outcome = outage::run(Duration::from_secs(3), 42).unwrap();
    assert!(outcome.is_good(), "{outcome:?}");
    assert!(outcome.disk_bytes > 100_000, "hardly anything was on disk: {outcome:?}");
}
