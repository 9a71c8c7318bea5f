#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::thread;

use prometheus::Registry;
use sluice_sandbox::{Compiler, Options, Sandbox, Source};

use super::*;
use crate::chain::PluginMetrics;
use crate::config::processor::Restart;
use crate::generation::sandbox_settings;
use crate::series::Aggregates;

#[path = "../../../../sandbox/tests/sandbox/guest.rs"]
#[allow(dead_code, reason = "the sandbox's tests need more of it")]
mod guest;

/// The guard of a plugin that does nothing, and whose breaker opens with its first failure, for a moment.
fn guard() -> Arc<Guard> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guest.wasm");
    std::fs::write(&file, guest::Guest::new().component()).unwrap();
    let sandbox = Sandbox::new(Options { cache_dir: None, compiler: Compiler::InProcess }).unwrap();
    let moment = Duration::from_millis(1);
    let restart = Restart { initial_interval: moment, max_interval: moment, budget: 0, ..Restart::default() };
    let settings = Settings { restart, ..Settings::of("wasm", "{}".to_owned()) };
    let module = sandbox.load(&Source::File(file), &settings.limits, None).unwrap();
    let prepared = sandbox.prepare(&module, sandbox_settings("wasm", &settings, Vec::new(), None)).unwrap();
    let metrics = PluginMetrics::new(&Registry::new(), &Aggregates::default()).unwrap();
    let stats = Arc::new(metrics.plugin("wasm", "1", None, 1));
    let care = Care { aside: Aside::start().unwrap(), readiness: Readiness::default(), quarantine: None };
    Guard::new("wasm", &settings, &prepared, &stats, &care)
}

#[track_caller]
fn wait_until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_mins(1), "it never came to be so");
        thread::yield_now();
    }
}

#[test]
fn a_breaker_that_opened_before_its_version_served_everywhere_is_probed_then() {
    let guard = guard();
    guard.failed();
    assert!(guard.admission() == Admission::Away);
    wait_until(|| guard.has_missed_probe.load(Ordering::Relaxed));
    assert!(guard.admission() == Admission::Away, "only a probe ends this");
    guard.begin_to_serve();
    wait_until(|| guard.admission() == Admission::Here);
}
