//! An instance that cannot be set up anew is a failure of its own, which no span is blamed for, and one that is tried
//! again.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use sluice_tests::collector::{Config, Sluice};
use sluice_tests::send::Grpc;
use sluice_tests::sink::Sink;
use sluice_tests::wait;

use crate::poison::{all_bad, folder, request};

const PLUGIN: &str = "wasm/tester";

/// After a failure there is time to see to the machine before the next attempt, also where it is busy.
const SETTINGS: &str = "module: tester.wasm
config: { does: trap, to: bad }
limits: { timeout: 5s }
restart: { initial_interval: 4s, max_interval: 4s, budget: 0, window: 1m }";

/// An instance reserves 4 GiB of addresses, which nobody else here needs so many of.
const LEFT: u64 = 1 << 30;

/// How many bytes of addresses a process may have.
fn limit_addresses(sluice: &Sluice, most: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(sluice.pid()).unwrap()).unwrap();
    prlimit(Some(pid), Resource::As, Rlimit { current: most, maximum: None }).unwrap();
}

/// How many it has.
fn addresses(sluice: &Sluice) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", sluice.pid())).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    size.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

fn failures(sluice: &Sluice, kind: &str) -> f64 {
    sluice.metrics().sum("sluice_plugin_failures_total", &[("plugin", PLUGIN), ("kind", kind)])
}

#[test]
fn an_instance_that_cannot_be_set_up_anew_is_counted_as_that_and_tried_again() {
    let limit = getrlimit(Resource::As);
    if limit.current.is_some() || limit.maximum.is_some() {
        return println!("SKIPPED an instance that cannot be set up: addresses are limited here, and instances small");
    }
    let upstream = Sink::start();
    let sluice = Sluice::start_in(folder(&Config::to(&upstream).processor(PLUGIN, SETTINGS)));
    let client = Grpc::new(sluice.grpc()).unwrap();
    client.send(&request(5, &[])).unwrap();

    // The instance is gone, and there is no room for another.
    assert!(client.send(&all_bad()).is_err());
    limit_addresses(&sluice, Some(addresses(&sluice) + LEFT));
    let traps = failures(&sluice, "trap");
    assert!(traps >= 1.0);
    wait::until("an instance not to be set up", || (failures(&sluice, "configure") >= 1.0).then_some(()));
    assert!(client.send(&request(5, &[])).is_err(), "nothing passes a plugin that cannot be called");
    assert_eq!(failures(&sluice, "trap"), traps, "no other kind is counted");
    let told = sluice.log().events("plugin.failure").into_iter().find(|event| event["kind"] == "configure").unwrap();
    assert!(told["reason"].as_str().unwrap().contains("memory"), "{told}");

    limit_addresses(&sluice, None);
    wait::until("the plugin to serve", || client.send(&request(5, &[])).ok());
    let end = sluice.terminate();
    assert_eq!((end.code, end.account.missing(), upstream.spans()), (0, 0, 10), "{}", end.stderr);
    assert_eq!(end.account.dropped_by(PLUGIN), 0, "no span is to blame");
}
