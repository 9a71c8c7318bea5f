//! What a request stages until it has passed is bounded, however many calls it takes.

use sluice_tests::collector::{Config, Folder, Metrics, Sluice};
use sluice_tests::send::Grpc;
use sluice_tests::sink::Sink;

use super::component;
use super::machine::{reset_peak, resident_mib};
use crate::odd;

/// Spans of one request: 196 slices.
const SPANS: usize = 100_000;
const SLICES: f64 = 196.0;

/// What the request itself and its index need, and what calls may stage: 16 MiB.
const MARGIN_MIB: u64 = 150;

/// Records 9,000 values of one series with a label of 256 bytes in every call; `kind` is 1 for a counter, 3 for a
/// histogram.
fn hoards(kind: u32) -> Vec<u8> {
    let label = "v".repeat(256);
    let guest = format!(
        "@capabilities metrics\n@text 4096 hoard\n@u32 4120 5\n@u32 4124 256\n@text 4130 depot\n@text 4200 {label}\n@process
         (call $define (i32.const {kind}) (i32.const 4096) (i32.const 5) (i32.const 4096) (i32.const 5)
           (i32.const 4120) (i32.const 1) (i32.const 4130) (i32.const 5) (i32.const 600))
         (local.set $n (i32.const 9000))
         (loop $more
           (call $record (i32.load (i32.const 604)) (i32.const 4124) (i32.const 1) (i32.const 4200) (i32.const 256)
             (f64.const 1) (i32.const 700))
           (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
    );
    component(guest.leak())
}

/// Logs five lines of 1 MiB in every call.
fn logs_megabytes() -> Vec<u8> {
    let log = "(call $log (i32.const 3) (i32.const 0x20000) (i32.const 0x100000))";
    component(format!("@capabilities log\n@pages 20\n@process\n{}", log.repeat(5)).leak())
}

/// Sends the request to a collector with this guest; gives by how many MiB it grew, and the scrape after it.
fn send(guest: Vec<u8>, limits: &str, is_taken: bool) -> (u64, Metrics) {
    let upstream = Sink::start();
    let settings = format!("module: guest.wasm\nlimits: {{ timeout: 10s{limits} }}");
    let folder = Folder::new(&Config::to(&upstream).processor("wasm/guest", &settings).yaml());
    folder.write("guest.wasm", guest);
    let sluice = Sluice::start_in(folder);
    let spans: Vec<_> = (0..SPANS).map(|span| odd::span(1, span as u8, &[])).collect();
    let (request, client) = (odd::request(&spans), Grpc::new(sluice.grpc()).unwrap());
    let before = resident_mib(&sluice, "VmRSS");
    reset_peak(&sluice);
    assert_eq!(client.send(&request).is_ok(), is_taken);
    let (grown, metrics) = (resident_mib(&sluice, "VmHWM").saturating_sub(before), sluice.metrics());
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing()), (0, 0), "{}", end.stderr);
    println!("{grown} MiB");
    (grown, metrics)
}

#[test]
fn what_is_counted_in_one_series_over_many_calls_is_kept_once() {
    let (grown, metrics) = send(hoards(1), "", true);
    assert_eq!(metrics.sum("sluice_plugin_custom_hoard", &[]), 9_000.0 * SLICES, "all of it is counted");
    assert!(grown < MARGIN_MIB, "{grown} MiB");
}

#[test]
fn a_request_that_stages_more_than_its_output_fails_as_that() {
    // The values alone are 13 MiB.
    let (grown, metrics) = send(hoards(3), ", output_mib: 4", false);
    assert!(metrics.sum("sluice_plugin_failures_total", &[("plugin", "wasm/guest"), ("kind", "output")]) >= 1.0);
    assert!(!metrics.has("sluice_plugin_custom_hoard_count"), "nothing of it counts");
    assert!(grown < MARGIN_MIB, "{grown} MiB");
}

#[test]
fn lines_of_megabytes_are_kept_as_they_were_cut() {
    let (grown, metrics) = send(logs_megabytes(), ", log_lines_per_s: 100000, log_bytes_per_s: 100000000", true);
    let failures = metrics.sum("sluice_plugin_failures_total", &[("plugin", "wasm/guest")]);
    assert_eq!(failures, 0.0, "none of 980 MiB was dropped");
    assert!(grown < MARGIN_MIB, "{grown} MiB");
}
