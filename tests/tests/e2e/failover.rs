//! Several upstreams: the first that is there gets everything, and it comes back to the first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use sluice_tests::collector::{Config, End, Folder, Sluice};
use sluice_tests::send::Grpc;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::soak::{self, Arrived, SpanId};
use sluice_tests::{send, wait, wire};
use tonic::Code;

const QUICK: &str = "retry_on_failure: { initial_interval: 20ms, max_interval: 100ms }";
const NAMED: &str = "exporters: [otlp_grpc/near, otlphttp/far]";

/// A `failover` with the first upstream over gRPC and the second over HTTP.
fn failover(near: &Sink, far: &Sink, queue: &str) -> Config {
    let grpc = format!("endpoint: '{}'\ntls: {{ insecure: true }}", near.address());
    let settings = format!("{NAMED}\n{QUICK}\nsending_queue: {{ {queue} batch: {{ flush_timeout: 20ms }} }}");
    Config::new()
        .exporter("otlp_grpc/near", &grpc)
        .exporter("otlphttp/far", &format!("endpoint: 'http://{}'", far.address()))
        .exporter("failover", &settings)
        .pipeline("traces", &["otlp"], &[], &["failover"])
}

fn count(requests: &[Bytes]) -> u64 {
    requests.iter().map(|request| wire::count(request).unwrap()).sum()
}

/// How many spans of the account this upstream has taken.
fn delivered_by(end: &End, upstream: &str) -> u64 {
    let entries = end.account.entries().iter().filter(|entry| entry["kind"] == "destination");
    entries.map(|entry| entry["delivered_by"][upstream].as_u64().unwrap_or(0)).sum()
}

#[track_caller]
fn closes(end: &End) {
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn the_second_gets_what_the_first_is_not_there_for_and_the_first_gets_the_rest() {
    let (near, far) = (Sink::start(), Sink::start());
    let sluice = Sluice::start(&failover(&near, &far, ""));
    let mut exporter = Exporter::new(501);
    let (before, away, after) = (exporter.requests(10, 30), exporter.requests(30, 30), exporter.requests(10, 30));
    send::all(sluice.grpc(), &before).unwrap();
    near.wait_for_spans(count(&before));
    assert_eq!(far.spans(), 0, "the first is there");
    near.always(Answer::UNAVAILABLE);
    send::all(sluice.grpc(), &away).unwrap();
    far.wait_for_spans(count(&away));
    let open = |is: f64| {
        let labels = [("exporter", "failover"), ("upstream", "otlp_grpc/near")];
        (sluice.metrics().sum("sluice_failover_circuit_open", &labels) == is).then_some(())
    };
    // One failure is no outage; so many are.
    while open(1.0).is_none() {
        send::all(sluice.grpc(), &away[..1]).unwrap();
    }
    near.always(Answer::Ok);
    // The first request after the pause finds that it is back; it goes to either.
    wait::until("the circuit to close", || {
        send::all(sluice.grpc(), &before[..1]).unwrap();
        open(0.0)
    });
    let at_far = wait_until_idle(&sluice, &far);
    send::all(sluice.grpc(), &after).unwrap();
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(far.spans(), at_far, "the first is there again");
    assert_eq!((delivered_by(&end, "otlp_grpc/near"), delivered_by(&end, "otlphttp/far")), (near.spans(), far.spans()));
    assert_eq!(end.account.sum("receiver", "accepted") as u64, near.spans() + far.spans());
    assert_eq!(end.account.sum("destination", "redelivered"), 0, "who refuses has nothing");
    assert!(end.stderr.contains("export.failover"), "{}", end.stderr);
}

/// Waits until nothing is queued; gives what this upstream has then.
fn wait_until_idle(sluice: &Sluice, upstream: &Sink) -> u64 {
    wait::until("the queue to be empty", || {
        let size = sluice.metrics().sum("otelcol_exporter_queue_size", &[("exporter", "failover")]);
        (size == 0.0).then(|| upstream.spans())
    })
}

/// Ends those who go on until they are told to stop, also when the test fails.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nothing_is_lost_when_the_first_dies_under_load_and_comes_back() {
    let (near, far) = (Sink::start(), Sink::start());
    let sluice = Sluice::start(&failover(&near, &far, ""));
    let (client, stop) = (Grpc::new(sluice.grpc()).unwrap(), AtomicBool::new(false));
    let mut sent: Vec<Bytes> = Vec::new();
    let back = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut exporter = Exporter::new(502);
            let mut taken = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let request = exporter.request(30);
                client.send(&request).unwrap();
                taken.push(request);
            }
            taken
        });
        let stopping = Stop(&stop);
        near.wait_for_spans(500);
        near.stop();
        let at_far = far.spans();
        far.wait_for_spans(at_far + 2000);
        let back = Sink::start_at(near.address());
        back.wait_for_spans(500);
        drop(stopping);
        sent.extend(sender.join().unwrap());
        back
    });
    let end = sluice.terminate();
    closes(&end);
    let ids: Vec<SpanId> = sent.iter().flat_map(|request| soak::ids(request).unwrap()).collect();
    let mut arrived = Arrived::default();
    for sink in [&near, &far, &back] {
        sink.wires().iter().try_for_each(|request| arrived.add(request)).unwrap();
    }
    assert_eq!(arrived.missing(&ids), 0, "{}", end.stderr);
    assert_eq!(end.account.sum("destination", "delivered") as u64, count(&sent));
    let again = end.account.sum("destination", "redelivered") as u64;
    assert!(arrived.duplicates() <= again, "{} came twice, {again} are counted", arrived.duplicates());
    assert_eq!(delivered_by(&end, "otlphttp/far"), far.spans());
}

