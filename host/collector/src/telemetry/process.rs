//! Figures of the process itself, under the Collector's names, read when they are asked for.

use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};
use rustix::time::{ClockId, clock_gettime};

/// Uptime, CPU time, memory.
pub(super) struct Process {
    started: Instant,
    uptime: Counter,
    cpu: Counter,
    memory: Gauge,
}

impl Process {
    /// Figures of a process that has started now.
    ///
    /// # Errors
    /// Never with these names.
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            started: Instant::now(),
            uptime: Counter::with_opts(Opts::new("otelcol_process_uptime", "Seconds since the process has started."))?,
            cpu: Counter::with_opts(Opts::new("otelcol_process_cpu_seconds", "CPU seconds, user and system."))?,
            memory: Gauge::with_opts(Opts::new("otelcol_process_memory_rss", "Bytes of memory that are resident."))?,
        })
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        [self.uptime.desc(), self.cpu.desc(), self.memory.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        raise(&self.uptime, self.started.elapsed().as_secs_f64());
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        raise(&self.cpu, cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
        // Without /proc there is nothing to tell.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        self.memory.set(resident_bytes(&status).unwrap_or(0) as f64);
        [self.uptime.collect(), self.cpu.collect(), self.memory.collect()].concat()
    }
}

/// Raises a counter to a figure that only grows; two scrapes at a time may overtake each other.
fn raise(counter: &Counter, to: f64) {
    let by = to - counter.get();
    if by > 0.0 {
        counter.inc_by(by);
    }
}

/// `VmRSS:     1234 kB` → bytes.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_status_of_proc() {
        // From proc_pid_status(5).
        let status = "Name:\tbash\nVmPeak:\t  131168 kB\nVmRSS:\t   13484 kB\nRssAnon:\t   10264 kB\n";
        assert_eq!(resident_bytes(status), Some(13_484 * 1024));
        assert_eq!(resident_bytes("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn the_process_has_used_time_and_memory() {
        let process = Process::new().unwrap();
        let names: Vec<_> = process.collect().iter().map(|family| family.name().to_owned()).collect();
        assert_eq!(names, ["otelcol_process_uptime", "otelcol_process_cpu_seconds", "otelcol_process_memory_rss"]);
        assert!(process.cpu.get() > 0.0);
        assert!(process.memory.get() > 1e6);
    }
}
