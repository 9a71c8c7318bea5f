//! The process that is measured: how it is started, what it has used, how it ends.

use std::fs;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use sluice_tests::{process, wait};
use tempfile::TempDir;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// The null proxy on one multi-thread runtime: what all ratios are to.
    Null,
    /// The null proxy on one single-thread runtime a core.
    NullPerCore,
    /// Sluice without plugins.
    Pass,
    /// Sluice with four plugins.
    Four,
    /// Sluice with four plugins and one that costs more than these together.
    #[value(skip)]
    Five,
    /// Sluice without plugins, with a queue on disk.
    #[value(skip)]
    Durable,
}

impl Shape {
    /// Its name in the table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Null => "null proxy, multi-thread",
            Self::NullPerCore => "null proxy, single-thread per core",
            Self::Pass => "sluice, pass-through",
            Self::Four => "sluice, four plugins",
            Self::Five => "sluice, five plugins",
            Self::Durable => "sluice, queue on disk",
        }
    }

    /// The most CPU that it may take, in times of the null proxy's.
    pub fn bar(self) -> Option<f64> {
        match self {
            Self::Null | Self::NullPerCore | Self::Five | Self::Durable => None,
            Self::Pass => Some(0.7),
            Self::Four => Some(1.2),
        }
    }

    fn command(self, listen: SocketAddr, upstream: SocketAddr, cache: &TempDir) -> Command {
        let config = match self {
            Self::Null | Self::NullPerCore => {
                let mut command = Command::new(process::release("null-proxy"));
                command.arg("--listen").arg(listen.to_string()).arg("--upstream").arg(upstream.to_string());
                if self == Self::NullPerCore {
                    command.arg("--per-core");
                }
                return command;
            }
            Self::Pass => "pass.yaml",
            Self::Four => "four.yaml",
            Self::Five => "five.yaml",
            Self::Durable => "durable.yaml",
        };
        let mut command = Command::new(process::sluice());
        command.args(["run", "--config"]).arg(process::workspace().join("examples/bench").join(config));
        command.env("RECEIVER", listen.to_string()).env("UPSTREAM", upstream.to_string());
        command.env("SLUICE_CACHE_DIR", cache.path()).env("QUEUE", cache.path().join("queue"));
        command
    }
}

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long a start and an end may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running process that is measured. It is killed when dropped.
pub struct Subject {
    child: Child,
    address: SocketAddr,
    started_with: Duration,
    watch: Option<Watch>,
    ended: bool,
    log: PathBuf,
    _cache: TempDir,
}

/// What a process used in its life.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// User and system time of all its threads and of the children that it waited for.
    pub cpu: Duration,
    /// Its memory.
    pub peak: Peak,
}

/// Largest resident sets, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peak {
    /// The process's own: the system's high-water mark.
    pub own: u64,
    /// That of its children together, which compile plugins: the most that was seen at once. They
    /// are gone before there is load.
    pub children: u64,
}

impl Subject {
    /// Starts the process with an empty code cache and waits until it takes connections.
    pub fn start(shape: Shape, upstream: SocketAddr) -> Result<Self> {
        // Folders for temporary files may be in memory; this one is on a disk.
        let cache = tempfile::tempdir_in(process::workspace().join("target"))?;
        let log = cache.path().join("log");
        let listen = free_address()?;
        let mut command = shape.command(listen, upstream, &cache);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let mut child = process::tie(&mut command).spawn().with_context(|| format!("{command:?}"))?;
        let watch = Some(Watch::start(child.id()));
        let up = wait::within(PATIENCE, || match child.try_wait() {
            Ok(None) => TcpStream::connect(listen).is_ok().then_some(true),
            _ => Some(false),
        });
        if up != Some(true) {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{} did not start:\n{}", shape.title(), fs::read_to_string(&log).unwrap_or_default());
        }
        let started_with = cpu(child.id())?;
        Ok(Self { child, address: listen, started_with, watch, ended: false, log, _cache: cache })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU time since it was ready.
    pub fn cpu(&self) -> Result<Duration> {
        Ok(cpu(self.child.id())?.saturating_sub(self.started_with))
    }

    /// How long its threads waited for a core so far.
    pub fn waited(&self) -> Result<Duration> {
        waited(self.child.id())
    }

    /// Its memory so far.
    pub fn peak(&self) -> Peak {
        self.watch.as_ref().map(Watch::peak).unwrap_or_default()
    }

    /// Has it drain and end, and gives what it used.
    pub fn end(mut self) -> Result<Used> {
        process::signal(&self.child, libc::SIGTERM);
        let pid = self.child.id() as libc::pid_t;
        let usage = wait::within(PATIENCE, || reap(pid));
        let Some((status, cpu)) = usage else { bail!("process {pid} does not end") };
        self.ended = true;
        let killed_by_us = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGTERM;
        if !killed_by_us && status != 0 {
            bail!("it ended with {status:#x}:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
        let peak = self.watch.take().map(Watch::stop).unwrap_or_default();
        Ok(Used { cpu, peak })
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// An address that nobody uses now.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// User and system time of a living process, to the nanosecond.
pub fn cpu(pid: u32) -> Result<Duration> {
    let mut clock = 0;
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: both calls write to the places given and keep no reference.
    let time = unsafe {
        if libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) != 0
            || libc::clock_gettime(clock, time.as_mut_ptr()) != 0
        {
            bail!("process {pid} has no clock");
        }
        time.assume_init()
    };
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// How long the threads of a process were ready to run and waited for a core, so far.
pub fn waited(pid: u32) -> Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that has ended since is none.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let waited = text.split_whitespace().nth(1).and_then(|nanos| nanos.parse::<u64>().ok());
        nanos += waited.context("schedstat says how long a thread waited")?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Takes a process that has ended, with its exit status and its CPU time.
fn reap(pid: libc::pid_t) -> Option<(i32, Duration)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call writes to the places given and keeps no reference.
    let usage = unsafe {
        if libc::wait4(pid, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) != pid {
            return None;
        }
        usage.assume_init()
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    Some((status, time(usage.ru_utime) + time(usage.ru_stime)))
}

/// Looks at a process's memory until told to stop.
struct Watch {
    seen: Arc<Seen>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    own: AtomicU64,
    children: AtomicU64,
}

impl Watch {
    fn start(pid: u32) -> Self {
        let seen = Arc::new(Seen::default());
        let thread = thread::spawn({
            let seen = Arc::clone(&seen);
            move || {
                while !seen.stop.load(Ordering::Relaxed) {
                    seen.own.fetch_max(field(pid, "VmHWM:"), Ordering::Relaxed);
                    seen.children.fetch_max(children(pid), Ordering::Relaxed);
                    thread::sleep(LOOK);
                }
            }
        });
        Self { seen, thread }
    }

    fn peak(&self) -> Peak {
        let seen = |peak: &AtomicU64| peak.load(Ordering::Relaxed);
        Peak { own: seen(&self.seen.own), children: seen(&self.seen.children) }
    }

    fn stop(self) -> Peak {
        self.seen.stop.store(true, Ordering::Relaxed);
        let peak = self.peak();
        let _ = self.thread.join();
        peak
    }
}

/// What the children of a process hold now. Any of its threads may have started them.
fn children(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let children =
        threads.flatten().map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let resident = |children: String| -> u64 {
        children.split_whitespace().filter_map(|child| child.parse().ok()).map(|child| field(child, "VmRSS:")).sum()
    };
    children.map(resident).sum()
}

/// A field of /proc/PID/status in bytes; 0 if the process is gone.
fn field(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or_default() * 1024
}
