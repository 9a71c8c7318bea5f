//! A component that takes a compiler minutes costs the time that the limit says, one that takes it much memory the
//! memory that every plugin may take, and neither costs more.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::sink::Sink;
use sluice_tests::wait;

use super::guest::{Guest, takes_memory, takes_minutes};
use super::machine::{children, cpu_time, cpu_time_of_children, has_children};
use super::stage::start;

/// As configured below: so long that a compiler that yields to all others comes to run on a machine in full
/// use, too.
const TIME: Duration = Duration::from_secs(3);

/// As documented.
const MEMORY_MIB: u64 = 1024;

/// What an idle collector may use in a second: its clocks and its watch, on a busy machine.
const IDLE: Duration = Duration::from_millis(100);

fn cpu_time_of_all(sluice: &Sluice) -> Duration {
    cpu_time(sluice.pid()) + cpu_time_of_children(sluice)
}

/// The most address space that compilers had so far which still run, in MiB.
fn most_memory_mib(sluice: &Sluice) -> u64 {
    let peak = |pid: u32| {
        // Before that it is a copy of the collector.
        let is_compiler =
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("__compile"));
        if !is_compiler {
            return 0;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap_or_default();
        line.split_whitespace().next().map_or(0, |kib| kib.parse::<u64>().unwrap() >> 10)
    };
    children(sluice).into_iter().map(peak).max().unwrap_or_default()
}

/// What compiling has cost: until it was told that it had failed, in CPU time, and in address space in MiB.
struct Cost {
    took: Duration,
    cpu: Duration,
    memory_mib: u64,
}

/// Puts a guest with this function in place; it is refused for a reason with this text. Two seconds later nothing
/// uses CPU time any more.
fn refused(function: &str, compile_timeout: &str, reason: &str) -> Cost {
    let upstream = Sink::start();
    let settings = format!("module: guest.wasm\nlimits: {{ compile_timeout: {compile_timeout} }}");
    let folder = Folder::new(&Config::to(&upstream).processor("wasm/guest", &settings).yaml());
    folder.write("guest.wasm", Guest::new().component());
    let sluice = start(folder);
    let (seen, component) = (sluice.swaps("wasm/guest").len(), Guest::new().module(function).component());
    let (mut cpu, mut memory_mib, began) = (Duration::ZERO, 0, Instant::now());
    sluice.folder().write("guest.wasm", component);
    let told = wait::until("the report", || {
        cpu = cpu.max(cpu_time_of_children(&sluice));
        memory_mib = memory_mib.max(most_memory_mib(&sluice));
        sluice.swaps("wasm/guest").into_iter().nth(seen)
    });
    let took = began.elapsed();
    println!("{took:?}, of it {cpu:?} of CPU time, and {memory_mib} MiB");
    assert!(told["reason"].as_str().is_some_and(|told| told.contains(reason)), "{told}");
    assert!(cpu > Duration::ZERO, "compiling is in what is read");
    // What is promised is about time that passes.
    thread::sleep(Duration::from_secs(2));
    let compiled = cpu_time_of_all(&sluice);
    assert!(!has_children(&sluice));
    thread::sleep(Duration::from_secs(1));
    let after = cpu_time_of_all(&sluice);
    assert!(after - compiled < IDLE, "{compiled:?} and a second later {after:?}");
    assert_eq!(sluice.terminate().code, 0);
    Cost { took, cpu, memory_mib }
}

#[test]
fn two_seconds_after_the_limit_of_compiling_no_more_cpu_time_is_used() {
    let cost = refused(&takes_minutes(3_000), "3s", "(limits.compile_timeout)");
    assert!(cost.took >= TIME && cost.cpu < TIME + IDLE, "it was compiled for so long");
}

#[test]
fn two_seconds_after_the_limit_of_a_compilers_memory_no_more_cpu_time_is_used() {
    let cost = refused(&takes_memory(), "5m", "more than 1024 MiB of memory");
    // How near to the limit it was seen is chance: it takes memory in large pieces, and at last for a moment.
    assert!((MEMORY_MIB / 4..=MEMORY_MIB).contains(&cost.memory_mib), "{} MiB", cost.memory_mib);
}