#[test]
fn what_the_first_may_have_taken_without_saying_so_is_counted() {
    let (near, far) = (Sink::start(), Sink::start());
    near.script([Answer::Disconnect]);
    let sluice = Sluice::start(&failover(&near, &far, ""));
    let request = Exporter::new(503).request(30);
    send::all(sluice.grpc(), std::slice::from_ref(&request)).unwrap();
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(delivered_by(&end, "otlphttp/far"), count(std::slice::from_ref(&request)), "{}", end.stderr);
    assert_eq!(end.account.sum("destination", "redelivered") as u64, count(&[request]));
}

#[test]
fn who_is_refused_by_one_asks_the_other_and_what_is_refused_is_offered_to_nobody_else() {
    let denied = Answer::Refuse { code: Code::PermissionDenied, status: 403, retry: None };
    for (answer, delivered) in [(denied.clone(), true), (Answer::INVALID, false)] {
        let (near, far) = (Sink::start(), Sink::start());
        near.always(answer);
        let sluice = Sluice::start(&failover(&near, &far, ""));
        let request = Exporter::new(504).request(30);
        send::all(sluice.grpc(), std::slice::from_ref(&request)).unwrap();
        near.wait_for_attempts(1);
        let end = sluice.terminate();
        closes(&end);
        let spans = if delivered { count(&[request]) } else { 0 };
        assert_eq!((far.totals().attempts, far.spans()), (u64::from(delivered), spans), "{}", end.stderr);
    }
    let (near, far) = (Sink::start(), Sink::start());
    near.always(denied.clone());
    far.always(denied);
    let sluice = Sluice::start(&failover(&near, &far, ""));
    send::all(sluice.grpc(), &[Exporter::new(505).request(30)]).unwrap();
    far.wait_for_attempts(1);
    let end = sluice.terminate();
    closes(&end);
    assert_eq!((near.totals().attempts, far.totals().attempts), (1, 1), "nobody wants us: {}", end.stderr);
    assert_eq!(end.account.sum("destination", "failed"), end.account.sum("receiver", "accepted"));
}

#[test]
fn an_upstream_that_wants_to_be_left_alone_is_while_the_other_is_there() {
    let (near, far) = (Sink::start(), Sink::start());
    near.script([Answer::unavailable_for(std::time::Duration::from_hours(1))]);
    far.script([Answer::UNAVAILABLE, Answer::UNAVAILABLE, Answer::UNAVAILABLE]);
    let sluice = Sluice::start(&failover(&near, &far, ""));
    send::all(sluice.grpc(), &[Exporter::new(506).request(30)]).unwrap();
    far.wait_for_attempts(4);
    closes(&sluice.terminate());
    assert_eq!((near.totals().attempts, far.totals().requests), (1, 1));
}

#[test]
fn without_retries_each_is_asked_once() {
    let (near, far) = (Sink::start(), Sink::start());
    near.always(Answer::UNAVAILABLE);
    far.always(Answer::UNAVAILABLE);
    let once = failover(&near, &far, "").yaml().replace(QUICK, "retry_on_failure: { enabled: false }");
    let sluice = Sluice::start_in(Folder::new(&once));
    send::all(sluice.grpc(), &[Exporter::new(508).request(30)]).unwrap();
    far.wait_for_attempts(1);
    let end = sluice.terminate();
    closes(&end);
    assert_eq!((near.totals().attempts, far.totals().attempts), (1, 1));
    assert_eq!(end.account.sum("destination", "failed"), end.account.sum("receiver", "accepted"));
}

#[test]
fn while_none_is_there_the_queue_on_disk_keeps_it() {
    let (near, far, folder) = (Sink::start(), Sink::start(), tempfile::tempdir().unwrap());
    near.always(Answer::UNAVAILABLE);
    far.always(Answer::UNAVAILABLE);
    let config = failover(&near, &far, "storage: file_storage,")
        .extension("file_storage", &format!("directory: '{}'", folder.path().display()));
    let sluice = Sluice::start(&config);
    let requests = Exporter::new(507).requests(20, 30);
    send::all(sluice.grpc(), &requests).unwrap();
    sluice.signal(libc::SIGKILL);
    sluice.wait_end();
    far.always(Answer::Ok);
    let sluice = Sluice::start(&config);
    far.wait_for_spans(count(&requests));
    let end = sluice.terminate();
    closes(&end);
    assert_eq!(wire::difference(&requests, &far.wires()).unwrap(), None);
    assert_eq!(end.account.sum("destination", "restored") as u64, count(&requests));
}
