//! How long a queue on disk keeps requests, and in what form.

use sluice_tests::collector::{Folder, Sluice, run};
use sluice_tests::send;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::wait;

use super::{QUEUE, closes, count, durable, folder, kill, wait_for_all};

#[test]
fn what_waits_longer_than_max_age_is_dropped_and_counted() {
    let (upstream, folder) = (Sink::start(), folder());
    upstream.always(Answer::UNAVAILABLE);
    let queue = format!("{QUEUE}, num_consumers: 1, max_age: 200ms");
    let sluice = Sluice::start(&durable(&upstream, folder.path(), &queue));
    let first = Exporter::new(230).requests(1, 40);
    send::all(sluice.grpc(), &first).unwrap();
    upstream.wait_for_attempts(1);
    // Behind the one that is on its way.
    let more = Exporter::new(231).requests(20, 40);
    send::all(sluice.grpc(), &more).unwrap();
    let dropped = [("level", "destination"), ("outcome", "dropped"), ("reason", "max_age")];
    wait::until("the old ones to be dropped", || {
        let so = sluice.metrics().sum("sluice_account_spans", &dropped) == count(&more) as f64;
        so.then_some(())
    });
    assert!(sluice.log().find("queue.expired").is_some());
    upstream.always(Answer::Ok);
    upstream.wait_for_spans(count(&first) as u64);
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(end.account.sum("destination", "delivered"), count(&first), "{}", end.stderr);
    assert_eq!(end.account.sum("destination", "dropped"), count(&more), "{}", end.stderr);
}

#[test]
fn compressed_requests_take_less_room_and_are_delivered_as_they_were_also_without_the_key() {
    let (upstream, folder) = (Sink::start(), folder());
    upstream.always(Answer::UNAVAILABLE);
    let config = durable(&upstream, folder.path(), QUEUE);
    let plain = config.yaml();
    let directory = format!("directory: '{}'", folder.path().display());
    let compressed = plain.replace(&directory, &format!("{{ {directory}, compression: zstd }}"));
    assert_ne!(plain, compressed);
    let sluice = Sluice::start_in(Folder::new(&compressed));
    let requests = Exporter::new(232).requests(60, 40);
    send::all(sluice.grpc(), &requests).unwrap();
    kill(sluice);

    let shown = run(&["queue", "inspect", "--json", folder.path().to_str().unwrap()], None);
    let found: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    let segments = found["queues"][0]["segments"].as_array().unwrap();
    let sum = |key: &str| segments.iter().map(|segment| segment[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((shown.code, sum("compressed_records")), (0, 60), "{shown:?}");
    assert!(sum("bytes") * 2 < sum("plain_bytes"), "{shown:?}");
    let shown = run(&["queue", "inspect", folder.path().to_str().unwrap()], None);
    assert!(shown.stdout.contains("60 records are compressed"), "{shown:?}");

    upstream.always(Answer::Ok);
    let sluice = Sluice::start_in(Folder::new(&plain));
    wait_for_all(&upstream, &requests);
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(end.account.sum("destination", "restored"), count(&requests), "{}", end.stderr);
}
