//! A plugin that has its instances replaced gets no more by it.

use std::time::Instant;

use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::send::Grpc;
use sluice_tests::sink::Sink;
use sluice_tests::wait;

use super::attack::request;
use super::component;

const SERIES: &str = "sluice_plugin_custom_waybills";
const GUEST: &str = include_str!("../../guests/hostile/replaced_for_more_series.wat");

/// The guest, which logs so many lines in a call.
fn logs(lines: u32) -> &'static str {
    let text = GUEST.replace("(local.set $n (i32.const 1))", &format!("(local.set $n (i32.const {lines}))"));
    assert_ne!(text, GUEST, "it says how many lines it logs");
    text.leak()
}

#[test]
fn an_instance_that_is_replaced_has_no_more_series_and_log_lines_than_the_plugin() {
    let upstream = Sink::start();
    let settings = "module: guest.wasm\nlimits: { metric_series: 25, log_lines_per_s: 100, timeout: 5s }";
    let config = Config::to(&upstream).processor("wasm/guest", settings);
    let folder = Folder::new(&config.yaml());
    folder.write("guest.wasm", component(logs(60)));
    let sluice = Sluice::start_in(folder);
    let (began, clients) = (Instant::now(), [(); 4].map(|()| Grpc::new(sluice.grpc()).unwrap()));
    // Each makes 20 series and logs 60 lines.
    for client in clients.iter().cycle().take(20) {
        client.send(&request(3)).expect("it does nothing to the spans");
    }
    let (metrics, seconds) = (sluice.metrics(), began.elapsed().as_secs() as usize);
    assert!(metrics.sum("sluice_plugin_restarts_total", &[]) >= 10.0, "it was replaced");
    assert_eq!(metrics.all(SERIES).count(), 25);
    let failures =
        |kind: &str| metrics.sum("sluice_plugin_failures_total", &[("plugin", "wasm/guest"), ("kind", kind)]);
    assert!(failures("metrics") >= 18.0, "{}", failures("metrics"));
    assert!(failures("log") >= 1.0);
    // The plugin began before its first call did.
    let lines = sluice.log().events("plugin.log").len();
    assert!((100..=100 * (seconds + 2)).contains(&lines), "{lines} lines in {seconds} s");

    sluice.rewrite(&Config::to(&upstream));
    wait::until("the series of a plugin that has left to be gone", || (!sluice.metrics().has(SERIES)).then_some(()));
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), upstream.spans()), (0, 0, 60), "{}", end.stderr);
}
