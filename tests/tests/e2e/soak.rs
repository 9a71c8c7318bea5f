//! The soaks in short; `cargo xtask soak` runs them in full.

use std::ffi::OsStr;
use std::time::Duration;

use sluice_tests::process;
use sluice_tests::soak::{connections, kill9, outage, restart, swaps};

use crate::guests;

#[test]
fn slow_greedy_and_broken_connections_cost_little_memory_and_nobody_else() {
    let outcome = connections::run(400, Duration::from_secs(4), 42).unwrap();
    assert!(outcome.is_safe(), "{outcome:?}");
    assert!(outcome.requests > 100, "hardly anything was sent: {outcome:?}");
}

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

#[test]
fn a_rolling_restart_under_load_fails_no_request_and_loses_nothing() {
    let outcome = restart::run(3, 42).unwrap();
    assert!(outcome.is_good(), "{outcome:?}");
    assert!(outcome.acknowledged_spans > 1_000, "hardly anything was sent: {outcome:?}");
}

#[test]
fn swaps_under_load_lose_nothing_and_every_span_is_processed_by_one_version() {
    let plugin = swaps::plugin();
    guests::build(&process::workspace().join("tests/guests/versions"), &[OsStr::new("--out"), plugin.as_os_str()]);
    let outcome = swaps::run(swaps::KINDS, 42, &plugin).unwrap();
    assert!(outcome.is_lossless(), "{outcome:?}");
    assert!(outcome.acknowledged_spans > 2_000, "hardly anything was sent: {outcome:?}");
}
