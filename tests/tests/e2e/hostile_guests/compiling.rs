//! A component that takes a compiler minutes costs the time that the limit says, and no more.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use sluice_tests::collector::{Config, Folder, Sluice};
use sluice_tests::sink::Sink;
use sluice_tests::wait;

use super::guest::Guest;
use super::{bomb, has_children};

/// As configured below: so long that a compiler that yields to all others comes to run on a machine in full
/// use, too.
const LIMIT: Duration = Duration::from_secs(3);

/// What an idle collector may use in a second: its clocks and its watch, on a busy machine.
const IDLE: Duration = Duration::from_millis(100);

/// CPU time of a process and of those of its children that have ended and were waited for.
fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; the times are the 14th to the 17th field.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(4)).into_iter().flatten();
    let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap()).sum();
    // SAFETY: a plain question to the C library.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Duration::from_secs_f64(ticks as f64 / per_second as f64)
}

/// That of children that still run.
fn cpu_time_of_children(sluice: &Sluice) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{}/task", sluice.pid())).unwrap().flatten();
    let children = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let children: Vec<u32> =
        children.flat_map(|line| line.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect();
    children.into_iter().map(cpu_time).sum()
}

fn cpu_time_of_all(sluice: &Sluice) -> Duration {
    cpu_time(sluice.pid()) + cpu_time_of_children(sluice)
}

#[test]
fn two_seconds_after_the_limit_of_compiling_no_more_cpu_time_is_used() {
    let upstream = Sink::start();
    let config = Config::to(&upstream).processor("wasm/guest", "module: guest.wasm\nlimits: { compile_timeout: 3s }");
    let folder = Folder::new(&config.yaml());
    folder.write("guest.wasm", Guest::new().component());
    let sluice = Sluice::start_in(folder);
    let (seen, bomb) = (sluice.swaps("wasm/guest").len(), Guest::new().module(&bomb(3_000)).component());
    let (mut compiling, began) = (Duration::ZERO, Instant::now());
    sluice.folder().write("guest.wasm", bomb);
    let told = wait::until("the report", || {
        compiling = compiling.max(cpu_time_of_children(&sluice));
        sluice.swaps("wasm/guest").into_iter().nth(seen)
    });
    assert!(told["reason"].as_str().is_some_and(|reason| reason.contains("(limits.compile_timeout)")), "{told}");
    assert!(began.elapsed() >= LIMIT, "it was compiled for so long");
    assert!(compiling > Duration::ZERO, "compiling is in what is read");
    // What is promised is about time that passes.
    thread::sleep(Duration::from_secs(2));
    let compiled = cpu_time_of_all(&sluice);
    assert!(!has_children(&sluice));
    thread::sleep(Duration::from_secs(1));
    let after = cpu_time_of_all(&sluice);
    assert!(after - compiled < IDLE, "{compiled:?} and a second later {after:?}");
    assert_eq!(sluice.terminate().code, 0);
}
