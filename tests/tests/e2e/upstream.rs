//! What upstream answers decides what becomes of spans: delivered, tried again, or failed for a
//! reason that is counted.

use std::time::Duration;

use sluice_tests::collector::{Config, End, Sluice, config};
use sluice_tests::send;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use tonic::Code;

use crate::odd;

/// Sends one request of at least 30 spans, waits for what upstream makes of it, and ends. The
/// second figure is how many spans were sent.
#[track_caller]
fn one_request(config: &Config, upstream: &Sink, attempts: u64) -> (End, i64) {
    let request = Exporter::new(61).request(30);
    let spans = sluice_tests::wire::count(&request).unwrap() as i64;
    let sluice = Sluice::start(config);
    send::all(sluice.grpc(), &[request]).unwrap();
    upstream.wait_for_attempts(attempts);
    let end = sluice.terminate();
    assert_eq!(end.account.missing(), 0, "{}", end.stderr);
    assert_eq!(upstream.totals().attempts, attempts, "{}", end.stderr);
    (end, spans)
}

const fn refuse(code: Code, status: u16, retry: Option<Duration>) -> Answer {
    Answer::Refuse { code, status, retry }
}

#[test]
fn what_may_be_retried_is_delivered_once() {
    let codes = [
        (Code::Unavailable, 503),
        (Code::Aborted, 502),
        (Code::DeadlineExceeded, 504),
        (Code::DataLoss, 503),
        (Code::OutOfRange, 429),
        (Code::Cancelled, 503),
    ];
    for to in [Config::to, Config::to_http] {
        let upstream = Sink::start();
        upstream.script(codes.map(|(code, status)| refuse(code, status, None)));
        let (end, spans) = one_request(&to(&upstream), &upstream, codes.len() as u64 + 1);
        assert_eq!((end.code, end.account.sum("destination", "delivered")), (0, spans));
        assert_eq!(upstream.spans() as i64, spans);
    }
}

#[test]
fn what_must_not_be_retried_has_failed_and_is_counted() {
    let codes = [
        (Code::InvalidArgument, 400),
        (Code::PermissionDenied, 403),
        (Code::Internal, 500),
        (Code::Unimplemented, 404),
    ];
    for (code, status) in codes {
        for to in [Config::to, Config::to_http] {
            let upstream = Sink::start();
            upstream.script([refuse(code, status, None)]);
            let (end, spans) = one_request(&to(&upstream), &upstream, 1);
            assert_eq!(end.account.sum("destination", "failed"), spans, "{code:?} {status}: {}", end.stderr);
            assert_eq!(end.account.sum("destination", "delivered"), 0);
        }
    }
}

#[test]
fn resource_exhausted_is_retried_only_with_retry_info() {
    let upstream = Sink::start();
    upstream.script([refuse(Code::ResourceExhausted, 429, None)]);
    let (end, spans) = one_request(&Config::to(&upstream), &upstream, 1);
    assert_eq!(end.account.sum("destination", "failed"), spans);

    let upstream = Sink::start();
    upstream.script([refuse(Code::ResourceExhausted, 429, Some(Duration::from_millis(50)))]);
    let (end, spans) = one_request(&Config::to(&upstream), &upstream, 2);
    assert_eq!(end.account.sum("destination", "delivered"), spans);
}

#[test]
fn the_delay_that_upstream_asks_for_is_kept() {
    for (to, delay) in
        [(Config::to as fn(&Sink) -> Config, Duration::from_millis(700)), (Config::to_http, Duration::from_secs(1))]
    {
        let upstream = Sink::start();
        upstream.script([Answer::unavailable_for(delay)]);
        let sluice = Sluice::start(&to(&upstream));
        send::all(sluice.grpc(), &[Exporter::new(62).request(10)]).unwrap();
        upstream.wait_for_attempts(2);
        // Backoff alone would have come back after 20 ms.
        let came = upstream.attempts();
        assert!(came[1] - came[0] >= delay, "it came back after {:?}", came[1] - came[0]);
        assert_eq!(sluice.terminate().code, 0);
    }
}

#[test]
fn spans_that_a_partial_success_rejects_have_failed_and_are_not_sent_again() {
    for to in [Config::to, Config::to_http] {
        let upstream = Sink::start();
        upstream.script([Answer::Partial { rejected: 3, message: "three are too old" }]);
        let (end, spans) = one_request(&to(&upstream), &upstream, 1);
        assert_eq!(end.account.sum("destination", "failed"), 3, "{}", end.stderr);
        assert_eq!(end.account.sum("destination", "delivered"), spans - 3);
    }
}

#[test]
fn a_warning_in_a_success_fails_nothing() {
    let upstream = Sink::start();
    upstream.script([Answer::Partial { rejected: 0, message: "please upgrade" }]);
    let (end, spans) = one_request(&Config::to(&upstream), &upstream, 1);
    assert_eq!((end.account.sum("destination", "delivered"), end.account.sum("destination", "failed")), (spans, 0));
}

