//! The end: what was accepted is delivered, or the exit code says that it was not.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::send;
use sluice_tests::send::Grpc;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::wire;

#[test]
fn sigterm_delivers_what_is_queued_and_exits_0() {
    let upstream = Sink::start();
    upstream.script(std::iter::repeat_n(Answer::Late(Duration::from_millis(300)), 3));
    let requests = Exporter::new(101).requests(50, 40);
    let sluice = Sluice::start(&Config::to(&upstream));
    send::all(sluice.grpc(), &requests).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(wire::difference(&requests, &upstream.wires()).unwrap(), None);
}

#[test]
fn sigint_drains_as_well() {
    let upstream = Sink::start();
    let requests = Exporter::new(102).requests(10, 40);
    let sluice = Sluice::start(&Config::to(&upstream));
    send::all(sluice.grpc(), &requests).unwrap();
    sluice.signal(libc::SIGINT);
    assert_eq!(sluice.wait_end().code, 0);
    assert_eq!(wire::difference(&requests, &upstream.wires()).unwrap(), None);
}

#[test]
fn spans_lost_at_the_drain_deadline_are_told_by_exit_code_3_and_the_account() {
    let upstream = Sink::start();
    upstream.always(Answer::UNAVAILABLE);
    let sluice = Sluice::start(&Config::to(&upstream).extension("sluice", "drain_timeout: 300ms"));
    let request = Exporter::new(103).request(40);
    send::all(sluice.grpc(), std::slice::from_ref(&request)).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (3, 0), "{}", end.stderr);
    let spans = wire::count(&request).unwrap() as i64;
    let (held, failed) = (end.account.sum("destination", "held"), end.account.sum("destination", "failed"));
    assert_eq!(held + failed, spans, "{}", end.stderr);
}

#[test]
fn a_pipe_that_nobody_reads_from_holds_up_no_end() {
    let folder = Folder::new("");
    let path = folder.path("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let settings = format!("path: '{}'", path.display());
    let config = Config::new().exporter("file", &settings).extension("sluice", "drain_timeout: 300ms");
    folder.write("config.yaml", config.yaml());
    // It is there and reads nothing.
    let reader = File::options().read(true).write(true).open(&path).unwrap();
    let sluice = Sluice::start_in(folder);
    // More than a pipe holds, so that a write does not come back.
    send::all(sluice.grpc(), &Exporter::new(107).requests(20, 400)).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (3, 0), "{}", end.stderr);
    drop(reader);
}

#[test]
fn a_second_signal_ends_at_once() {
    let upstream = Sink::start();
    upstream.always(Answer::UNAVAILABLE);
    // Far above what its end is waited for: it does not wait for upstream.
    let sluice = Sluice::start(&Config::to(&upstream).extension("sluice", "drain_timeout: 10m"));
    send::all(sluice.grpc(), &[Exporter::new(104).request(40)]).unwrap();
    sluice.signal(libc::SIGTERM);
    sluice_tests::wait::until("the drain to begin", || sluice.log().find("draining"));
    sluice.signal(libc::SIGTERM);
    let end = sluice.wait_end();
    assert_ne!(end.code, 0, "spans were lost: {}", end.stderr);
}

#[test]
fn requests_on_their_way_are_answered_before_the_end() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream));
    let client = Grpc::new(sluice.grpc()).unwrap();
    let requests = Exporter::new(105).requests(400, 40);
    let sender = std::thread::spawn(move || {
        let taken = requests.into_iter().take_while(|request| client.send(request).is_ok());
        taken.collect::<Vec<_>>()
    });
    upstream.wait_for_spans(200);
    let end = sluice.terminate();
    let taken = sender.join().unwrap();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    // What the sender holds an answer for has arrived; of one more the answer may have been lost.
    let sent: u64 = taken.iter().map(|request| wire::count(request).unwrap()).sum();
    assert!((sent..=sent + 60).contains(&upstream.spans()), "{sent} were taken, {} arrived", upstream.spans());
}

#[test]
fn a_process_that_drains_is_not_ready() {
    let upstream = Sink::start();
    upstream.always(Answer::UNAVAILABLE);
    let config = Config::to(&upstream).extension("health_check", "endpoint: '127.0.0.1:0'");
    let sluice = Sluice::start(&config);
    let health = sluice.address("health_check", "");
    send::all(sluice.grpc(), &[Exporter::new(106).request(40)]).unwrap();
    assert_eq!(send::http::get(health, "/").unwrap().status, 200);
    sluice.signal(libc::SIGTERM);
    sluice_tests::wait::until("the drain to begin", || sluice.log().find("draining"));
    assert_eq!(send::http::get(health, "/").unwrap().status, 503);
    upstream.always(Answer::Ok);
    assert_eq!(sluice.wait_end().code, 0);
}
