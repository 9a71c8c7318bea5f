//! Ready is only who can take spans: probes and load balancers are told of a queue without room.

use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_tests::collector::{Config, Sluice, config};
use sluice_tests::send::{Grpc, http};
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::wait;
use tonic::Code;

/// Why it is not ready; none if it is.
fn unready(sluice: &Sluice) -> Option<Value> {
    let reply = http::get(sluice.address("health_check", ""), "/ready").unwrap();
    (reply.status != 200).then(|| serde_json::from_slice(&reply.body).unwrap())
}

#[test]
fn a_full_queue_is_not_ready_until_it_has_room_again() {
    for storage in ["", ", storage: file_storage"] {
        let (upstream, folder) = (Sink::start(), tempfile::tempdir().unwrap());
        upstream.always(Answer::UNAVAILABLE);
        let queue = format!("sending_queue: {{ sizer: bytes, queue_size: 100000{storage} }}");
        let mut config = Config::new()
            .extension("health_check", "endpoint: '127.0.0.1:0'")
            .exporter("otlp_grpc", &config::grpc(&upstream, &queue));
        if !storage.is_empty() {
            config = config.extension("file_storage", &format!("directory: '{}'", folder.path().display()));
        }
        let sluice = Sluice::start(&config);
        assert_eq!(unready(&sluice), None);
        let (client, mut exporter) = (Grpc::new(sluice.grpc()).unwrap(), Exporter::new(701));
        while client.send(&exporter.request(50)).is_ok() {}
        let told = wait::until("not ready", || unready(&sluice));
        assert_eq!(told["reasons"]["exporter otlp_grpc"], "its queue is full", "{told}");
        upstream.always(Answer::Ok);
        wait::until("ready", || unready(&sluice).is_none().then_some(()));
        client.send(&exporter.request(50)).unwrap();
        let end = sluice.terminate();
        assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    }
}

#[test]
fn who_waits_for_the_result_does_not_wait_longer_for_room() {
    let upstream = Sink::start();
    upstream.always(Answer::Silence);
    let queue = "timeout: 60s\nsending_queue: { wait_for_result: true, on_full: block, queue_size: 1 }";
    let config = Config::new()
        .extension("sluice", "drain_timeout: 100ms")
        .exporter("otlp_grpc", &config::grpc(&upstream, queue));
    let sluice = Sluice::start(&config);
    let (client, mut exporter) = (Grpc::new(sluice.grpc()).unwrap(), Exporter::new(702));
    let first = std::thread::spawn({
        let (client, request) = (client.clone(), exporter.request(10));
        move || client.send_within("2S", &request)
    });
    upstream.wait_for_attempts(1);
    let asked = Instant::now();
    // The queue is full with the first. A client would give up after its deadline; an answer comes before.
    let refused = client.send_within("3S", &exporter.request(10)).unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "the queue has found no room in time"));
    assert!(asked.elapsed() > Duration::from_secs(2), "it did not wait for room: {:?}", asked.elapsed());
    assert!(first.join().unwrap().is_err());
    let end = sluice.terminate();
    assert_eq!(end.account.missing(), 0, "{}", end.stderr);
    assert_eq!(end.account.sum("receiver", "refused"), end.account.sum("receiver", "received"));
}
