//! Compiling: in a child process, because a compiler's time and memory cannot be bounded within
//! the process that serves.
//!
//! The child reads the component from its standard input, writes the code into the file named by
//! its only argument, and answers with its exit code and a line on stderr.
//!
//! It gets the time that nobody else wants: the system lets it go the moment that a thread that serves has
//! something to do. On a machine in full use it would never end so, and a priority that was lowered cannot be raised
//! again without a privilege. One that hardly comes to run is ended and started anew as one that has the priority of
//! the process that serves, and is gentle by itself as long as it gets on (`gentle.rs`).

mod gentle;
mod starter;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit};
use tempfile::NamedTempFile;
use wasmtime::Engine;

use crate::engine::{Compiler, Reach, Shared, config};
use starter::Starter;

/// Address space of the child: Cranelift needs some 30 times the component, of which 16 MiB is the usual limit, and
/// this is twice as much.
const CHILD_BYTES: u64 = 1 << 30;
/// How often it is looked at whether the first child comes to run, and the part of that time that it has to get.
/// What is lost by it is a small part of the 2 s within which a new version is to serve.
const LOOK: Duration = Duration::from_millis(150);
const LEAST: u32 = 4;
/// Of what the child says so much is told.
const MOST_SAID: u64 = 4 << 10;
/// How often the child is looked at.
const POLL: Duration = Duration::from_millis(2);

/// The child's exit code when it was not this component that kept it from compiling.
const CANNOT_WORK: u8 = 2;

const SIGKILL: i32 = Signal::KILL.as_raw();
const SIGXCPU: i32 = Signal::XCPU.as_raw();
const SIGABRT: i32 = Signal::ABORT.as_raw();

/// How the parent tells the child its own number, for which [`Reach`] to compile, its CPU time, and its [`Priority`].
const PARENT: &str = "SLUICE_COMPILE_PARENT";
const REACH: &str = "SLUICE_COMPILE_REACH";
const SECONDS: &str = "SLUICE_COMPILE_SECONDS";
const PRIORITY: &str = "SLUICE_COMPILE_PRIORITY";

/// Which time of the machine a child gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Priority {
    /// What nobody else wants.
    Idle,
    /// What others get.
    Equal,
}

impl Priority {
    /// The word by which the child is told.
    fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Equal => "equal",
        }
    }
}

/// How a child has ended.
enum Ended {
    /// By itself, or by a limit of the system's.
    Itself(ExitStatus),
    /// It took too long.
    Late,
    /// It hardly came to run.
    Starved,
    /// Nobody wants it any more.
    Unwanted,
}

/// A [`Compiler`] that is ready to work.
pub(crate) enum Hands {
    /// In a child process.
    Child {
        /// Its program.
        exe: PathBuf,
        /// Who starts it.
        starter: Starter,
    },
    /// In this process.
    InProcess,
}

impl Hands {
    /// Is to be made by a thread with the priority of the process.
    ///
    /// # Errors
    /// When the system has no thread.
    pub(crate) fn new(compiler: Compiler) -> std::io::Result<Self> {
        Ok(match compiler {
            Compiler::Child { exe } => Self::Child { exe, starter: Starter::new()? },
            Compiler::InProcess => Self::InProcess,
        })
    }
}

/// Why a component was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler refuses it.
    #[error("it does not compile: {0}")]
    Invalid(String),
    /// It took too long.
    #[error("compiling it took longer than the limit of {0:?} (limits.compile_timeout)")]
    Timeout(Duration),
    /// It took too much memory.
    #[error("compiling it takes more than {} MiB of memory, the limit for every plugin", CHILD_BYTES >> 20)]
    Memory,
    /// The child could not be run.
    #[error("cannot run the compiler: {0}")]
    Io(#[from] std::io::Error),
    /// Nobody wants it any more.
    #[error("it was not compiled: the process is stopping")]
    Stopping,
    /// The child did not begin.
    #[error("the compiler cannot work: {0}")]
    Child(String),
}

