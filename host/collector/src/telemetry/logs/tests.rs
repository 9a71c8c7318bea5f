#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::time::{Duration, Instant};

use prometheus::Registry;
use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;

use super::Logger;
use crate::account::{Account, Delivery, Watch};
use std::sync::atomic::Ordering;

thread_local! {
    /// Every test has a thread of its own.
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn keep(line: &str) {
    LINES.with_borrow_mut(|lines| lines.push(line.to_owned()));
}

/// The lines of what `work` logs.
fn logged(json: bool, level: LevelFilter, work: impl FnOnce()) -> Vec<String> {
    let logger: &'static Logger = Box::leak(Box::new(Logger::new(keep)));
    logger.json.store(json, Ordering::Relaxed);
    logger.set(level, level.min(LevelFilter::WARN));
    tracing::subscriber::with_default(logger, work);
    LINES.take()
}

fn objects(work: impl FnOnce()) -> Vec<Value> {
    logged(true, LevelFilter::INFO, work).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_of_json_holds_the_fields_with_their_types() {
    let dropped = json!({ "filter": { "matched": 3 } }).to_string();
    let lines = objects(|| {
        tracing::info!(event = "listening", component = "otlp", protocol = "grpc", address = %"127.0.0.1:43121");
        tracing::warn!(
            event = "account",
            missing = -1_i64,
            spans = 7_u64,
            ok = true,
            share = 0.5,
            json.dropped = dropped,
            json.bad = "{",
            "it \"is\"\nso"
        );
    });
    let rest = |line: &Value| {
        let mut line = line.as_object().unwrap().clone();
        let time = line.remove("time").unwrap();
        assert_eq!(time.as_str().unwrap().len(), "2026-11-21T05:45:52.123Z".len());
        Value::Object(line)
    };
    assert_eq!(
        rest(&lines[0]),
        json!({ "level": "info", "event": "listening", "component": "otlp", "protocol": "grpc", "address": "127.0.0.1:43121" })
    );
    let expected = json!({
        "level": "warn", "event": "account", "missing": -1, "spans": 7, "ok": true, "share": 0.5,
        "dropped": { "filter": { "matched": 3 } }, "bad": "{", "message": "it \"is\"\nso",
    });
    assert_eq!(rest(&lines[1]), expected);
}

#[test]
fn a_line_on_the_console_is_one_line_for_people() {
    let lines = logged(false, LevelFilter::INFO, || {
        tracing::info!(event = "ready", ms = 12);
        tracing::error!(event = "x", reason = "no room", empty = "", "it\nbroke \u{1b}[31m");
    });
    let rest = |line: &str| line.split_once(' ').unwrap().1.to_owned();
    assert_eq!(rest(&lines[0]), "INFO  ready ms=12\n");
    assert_eq!(rest(&lines[1]), "ERROR it\\nbroke \\u{1b}[31m event=x reason=\"no room\" empty=\"\"\n");
}

#[test]
fn only_what_the_level_allows_is_shown_and_of_dependencies_less() {
    let work = || {
        tracing::debug!("debug");
        tracing::info!("info");
        tracing::warn!("warn");
        tracing::info!(target: "hyper", "theirs");
        tracing::warn!(target: "hyper", "their warning");
    };
    let shown = |level| {
        let lines = logged(true, level, work);
        let message =
            |line: &String| serde_json::from_str::<Value>(line).unwrap()["message"].as_str().unwrap().to_owned();
        lines.iter().map(message).collect::<Vec<_>>()
    };
    assert_eq!(shown(LevelFilter::DEBUG), ["debug", "info", "warn", "their warning"]);
    assert_eq!(shown(LevelFilter::INFO), ["info", "warn", "their warning"]);
    assert_eq!(shown(LevelFilter::ERROR), [""; 0]);
}

#[test]
fn an_account_that_does_not_add_up_is_told_and_so_is_when_it_does_again() {
    let account = Account::new(&Registry::new()).unwrap();
    let destination = account.destination("traces/a", "otlp/b");
    let (mut watch, start, patience) = (Watch::new(account), Instant::now(), Duration::from_secs(30));
    let lines = objects(|| {
        destination.passed(10);
        // Of ten spans upstream has got seven.
        destination.delivered(&Delivery { held: 10, delivered: 7, ..Delivery::default() });
        for seconds in [0, 29, 30, 31] {
            watch.look(start + Duration::from_secs(seconds), patience);
        }
        destination.delivered(&Delivery { delivered: 3, ..Delivery::default() });
        watch.look(start + Duration::from_secs(32), patience);
    });
    let [told, balanced] = &lines[..] else { panic!("{lines:?}") };
    for (key, value) in [
        ("event", json!("account.imbalance")),
        ("level", json!("error")),
        ("kind", json!("destination")),
        ("name", json!("traces/a")),
        ("destination", json!("otlp/b")),
        ("missing", json!(3)),
    ] {
        assert_eq!(told[key], value, "{key} of {told}");
    }
    assert_eq!((&balanced["event"], &balanced["name"]), (&json!("account.balanced"), &json!("traces/a")));
}

#[test]
fn an_account_is_an_error_where_it_does_not_add_up() {
    let account = Account::new(&Registry::new()).unwrap();
    let destination = account.destination("traces/a", "otlp/b");
    destination.passed(10);
    destination.delivered(&Delivery { held: 10, delivered: 7, ..Delivery::default() });
    let told = || {
        let lines = objects(|| account.log());
        let [told] = &lines[..] else { panic!("{lines:?}") };
        ["event", "level", "missing"].map(|key| told[key].clone())
    };
    assert_eq!(told(), [json!("account"), json!("error"), json!(3)]);
    destination.delivered(&Delivery { delivered: 3, ..Delivery::default() });
    assert_eq!(told(), [json!("account"), json!("info"), json!(0)]);
}
