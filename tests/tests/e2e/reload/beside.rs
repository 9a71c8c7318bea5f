//! Health checks, the metrics endpoint, the log, and what concerns the whole process.

use std::net::TcpListener;

use sluice_tests::collector::{Config, Metrics, Sluice};
use sluice_tests::send::http::get;
use sluice_tests::shop::otlp::Exporter;
use sluice_tests::sink::{Answer, Sink};
use sluice_tests::{send, wait};

use super::{addresses, applied, reload, wait_closed};
use crate::swap::{stamp_now, stamped};

/// The line of the config on which the metrics endpoint stands.
const METRICS: &str = "host: 127.0.0.1, port: 0";

#[test]
fn a_health_check_is_added_moved_changed_and_removed() {
    let upstream = Sink::start();
    let with = |settings: &str| Config::to(&upstream).extension("health_check", settings).yaml();
    let sluice = Sluice::start(&Config::to(&upstream));
    applied(&sluice, &with("endpoint: '127.0.0.1:0'"));
    let first = sluice.address("health_check", "http");
    assert_eq!(get(first, "/").unwrap().status, 200);
    applied(&sluice, &with("endpoint: '127.0.0.1:0'\npath: /ready"));
    assert_eq!(["/", "/ready"].map(|path| get(first, path).unwrap().status.as_u16()), [404, 200]);
    applied(&sluice, &with("endpoint: '127.0.0.2:0'\npath: /ready"));
    let moved = addresses(&sluice, "health_check", "http")[1];
    assert_eq!(get(moved, "/ready").unwrap().status, 200);
    wait_closed(first);
    applied(&sluice, &Config::to(&upstream).yaml());
    wait_closed(moved);
    assert_eq!(addresses(&sluice, "health_check", "http"), [first, moved]);
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn the_metrics_endpoint_moves_and_the_figures_go_on() {
    let upstream = Sink::start();
    let yaml = Config::to(&upstream).yaml();
    let sluice = Sluice::start(&Config::to(&upstream));
    let old = sluice.address("telemetry", "http");
    let figure = |at| {
        let text = get(at, "/metrics").unwrap().body;
        Metrics::parse(&String::from_utf8_lossy(&text)).sum("otelcol_receiver_accepted_spans", &[])
    };
    send::all(sluice.grpc(), &Exporter::new(151).requests(5, 40)).unwrap();
    let before = figure(old);
    assert!(before >= 200.0, "{before}");
    applied(&sluice, &yaml.replace(METRICS, "host: 127.0.0.2, port: 0"));
    let new = addresses(&sluice, "telemetry", "http")[1];
    assert_eq!(figure(new), before);
    wait_closed(old);
    send::all(sluice.grpc(), &Exporter::new(152).requests(5, 40)).unwrap();
    assert!(figure(new) >= before + 200.0, "{} after {before}", figure(new));
    applied(&sluice, &yaml.replace("metrics: {", "metrics: { level: none,"));
    wait_closed(new);
    applied(&sluice, &yaml);
    let back = addresses(&sluice, "telemetry", "http")[2];
    assert!(figure(back) >= before + 200.0);
    // A port in use changes nothing.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let told = reload(&sluice, &yaml.replace(METRICS, &format!("host: 127.0.0.1, port: {port}")));
    assert_eq!(told["outcome"], "failed", "{told}");
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("telemetry") && reason.contains(&port) && reason.contains("config.yaml:"), "{reason}");
    assert!(figure(back) >= before + 200.0);
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn encoding_and_level_of_the_log_change() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&stamped(&upstream, "one"));
    let [one, two] = ["one", "two"].map(|stamp| stamped(&upstream, stamp).yaml());
    sluice.folder().write("config.yaml", one.replace("encoding: json", "encoding: console"));
    let for_people = |line: &String| line.contains("reload") && line.contains("outcome=applied");
    wait::until("a line for people", || sluice.log().lines().iter().any(for_people).then_some(()));
    applied(&sluice, &one);
    let told = sluice.log().lines().len();
    sluice.folder().write("config.yaml", two.replace("encoding: json", "encoding: json, level: error"));
    wait::until("the rule to change", || {
        (stamp_now(&sluice, &upstream, "last").as_deref() == Some("two")).then_some(())
    });
    // What is wrong is told, what went well is not.
    assert_eq!(reload(&sluice, "nonsense:")["outcome"], "failed");
    let since: Vec<_> = sluice.log().lines().split_off(told);
    assert!(since.iter().all(|line| line.contains(r#""level":"error""#)), "{since:?}");
    applied(&sluice, &one);
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn the_drain_timeout_changes() {
    let upstream = Sink::start();
    upstream.always(Answer::UNAVAILABLE);
    let with = |settings: &str| Config::to(&upstream).extension("sluice", settings);
    // Far above what its end is waited for.
    let sluice = Sluice::start(&with("drain_timeout: 10m"));
    applied(&sluice, &with("drain_timeout: 300ms").yaml());
    send::all(sluice.grpc(), &[Exporter::new(153).request(40)]).unwrap();
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (3, 0), "{}", end.stderr);
}

#[test]
fn the_state_dir_cannot_change_and_nothing_else_of_that_config_is_applied() {
    let upstream = Sink::start();
    let sluice = Sluice::start(&Config::to(&upstream).extension("sluice", "state_dir: one"));
    let next = Config::to(&upstream)
        .extension("sluice", "drain_timeout: 1s\nstate_dir: two")
        .extension("health_check", "endpoint: '127.0.0.1:0'");
    let yaml = next.yaml();
    let told = reload(&sluice, &yaml);
    let line = yaml.lines().position(|line| line.contains("state_dir")).unwrap() + 1;
    let reason = told["reason"].as_str().unwrap();
    assert_eq!(told["outcome"], "failed", "{told}");
    assert!(reason.contains("`state_dir`") && reason.contains(&format!("config.yaml:{line}:")), "{reason}");
    assert_eq!(addresses(&sluice, "health_check", "http"), []);
    applied(&sluice, &yaml.replace("state_dir: two", "state_dir: one"));
    assert_eq!(get(sluice.address("health_check", ""), "/").unwrap().status, 200);
    assert_eq!(sluice.terminate().code, 0);
}

#[test]
fn an_exporter_that_was_replaced_delivers_before_the_process_ends() {
    let (upstream, second) = (Sink::start(), Sink::start());
    upstream.always(Answer::UNAVAILABLE);
    let sluice = Sluice::start(&Config::to(&upstream));
    let request = Exporter::new(154).request(40);
    send::all(sluice.grpc(), std::slice::from_ref(&request)).unwrap();
    upstream.wait_for_attempts(1);
    applied(&sluice, &Config::to(&second).yaml());
    sluice.signal(libc::SIGTERM);
    wait::until("the drain to begin", || sluice.log().find("draining"));
    upstream.always(Answer::Ok);
    let end = sluice.wait_end();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    assert_eq!(upstream.spans(), sluice_tests::wire::count(&request).unwrap());
}
