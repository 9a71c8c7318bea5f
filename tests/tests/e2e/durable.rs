//! A queue on disk: what was accepted is delivered, whatever happens to the process between.

mod full_disk;
mod inspect;
mod kept;
mod reload;

use std::path::Path;

use bytes::Bytes;
use sluice_tests::collector::{Config, End, Sluice, config};
use sluice_tests::send::Grpc;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::soak::{self, Arrived, SpanId};
use sluice_tests::{rpc, send, wait, wire};
use tempfile::TempDir;
use tonic::Code;

const QUEUE: &str = "storage: file_storage, batch: { flush_timeout: 20ms }";

/// A config whose exporter keeps its queue in this folder.
fn durable(upstream: &Sink, folder: &Path, queue: &str) -> Config {
    Config::new()
        .extension("file_storage", &format!("directory: '{}'", folder.display()))
        .extension("sluice", "drain_timeout: 300ms")
        .exporter("otlp_grpc", &config::grpc(upstream, &format!("sending_queue: {{ {queue} }}")))
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn count(requests: &[Bytes]) -> i64 {
    requests.iter().map(|request| wire::count(request).unwrap() as i64).sum()
}

fn kill(sluice: Sluice) {
    sluice.signal(libc::SIGKILL);
    assert_eq!(sluice.wait_end().code, 128 + libc::SIGKILL);
}

/// Waits until every span of these requests has arrived. A request that a process had on its way when
/// it was killed may still be taken a little later, and comes again.
#[track_caller]
fn wait_for_all(upstream: &Sink, requests: &[Bytes]) {
    let sent: Vec<SpanId> = requests.iter().flat_map(|request| soak::ids(request).unwrap()).collect();
    wait::until("all spans upstream", || {
        let mut arrived = Arrived::default();
        upstream.wires().iter().try_for_each(|request| arrived.add(request)).unwrap();
        (arrived.missing(&sent) == 0).then_some(())
    });
}

#[track_caller]
fn closes(end: &End) {
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn what_was_accepted_is_delivered_after_kill_9() {
    let (upstream, folder) = (Sink::start(), folder());
    upstream.always(Answer::UNAVAILABLE);
    let config = durable(&upstream, folder.path(), QUEUE);
    let sluice = Sluice::start(&config);
    let requests = Exporter::new(201).requests(60, 40);
    send::all(sluice.grpc(), &requests).unwrap();
    kill(sluice);
    assert_eq!(upstream.spans(), 0);

    upstream.always(Answer::Ok);
    let sluice = Sluice::start(&config);
    wait_for_all(&upstream, &requests);
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(end.account.sum("destination", "restored"), count(&requests));
    assert_eq!(end.account.sum("destination", "delivered"), count(&requests));
}

#[test]
fn what_was_on_its_way_is_delivered_again_and_told_apart() {
    let (upstream, folder) = (Sink::start(), folder());
    upstream.always(Answer::Silence);
    let config = durable(&upstream, folder.path(), QUEUE);
    let sluice = Sluice::start(&config);
    let requests = Exporter::new(202).requests(1, 40);
    send::all(sluice.grpc(), &requests).unwrap();
    upstream.wait_for_attempts(1);
    kill(sluice);
    upstream.always(Answer::Ok);
    let sluice = Sluice::start(&config);
    upstream.wait_for_spans(count(&requests) as u64);
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(end.account.sum("destination", "redelivered"), count(&requests), "{}", end.stderr);
}

#[test]
fn sigterm_with_a_dead_upstream_keeps_the_rest_exits_0_and_a_start_replays_it() {
    let (upstream, folder) = (Sink::start(), folder());
    upstream.always(Answer::UNAVAILABLE);
    let config = durable(&upstream, folder.path(), QUEUE);
    let sluice = Sluice::start(&config);
    let requests = Exporter::new(203).requests(30, 40);
    send::all(sluice.grpc(), &requests).unwrap();
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(end.account.sum("destination", "held"), count(&requests), "{}", end.stderr);
    assert_eq!(end.account.sum("destination", "failed"), 0);

    upstream.always(Answer::Ok);
    let sluice = Sluice::start(&config);
    let more = Exporter::new(204).requests(10, 40);
    send::all(sluice.grpc(), &more).unwrap();
    let all = [requests.clone(), more].concat();
    wait_for_all(&upstream, &all);
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(end.account.sum("destination", "restored"), count(&requests));
    assert_eq!(end.account.sum("destination", "delivered"), count(&all));
    assert_eq!(end.account.sum("destination", "held"), 0);
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let (upstream, folder) = (Sink::start(), folder());
    let config = durable(&upstream, folder.path(), QUEUE);
    let first = Sluice::start(&config);
    let second = Sluice::spawn(sluice_tests::collector::Folder::new(&config.yaml()), &[]).wait_end();
    assert_eq!(second.code, 1, "{}", second.stderr);
    for fragment in ["exporter otlp_grpc", &folder.path().display().to_string(), "in use by another process"] {
        assert!(second.stderr.contains(fragment), "`{fragment}` is not in:\n{}", second.stderr);
    }
    assert_eq!(first.terminate().code, 0);
}

const QUOTA: u64 = 1 << 20;

#[test]
fn a_full_disk_queue_refuses_and_drained_space_is_given_back() {
    let (upstream, folder) = (Sink::start(), folder());
    upstream.always(Answer::UNAVAILABLE);
    let small = format!("{QUEUE}, sizer: bytes, queue_size: {QUOTA}");
    let sluice = Sluice::start(&durable(&upstream, folder.path(), &small));
    let client = Grpc::new(sluice.grpc()).unwrap();
    let requests = Exporter::new(205).requests(400, 40);
    let refusal = requests.iter().find_map(|request| client.send(request).err()).expect("the queue never filled up");
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
    assert!(rpc::retry_delay(&refusal).is_some(), "no RetryInfo: {refusal:?}");
    let on_disk = segments(folder.path());
    assert!((QUOTA / 2..=QUOTA).contains(&on_disk), "{on_disk} bytes");

    upstream.always(Answer::Ok);
    send::all(sluice.grpc(), &Exporter::new(206).requests(100, 40)).unwrap();
    wait::until("the space to be given back", || (segments(folder.path()) < QUOTA / 8).then_some(()));
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(end.account.sum("receiver", "accepted"), upstream.spans() as i64);
    assert_eq!(end.account.sum("destination", "held"), 0);
}

/// The bytes of all segments of the exporter's queue.
fn segments(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder.join("exporter_otlp_grpc")).unwrap().flatten();
    let segments = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "seg"));
    // One that was removed meanwhile has no length.
    segments.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[test]