impl CompileError {
    /// The word in metrics.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Timeout(_) => "compile_timeout",
            Self::Memory => "compile_memory",
            Self::Io(_) | Self::Child(_) => "compiler",
            Self::Stopping => "stopping",
        }
    }
}

/// Compiles a component within `timeout`.
pub(crate) fn compile(shared: &Shared, component: &[u8], timeout: Duration) -> Result<Vec<u8>, CompileError> {
    match &shared.compiler {
        Hands::InProcess => {
            shared.engine.precompile_component(component).map_err(|error| CompileError::Invalid(format!("{error:#}")))
        }
        Hands::Child { exe, starter } => {
            let mut given = shared.cache.scratch()?;
            given.write_all(component)?;
            in_child((exe, starter), shared, &given, timeout)
        }
    }
}

fn in_child(
    by: (&Path, &Starter),
    shared: &Shared,
    given: &NamedTempFile,
    timeout: Duration,
) -> Result<Vec<u8>, CompileError> {
    let started = Instant::now();
    for priority in [Priority::Idle, Priority::Equal] {
        if let Some(code) = one_child(by, shared, given, timeout, (priority, started))? {
            return Ok(code);
        }
    }
    // The second one does not starve.
    Err(CompileError::Timeout(timeout))
}

/// What came of one child that was started with this priority; nothing if it starved.
fn one_child(
    (exe, starter): (&Path, &Starter),
    shared: &Shared,
    given: &NamedTempFile,
    timeout: Duration,
    (priority, started): (Priority, Instant),
) -> Result<Option<Vec<u8>>, CompileError> {
    // Of its own: one that starved may take its time to end.
    let (out, said) = (shared.cache.scratch()?, shared.cache.scratch()?);
    let mut command = Command::new(exe);
    command.arg("__compile").arg(out.path()).env(REACH, shared.reach.word()).env(PRIORITY, priority.word());
    // The system counts whole seconds: it is not to be stricter than the clock.
    let seconds = timeout.as_secs().saturating_add(u64::from(timeout.subsec_nanos() > 0)).max(1);
    command.env(SECONDS, seconds.to_string()).env(PARENT, std::process::id().to_string());
    command.stdin(given.reopen()?).stdout(Stdio::null()).stderr(said.reopen()?);
    if shared.is_stopping() {
        return Err(CompileError::Stopping);
    }
    match wait(starter.start(command)?, shared, priority, started, timeout)? {
        Ended::Starved => Ok(None),
        Ended::Unwanted => Err(CompileError::Stopping),
        Ended::Late => Err(CompileError::Timeout(timeout)),
        Ended::Itself(status) if status.success() => Ok(Some(std::fs::read(out.path())?)),
        // The system's bound of CPU time is the parent's, rounded up to whole seconds.
        Ended::Itself(status) if matches!(status.signal(), Some(SIGKILL | SIGXCPU)) => {
            Err(CompileError::Timeout(timeout))
        }
        // What a program does that gets no memory.
        Ended::Itself(status) if status.signal() == Some(SIGABRT) => Err(CompileError::Memory),
        Ended::Itself(status) => {
            let mut reason = Vec::new();
            said.reopen()?.take(MOST_SAID).read_to_end(&mut reason)?;
            let reason = String::from_utf8_lossy(&reason);
            let reason = match reason.trim() {
                "" => "the compiler ended without a word (out of memory?)",
                reason => reason,
            };
            let error =
                if status.code() == Some(CANNOT_WORK.into()) { CompileError::Child } else { CompileError::Invalid };
            Err(error(reason.to_owned()))
        }
    }
}

/// Waits for the child's end, and brings it about if need be.
fn wait(
    mut child: Child,
    shared: &Shared,
    priority: Priority,
    started: Instant,
    timeout: Duration,
) -> std::io::Result<Ended> {
    let (mut looked, mut had) = (Instant::now(), Duration::ZERO);
    let ended = loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::Itself(status));
        }
        if started.elapsed() >= timeout {
            break Ended::Late;
        }
        if shared.is_stopping() {
            break Ended::Unwanted;
        }
        if priority == Priority::Idle && looked.elapsed() >= LOOK {
            let has = cpu_time(child.id());
            if has.saturating_sub(had) < looked.elapsed() / LEAST {
                break Ended::Starved;
            }
            (looked, had) = (Instant::now(), has);
        }
        std::thread::sleep(POLL);
    };
    child.kill()?;
    match ended {
        Ended::Starved | Ended::Unwanted => reap(child),
        _ => drop(child.wait()?),
    }
    Ok(ended)
}

