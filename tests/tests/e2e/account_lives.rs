//! The account adds up at every moment, and outlives the process.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use serde_json::Value;
use sluice_tests::collector::{Config, End, Sluice, config};
use sluice_tests::send::http;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::{send, wait, wire};
use tempfile::TempDir;

const ADMIN: &str = "admin: { endpoint: '127.0.0.1:0' }";

fn count(requests: &[Bytes]) -> i64 {
    requests.iter().map(|request| wire::count(request).unwrap() as i64).sum()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// What the admin API says of the account.
fn account(sluice: &Sluice) -> Value {
    let reply = http::get(sluice.address("sluice", ""), "/v1/account").unwrap();
    assert_eq!(reply.status, 200);
    serde_json::from_slice(&reply.body).unwrap()
}

/// The figure of the entry of this level.
fn figure(account: &Value, level: &str, outcome: &str) -> i64 {
    let entries = account["account"].as_array().unwrap();
    entries.iter().filter(|entry| entry["level"] == level).map(|entry| entry[outcome].as_i64().unwrap()).sum()
}

/// A number, or the sum of all numbers in an object of them.
fn total(value: &Value) -> i64 {
    match value {
        Value::Object(parts) => parts.values().map(total).sum(),
        other => other.as_i64().unwrap(),
    }
}

/// What does not add up in an entry, by our own sums.
fn gap(entry: &Value) -> i64 {
    let (first, others): (&str, &[&str]) = match entry["level"].as_str().unwrap() {
        "receiver" => ("received", &["accepted", "refused", "held"]),
        "pipeline" => ("accepted", &["passed", "dropped", "quarantined", "held"]),
        _ => ("passed", &["delivered", "failed", "dropped", "held"]),
    };
    total(&entry[first]) - others.iter().map(|outcome| total(&entry[*outcome])).sum::<i64>()
}

#[track_caller]
fn closes(end: &End) {
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

/// Ends those who go on until they are told to stop, also when the test fails.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn it_adds_up_at_every_moment_under_load() {
    let upstream = Sink::start();
    upstream.script(
        [Answer::UNAVAILABLE, Answer::Ok, Answer::Partial { rejected: 3, message: "" }].into_iter().cycle().take(300),
    );
    let config = Config::to(&upstream)
        .processor("filter", r#"traces: { span: ['attributes["http.route"] == "/health"'] }"#)
        .extension("sluice", &format!("{ADMIN}\naccount: {{ imbalance_after: 0s }}"));
    let sluice = Sluice::start(&config);
    let stop = AtomicBool::new(false);
    let mut moving = 0;
    thread::scope(|scope| {
        for seed in 601..604 {
            let (address, stop) = (sluice.grpc(), &stop);
            scope.spawn(move || {
                let mut exporter = Exporter::new(seed);
                while !stop.load(Ordering::Relaxed) {
                    send::all(address, &exporter.requests(20, 40)).unwrap();
                }
            });
        }
        let _stop = Stop(&stop);
        let mut before = 0;
        for _ in 0..200 {
            let account = account(&sluice);
            for entry in account["account"].as_array().unwrap() {
                assert_eq!((gap(entry), total(&entry["missing"])), (0, 0), "{entry}");
            }
            let received = figure(&account, "receiver", "received");
            moving += i32::from(received > before);
            before = received;
            // What /metrics shows adds up as well.
            let metrics = sluice.metrics();
            let sum = |outcome| metrics.sum("sluice_account_spans", &[("level", "receiver"), ("outcome", outcome)]);
            assert_eq!(sum("received"), sum("accepted") + sum("refused") + sum("held"));
        }
    });
    assert!(moving > 10, "nothing was counted while it was looked at");
    let end = sluice.terminate();
    closes(&end);
    assert!(!end.stderr.contains("account.imbalance"), "{}", end.stderr);
}

/// A config with a queue in memory and an account that is kept.
fn in_memory(upstream: &Sink, state: &Path) -> Config {
    Config::to(upstream).extension("sluice", &format!("{ADMIN}\nstate_dir: '{}'", state.display()))
}

/// Waits until the file of the account says that so many spans were received.
fn wait_for_kept(folder: &Path, spans: i64) {
    wait::until("the account to be written", || {
        let kept: Value = serde_json::from_slice(&std::fs::read(folder.join("account.json")).ok()?).ok()?;
        let cells = kept["cells"].as_array()?.iter();
        let received = cells.filter(|cell| cell["outcome"] == "received").map(|cell| cell["spans"].as_i64().unwrap());
        (received.sum::<i64>() == spans).then_some(())
    });
}

#[test]
fn it_goes_on_after_sigterm() {
    let (upstream, state) = (Sink::start(), folder());
    let config = in_memory(&upstream, state.path());
    let mut exporter = Exporter::new(611);
    let (first, second) = (exporter.requests(10, 30), exporter.requests(5, 30));
    let sluice = Sluice::start(&config);
    send::all(sluice.grpc(), &first).unwrap();
    let since = account(&sluice)["since"].clone();
    closes(&sluice.terminate());
    let sluice = Sluice::start(&config);
    let kept = account(&sluice);
    // To the second.
    assert_eq!(kept["since"].as_str().unwrap()[..19], since.as_str().unwrap()[..19]);
    for (level, outcome) in
        [("receiver", "received"), ("receiver", "accepted"), ("pipeline", "passed"), ("destination", "delivered")]
    {
        assert_eq!(figure(&kept, level, outcome), count(&first), "{level} {outcome}");
    }
    assert_eq!(sluice.log().find("account.begun").unwrap()["from"], "kept");
    send::all(sluice.grpc(), &second).unwrap();
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(end.account.sum("receiver", "received"), count(&first) + count(&second));
    assert_eq!(end.account.sum("destination", "delivered") as u64, upstream.spans());
}

#[test]
fn with_a_queue_in_memory_it_begins_from_zero_after_kill_9_and_says_so() {
    let (upstream, state) = (Sink::start(), folder());
    let config = in_memory(&upstream, state.path());
    let requests = Exporter::new(612).requests(10, 30);
    let sluice = Sluice::start(&config);
    send::all(sluice.grpc(), &requests).unwrap();
    wait_for_kept(state.path(), count(&requests));
    sluice.signal(libc::SIGKILL);
    sluice.wait_end();
    let sluice = Sluice::start(&config);
    assert_eq!(figure(&account(&sluice), "receiver", "received"), 0);
    let begun = sluice.log().find("account.begun").unwrap();
    assert_eq!((begun["from"].as_str(), begun["level"].as_str()), (Some("zero"), Some("warn")));
    assert!(begun["reason"].as_str().unwrap().contains("the last process was killed"), "{begun}");
    closes(&sluice.terminate());
}

#[test]
fn with_a_queue_on_disk_it_goes_on_after_kill_9() {
    let (upstream, folder) = (Sink::start(), folder());
    upstream.always(Answer::UNAVAILABLE);
    let queue = "sending_queue: { storage: file_storage, batch: { flush_timeout: 20ms } }";
    let config = Config::new()
        .extension("file_storage", &format!("directory: '{}'", folder.path().display()))
        .extension("sluice", ADMIN)
        .exporter("otlp_grpc", &config::grpc(&upstream, queue));
    let mut exporter = Exporter::new(613);
    let (first, second) = (exporter.requests(10, 30), exporter.requests(5, 30));
    let sluice = Sluice::start(&config);
    send::all(sluice.grpc(), &first).unwrap();
    wait_for_kept(folder.path(), count(&first));
    sluice.signal(libc::SIGKILL);
    sluice.wait_end();
    let sluice = Sluice::start(&config);
    assert_eq!(sluice.log().find("account.begun").unwrap()["from"], "kept");
    let kept = account(&sluice);
    assert_eq!(figure(&kept, "receiver", "accepted"), count(&first));
    assert_eq!(figure(&kept, "destination", "passed"), count(&first), "{kept}");
    assert_eq!(figure(&kept, "destination", "restored"), count(&first));
    upstream.always(Answer::Ok);
    send::all(sluice.grpc(), &second).unwrap();
    upstream.wait_for_spans((count(&first) + count(&second)) as u64);
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(end.account.sum("pipeline", "accepted"), count(&first) + count(&second));
    assert_eq!(end.account.sum("destination", "delivered"), count(&first) + count(&second));
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_replaced() {
    let (upstream, state) = (Sink::start(), folder());
    std::fs::write(state.path().join("account.json"), "{\"version\":1,").unwrap();
    let config = in_memory(&upstream, state.path());
    let sluice = Sluice::start(&config);
    let begun = sluice.log().find("account.begun").unwrap();
    assert_eq!((begun["from"].as_str(), begun["level"].as_str()), (Some("zero"), Some("error")));
    assert!(begun["reason"].as_str().unwrap().contains("account.json"), "{begun}");
    closes(&sluice.terminate());
    closes(&Sluice::start(&config).terminate());
}