fn a_request_is_in_the_log_of_every_destination_before_it_is_answered() {
    let (one, other, folder) = (Sink::start(), Sink::start(), folder());
    one.always(Answer::UNAVAILABLE);
    other.always(Answer::UNAVAILABLE);
    let queue = format!("sending_queue: {{ {QUEUE} }}");
    let config = Config::new()
        .extension("file_storage", &format!("directory: '{}'", folder.path().display()))
        .exporter("otlp_grpc/one", &config::grpc(&one, &queue))
        .exporter("otlphttp/other", &config::http(&other, &queue));
    let sluice = Sluice::start(&config);
    let requests = Exporter::new(207).requests(20, 40);
    send::all(sluice.grpc(), &requests).unwrap();
    kill(sluice);
    for sink in [&one, &other] {
        sink.always(Answer::Ok);
    }
    let sluice = Sluice::start(&config);
    for sink in [&one, &other] {
        wait_for_all(sink, &requests);
    }
    closes(&sluice.terminate());
}

/// Without `fsync` a crash of the process loses nothing either.
#[test]
fn the_collectors_keys_can_be_set() {
    let (upstream, folder) = (Sink::start(), folder());
    let deep = folder.path().join("a/b");
    let keys = "fsync: false, create_directory: true, directory_permissions: '0700', timeout: 2s";
    let config = durable(&upstream, &deep, QUEUE).yaml().replace(
        &format!("directory: '{}'", deep.display()),
        &format!("{{ directory: '{}', {keys} }}", deep.display()),
    );
    upstream.always(Answer::UNAVAILABLE);
    let sluice = Sluice::start_in(sluice_tests::collector::Folder::new(&config));
    let mode = |folder: &Path| std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(folder).unwrap()) & 0o777;
    assert_eq!(mode(&deep), 0o700);
    let plain = folder.path().join("plain");
    closes(
        &Sluice::start_in(sluice_tests::collector::Folder::new(&durable(&upstream, &plain, QUEUE).yaml())).terminate(),
    );
    assert_eq!(mode(&plain), 0o750);
    let requests = Exporter::new(208).requests(20, 40);
    send::all(sluice.grpc(), &requests).unwrap();
    kill(sluice);
    upstream.always(Answer::Ok);
    let sluice = Sluice::start_in(sluice_tests::collector::Folder::new(&config));
    wait_for_all(&upstream, &requests);
    closes(&sluice.terminate());
}

#[test]
fn what_waits_is_tried_for_ever_and_the_oldest_goes_first() {
    let (upstream, folder) = (Sink::start(), folder());
    upstream.always(Answer::UNAVAILABLE);
    let one_by_one = "storage: file_storage, num_consumers: 1, batch: { enabled: false }";
    let sluice = Sluice::start(&durable(&upstream, folder.path(), one_by_one));
    let client = Grpc::new(sluice.grpc()).unwrap();
    let requests = Exporter::new(209).requests(20, 20);
    for request in &requests {
        client.send(request).unwrap();
    }
    upstream.wait_for_attempts(5);
    upstream.always(Answer::Ok);
    upstream.wait_for_spans(count(&requests) as u64);
    assert_eq!(upstream.wires(), requests);
    closes(&sluice.terminate());
}

#[test]
fn it_is_not_waited_for_longer_than_the_drain_deadline() {
    let (upstream, folder) = (Sink::start(), folder());
    upstream.always(Answer::Silence);
    // Far above what its end is waited for.
    let patient = durable(&upstream, folder.path(), QUEUE).yaml().replace("tls: {", "timeout: 10m\n    tls: {");
    let sluice = Sluice::start_in(sluice_tests::collector::Folder::new(&patient));
    send::all(sluice.grpc(), &Exporter::new(210).requests(5, 40)).unwrap();
    upstream.wait_for_attempts(1);
    closes(&sluice.terminate());
}