#[test]
fn a_connection_that_breaks_is_tried_again() {
    for to in [Config::to, Config::to_http] {
        let upstream = Sink::start();
        upstream.script([Answer::Disconnect, Answer::Disconnect]);
        let (end, spans) = one_request(&to(&upstream), &upstream, 3);
        assert_eq!((end.code, end.account.sum("destination", "delivered")), (0, spans), "{}", end.stderr);
    }
}

#[test]
fn an_upstream_that_never_answers_runs_into_the_timeout() {
    let upstream = Sink::start();
    upstream.script([Answer::Silence]);
    let quick = Config::new().exporter("otlp_grpc", &config::grpc(&upstream, "timeout: 300ms"));
    let (end, spans) = one_request(&quick, &upstream, 2);
    assert_eq!((end.code, end.account.sum("destination", "delivered")), (0, spans), "{}", end.stderr);
}

#[test]
fn an_upstream_that_comes_up_late_gets_everything() {
    let address = {
        let gone = Sink::start();
        gone.stop();
        gone.address()
    };
    let placeholder = Sink::start();
    let yaml = Config::to(&placeholder).yaml().replace(&placeholder.address().to_string(), &address.to_string());
    let sluice = Sluice::start_in(sluice_tests::collector::Folder::new(&yaml));
    let requests = Exporter::new(63).requests(10, 30);
    send::all(sluice.grpc(), &requests).unwrap();
    let upstream = Sink::start_at(address);
    let end = sluice.terminate();
    assert_eq!(sluice_tests::wire::difference(&requests, &upstream.wires()).unwrap(), None);
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn compression_is_gzip_unless_told_otherwise() {
    let upstream = Sink::start();
    one_request(&Config::to(&upstream), &upstream, 1);
    assert_eq!(upstream.received()[0].headers["grpc-encoding"], "gzip");
    let upstream = Sink::start();
    let plain = Config::new().exporter("otlp_http", &config::http(&upstream, "compression: none"));
    one_request(&plain, &upstream, 1);
    assert!(!upstream.received()[0].headers.contains_key("content-encoding"));
}

#[test]
fn of_a_merged_request_only_the_guilty_part_has_failed() {
    let upstream = Sink::start();
    upstream.refuse_with("the guilty one");
    let merging = "sending_queue: { batch: { flush_timeout: 500ms } }";
    let config = Config::new().exporter("otlp_grpc", &config::grpc(&upstream, merging));
    let guilty = odd::request(&[odd::span(1, 1, &[odd::field(5, b"the guilty one")]), odd::span(1, 2, &[])]);
    let good = Exporter::new(64).requests(6, 20);
    let mut requests = good.clone();
    requests.insert(3, guilty);
    let sluice = Sluice::start(&config);
    send::all(sluice.grpc(), &requests).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(end.account.sum("destination", "failed"), 2);
    assert_eq!(sluice_tests::wire::difference(&good, &upstream.wires()).unwrap(), None);
}

#[test]
fn an_upstream_that_is_away_is_asked_by_one_request_at_a_time() {
    const PAUSE: Duration = Duration::from_millis(300);
    let upstream = Sink::start();
    upstream.always(Answer::UNAVAILABLE);
    let address = upstream.address();
    let settings = format!(
        "endpoint: '{address}'\ntls: {{ insecure: true }}\n\
         retry_on_failure: {{ initial_interval: {}ms, multiplier: 1, randomization_factor: 0 }}\n\
         sending_queue: {{ num_consumers: 10, batch: {{ enabled: false }} }}",
        PAUSE.as_millis()
    );
    let sluice = Sluice::start(&Config::new().exporter("otlp_grpc", &settings));
    let requests = Exporter::new(65).requests(10, 20);
    send::all(sluice.grpc(), &requests).unwrap();
    let open = || sluice.metrics().sum("sluice_exporter_circuit_open", &[("exporter", "otlp_grpc")]) == 1.0;
    sluice_tests::wait::until("the circuit to open", || open().then_some(()));
    // Those that were on their way have landed; the pauses between the next ones are whole.
    upstream.wait_for_attempts(14);
    let came = upstream.attempts();
    // Ten requests on their own would have made three attempts in a tenth of a pause.
    assert!(came[13] - came[10] > PAUSE * 2, "three attempts in {:?}", came[13] - came[10]);
    upstream.always(Answer::Ok);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(sluice_tests::wire::difference(&requests, &upstream.wires()).unwrap(), None);
    let states: Vec<_> = end.stderr.lines().filter(|line| line.contains("export.circuit")).collect();
    assert!(states.len() == 2 && states[1].contains("closed"), "{states:?}");
}
