//! `flush` is called on one instance of a plugin in each interval.

use std::time::{Duration, Instant, SystemTime};

use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::sink::Sink;
use sluice_tests::{send, wait};

use crate::{guests, odd};

const PLUGIN: [(&str, &str); 1] = [("plugin", "wasm/tester")];

fn start(upstream: &Sink, does: &str, more: &str) -> Sluice {
    let settings = format!("module: tester.wasm\nconfig: {{ does: {does} }}\n{more}");
    let folder = Folder::new(&Config::to(upstream).processor("wasm/tester", &settings).yaml());
    folder.write("tester.wasm", guests::tester("one"));
    Sluice::start_in(folder)
}

#[test]
fn one_instance_is_told_the_time_once_in_each_interval() {
    let upstream = Sink::start();
    let (began, sluice) = (Instant::now(), start(&upstream, "stamp", "flush_interval: 1s"));
    let flushes = || sluice.metrics().sum("sluice_plugin_custom_flushes", &PLUGIN);
    wait::until("the third call", || (flushes() >= 3.0).then_some(()));
    // Whatever the number of cores; the first comes an interval after the start, and each other as long after that.
    let (calls, lasted) = (flushes(), began.elapsed());
    assert!(calls <= lasted.as_secs_f64(), "{calls} calls in {lasted:?}");
    let told = Duration::from_secs_f64(sluice.metrics().sum("sluice_plugin_custom_flushed_at", &PLUGIN));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(told <= now && told + lasted >= now, "{told:?}, and it is {now:?}");
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}

#[test]
fn a_flush_that_fails_is_counted_and_costs_no_span() {
    let upstream = Sink::start();
    let sluice = start(&upstream, "flush", "flush_interval: 1s");
    let failed = || sluice.metrics().sum("sluice_plugin_failures_total", &[PLUGIN[0], ("kind", "trap")]);
    wait::until("the first call", || (failed() >= 1.0).then_some(()));
    let request = odd::request(&[odd::span(1, 1, &[])]);
    send::Grpc::new(sluice.grpc()).unwrap().send(&request).unwrap();
    upstream.wait_for_spans(1);
    wait::until("the next call", || (failed() >= 2.0).then_some(()));
    assert_eq!(sluice.metrics().sum("sluice_plugin_breaker_state", &PLUGIN), 0.0);
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
}
