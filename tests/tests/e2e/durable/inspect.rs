//! `sluice queue inspect`: what is in a queue, and what of it is damaged.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sluice_tests::collector::{Output, Sluice, run};
use sluice_tests::send;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};

use super::{QUEUE, closes, count, durable, folder};

fn inspect(dir: &Path, more: &[&str]) -> Output {
    run(&[&["queue", "inspect", dir.to_str().unwrap()], more].concat(), None)
}

/// Leaves 20 requests on disk; gives their spans.
fn fill(folder: &Path) -> u64 {
    let upstream = Sink::start();
    upstream.always(Answer::UNAVAILABLE);
    let sluice = Sluice::start(&durable(&upstream, folder, QUEUE));
    let requests = Exporter::new(220).requests(20, 40);
    send::all(sluice.grpc(), &requests).unwrap();
    closes(&sluice.terminate());
    count(&requests) as u64
}

fn segment(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder.join("exporter_otlp_grpc")).unwrap().flatten().map(|file| file.path());
    files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "seg")).unwrap()
}

#[test]
fn it_tells_records_and_spans_and_exits_0_if_all_is_sound() {
    let folder = folder();
    let spans = fill(folder.path());
    let output = inspect(folder.path(), &[]);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output:?}");
    assert!(output.stdout.contains(&format!("waiting: 20 records, {spans} spans")), "{}", output.stdout);
    // The folder of one queue will do as well.
    let output = inspect(&folder.path().join("exporter_otlp_grpc"), &["--json"]);
    let found: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((output.code, &found["sound"]), (0, &Value::Bool(true)), "{output:?}");
    let segments = found["queues"][0]["segments"].as_array().unwrap();
    let sum = |key: &str| segments.iter().map(|segment| segment[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("waiting_records"), sum("waiting_spans")), (20, spans));
}

#[test]
fn one_flipped_bit_is_found_and_costs_one_record() {
    let folder = folder();
    let spans = fill(folder.path());
    let path = segment(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    // Records begin at byte 4096, and each has a header of 56 bytes (the format of the log): this
    // is in the payload of the first.
    bytes[4096 + 56 + 100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let output = inspect(folder.path(), &["--json"]);
    let found: Value = serde_json::from_str(&output.stdout).unwrap();
    let queue = &found["queues"][0];
    assert_eq!((output.code, &queue["lost_records"]), (1, &Value::from(1)), "{output:?}");
    assert_eq!((&queue["damaged"][0]["from"], &queue["damaged"][0]["lost"]), (&Value::from(4096), &Value::Bool(true)));
    let lost = queue["lost_spans"].as_u64().unwrap();
    let output = inspect(folder.path(), &[]);
    assert_eq!(output.code, 1);
    assert!(output.stdout.contains(&format!("LOST: 1 records, {lost} spans")), "{}", output.stdout);

    // The collector delivers the others and tells how many spans are gone.
    let upstream = Sink::start();
    let sluice = Sluice::start(&durable(&upstream, folder.path(), QUEUE));
    upstream.wait_for_spans(spans - lost);
    assert_eq!(sluice.metrics().sum("sluice_queue_lost_spans", &[("exporter", "otlp_grpc")]), lost as f64);
    assert_eq!(sluice.log().find("queue.damaged").unwrap()["lost_spans"], lost);
    closes(&sluice.terminate());
    assert_eq!(upstream.spans(), spans - lost);
}

#[test]
fn a_folder_without_a_queue_is_told() {
    let folder = folder();
    for dir in [folder.path().to_owned(), folder.path().join("nowhere")] {
        let output = inspect(&dir, &[]);
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.stderr.contains(dir.to_str().unwrap()), "{output:?}");
    }
}
