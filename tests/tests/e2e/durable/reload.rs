//! A queue on disk under a config that changes.

use serde_json::Value;
use sluice_tests::collector::{Config, Sluice, config};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::{send, wait, wire};

use super::{QUEUE, closes, count, durable, folder, wait_for_all};

fn reloaded(sluice: &Sluice, times: usize) -> Value {
    wait::until(&format!("reload {times}"), || sluice.log().events("reload").into_iter().nth(times - 1))
}

#[test]
fn an_exporter_with_other_settings_takes_the_queue_over() {
    let (dead, alive, folder) = (Sink::start(), Sink::start(), folder());
    dead.always(Answer::UNAVAILABLE);
    let sluice = Sluice::start(&durable(&dead, folder.path(), QUEUE));
    let requests = Exporter::new(230).requests(30, 40);
    send::all(sluice.grpc(), &requests).unwrap();
    sluice.rewrite(&durable(&alive, folder.path(), QUEUE));
    assert_eq!(reloaded(&sluice, 1)["outcome"], "applied");
    alive.wait_for_spans(count(&requests) as u64);
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(wire::difference(&requests, &alive.wires()).unwrap(), None);
    assert_eq!(end.account.sum("destination", "held"), 0);
}

#[test]
fn an_exporter_that_is_removed_closes_its_queue_and_finds_it_when_it_comes_back() {
    let (dead, other, folder) = (Sink::start(), Sink::start(), folder());
    dead.always(Answer::UNAVAILABLE);
    let with = durable(&dead, folder.path(), QUEUE);
    let without = Config::new()
        .extension("sluice", "drain_timeout: 300ms")
        .exporter("otlp_grpc/other", &config::grpc(&other, ""));
    let sluice = Sluice::start(&with);
    let requests = Exporter::new(231).requests(30, 40);
    send::all(sluice.grpc(), &requests).unwrap();
    sluice.rewrite(&without);
    let closed = wait::until("the exporter to close", || sluice.log().find("exporter.closed"));
    assert_eq!((&closed["undelivered"], &closed["held"]), (&Value::from(0), &Value::from(count(&requests))));
    dead.always(Answer::Ok);
    sluice.rewrite(&with);
    wait_for_all(&dead, &requests);
    let end = sluice.terminate();
    closes(&end);
    let of_it = |outcome| end.account.destination("otlp_grpc", outcome);
    assert_eq!((of_it("passed"), of_it("delivered"), of_it("held")), (count(&requests), count(&requests), 0));
}

#[test]
fn another_size_or_fsync_is_refused_and_the_queue_serves_on() {
    let (upstream, folder) = (Sink::start(), folder());
    let sluice = Sluice::start(&durable(&upstream, folder.path(), QUEUE));
    sluice.rewrite(&durable(&upstream, folder.path(), &format!("{QUEUE}, sizer: bytes, queue_size: 1000000")));
    let reload = reloaded(&sluice, 1);
    assert_eq!(reload["outcome"], "failed");
    assert!(reload["reason"].as_str().unwrap().contains("when the process is restarted"), "{reload}");
    let requests = Exporter::new(232).requests(5, 40);
    send::all(sluice.grpc(), &requests).unwrap();
    upstream.wait_for_spans(count(&requests) as u64);
    closes(&sluice.terminate());
}