/// Sees a child to its end that was killed. Even that takes one that runs when idle up to seconds on a machine in
/// full use, which nobody is to wait for.
fn reap(mut child: Child) {
    // Without a thread it is left to the system, when this process ends.
    let _ = std::thread::Builder::new().name("reaper".to_owned()).spawn(move || child.wait());
}

/// The CPU time of the first thread of a process, which is the only one of a child that compiles. None on a
/// system that does not tell.
fn cpu_time(pid: u32) -> Duration {
    let told = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    Duration::from_nanos(told.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

/// Why the child has not compiled.
enum Failed {
    /// The component is to blame.
    Component(String),
    /// It is not.
    Child(String),
}

/// The child's side: what `sluice __compile OUT` does. Gives the exit code.
pub fn compile_child_main(mut args: impl Iterator<Item = OsString>) -> u8 {
    let compiled = match (args.next(), args.next()) {
        (Some(out), None) => compile_here(Path::new(&out)),
        _ => Err(Failed::Child("usage: __compile OUT < COMPONENT".to_owned())),
    };
    let (reason, code) = match compiled {
        Ok(()) => return 0,
        Err(Failed::Component(reason)) => (reason, 1),
        Err(Failed::Child(reason)) => (reason, CANNOT_WORK),
    };
    // Nobody to tell when stderr is closed; the exit code remains.
    let _ = writeln!(std::io::stderr(), "{reason}");
    code
}

fn compile_here(out: &Path) -> Result<(), Failed> {
    let own = |error: std::io::Error| Failed::Child(error.to_string());
    die_with_parent().map_err(Failed::Child)?;
    bound_myself().map_err(Failed::Child)?;
    let is_idle = std::env::var_os(PRIORITY).is_some_and(|word| word == Priority::Idle.word());
    gentle::begin(if is_idle { Priority::Idle } else { Priority::Equal });
    let mut component = Vec::new();
    std::io::stdin().read_to_end(&mut component).map_err(own)?;
    let narrow = std::env::var_os(REACH).is_some_and(|word| word == Reach::Narrow.word());
    let engine = Engine::new(&config(if narrow { Reach::Narrow } else { Reach::Wide }))
        .map_err(|error| Failed::Child(format!("{error:#}")))?;
    let code = engine.precompile_component(&component).map_err(|error| Failed::Component(format!("{error:#}")))?;
    std::fs::write(out, code).map_err(own)
}

/// Has the system kill this process when the thread that has started it ends, which it does with its process: then
/// nobody waits for the code, nor looks at the clock. A system that does not do that leaves the limits.
fn die_with_parent() -> Result<(), String> {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let parent: Option<i32> = std::env::var(PARENT).ok().and_then(|number| number.parse().ok());
    // It may have ended before that.
    match parent {
        Some(parent) if getppid().map(Pid::as_raw_nonzero).map(i32::from) != Some(parent) => {
            Err("who asked for it has ended".to_owned())
        }
        _ => Ok(()),
    }
}

/// Has the system hold this process to its limits. Without them it does not begin: the parent's clock bounds no
/// memory, and dies with the parent.
fn bound_myself() -> Result<(), String> {
    let limit = |resource, most: u64, what: &str| {
        let most = Some(getrlimit(resource).current.map_or(most, |present| present.min(most)));
        let limited = setrlimit(resource, Rlimit { current: most, maximum: most });
        limited.map_err(|error| format!("the system does not let it limit its {what} (setrlimit): {error}"))
    };
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok());
    limit(Resource::Cpu, seconds.ok_or_else(|| format!("{SECONDS} does not say its CPU time"))?, "CPU time")?;
    limit(Resource::As, CHILD_BYTES, "memory")
}
