//! What processes use, read from the system.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use sluice_tests::collector::Sluice;

/// Resident memory in MiB: as it is now (`VmRSS`), or the most since the last reset (`VmHWM`).
pub fn resident_mib(sluice: &Sluice, which: &str) -> u64 {
    let status = fs::read_to_string(Path::new("/proc").join(sluice.pid().to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':')).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() >> 10
}

/// From now on the system notes anew how much memory was resident at most.
pub fn reset_peak(sluice: &Sluice) {
    fs::write(format!("/proc/{}/clear_refs", sluice.pid()), "5").unwrap();
}

/// The processes that a collector has started and that it has not seen the end of.
pub fn children(sluice: &Sluice) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", sluice.pid())).unwrap().flatten();
    let children = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks
        .map(children)
        .flat_map(|line| line.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

/// Whether a compiler is there, which could use time.
pub fn has_children(sluice: &Sluice) -> bool {
    !children(sluice).is_empty()
}

/// Of so many ticks of the system's clock.
fn ticks(ticks: u64) -> Duration {
    // SAFETY: a plain question to the C library.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Duration::from_secs_f64(ticks as f64 / per_second as f64)
}

/// CPU time of a process and of those of its children that have ended and were waited for.
pub fn cpu_time(pid: u32) -> Duration {
    times(pid).into_iter().sum()
}

/// User and system time of a process, and of those of its children that have ended and were waited for.
fn times(pid: u32) -> [Duration; 4] {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; the times are the 14th to the 17th field.
    let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11);
    [(); 4].map(|()| ticks(fields.next().map_or(0, |field| field.parse().unwrap())))
}

/// That of children that still run.
pub fn cpu_time_of_children(sluice: &Sluice) -> Duration {
    children(sluice).into_iter().map(cpu_time).sum()
}

/// The threads of a collector that serve.
pub struct Cores(Vec<PathBuf>);

impl Cores {
    pub fn of(sluice: &Sluice) -> Self {
        let threads = fs::read_dir(format!("/proc/{}/task", sluice.pid())).unwrap();
        let threads = threads.map(|thread| thread.unwrap().path());
        let is_core = |thread: &PathBuf| fs::read_to_string(thread.join("comm")).unwrap().starts_with("core-");
        let cores: Vec<_> = threads.filter(is_core).collect();
        assert!(!cores.is_empty(), "threads of cores have that name");
        Self(cores)
    }

    /// How long they have been ready to run and were not let, added up.
    pub fn kept_from_running(&self) -> Duration {
        let nanos = |core: &PathBuf| {
            // Time on a CPU, time waiting for one, and how often; in nanoseconds.
            let told = fs::read_to_string(core.join("schedstat")).unwrap_or_default();
            told.split_whitespace().nth(1).map_or(0, |nanos| nanos.parse().unwrap())
        };
        Duration::from_nanos(self.0.iter().map(nanos).sum())
    }
}

/// How much of the machine others have, who have nothing to do with the test.
pub struct Others {
    began: Instant,
    had: Duration,
}

/// With this part of the machine they may well keep others waiting for the time that is judged.
const MUCH: f64 = 0.05;

impl Others {
    pub fn now(sluice: &Sluice) -> Self {
        Self { began: Instant::now(), had: Self::have(sluice) }
    }

    /// The part of the machine that they had since, and whether that is much.
    pub fn since(&self, sluice: &Sluice) -> (f64, bool) {
        let had = Self::have(sluice).saturating_sub(self.had).as_secs_f64();
        let part = had / (self.began.elapsed().as_secs_f64() * available_parallelism().unwrap().get() as f64);
        (part, part > MUCH)
    }

    fn have(sluice: &Sluice) -> Duration {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let all: Vec<u64> =
            stat.lines().next().unwrap().split_whitespace().skip(1).map(|field| field.parse().unwrap()).collect();
        // By `proc_stat(5)`: user, nice and system, and what was stolen by other machines on the same hardware.
        let used = ticks([0, 1, 2, 7].into_iter().filter_map(|field| all.get(field)).sum());
        // What other tests of this process have started is not ours.
        let ours = times(std::process::id()).into_iter().take(2).sum::<Duration>();
        let ours = ours + cpu_time(sluice.pid()) + cpu_time_of_children(sluice);
        used.saturating_sub(ours)
    }
}
