//! Compiling: in a child process, because a compiler's time and memory cannot be bounded within
//! the process that serves.
//!
//! The child reads the component from its standard input, writes the code into the file named by
//! its only argument, and answers with its exit code and a line on stderr.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wasmtime::Engine;

use crate::engine::{Compiler, Reach, Shared, config};

/// Address space of the child: Cranelift needs some 30 times the component; 16 MiB is the largest.
const CHILD_BYTES: u64 = 2 << 30;
/// How much the child yields to the process that serves. With more it would hardly come to run on a
/// machine in full use, and a new version has to serve within seconds there as well.
const CHILD_NICE: i32 = 10;
/// How often the child is looked at.
const POLL: Duration = Duration::from_millis(2);

const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();
const SIGXCPU: i32 = rustix::process::Signal::XCPU.as_raw();
const SIGABRT: i32 = rustix::process::Signal::ABORT.as_raw();

/// How the parent tells the child for which [`Reach`] to compile, and its CPU time.
const REACH: &str = "SLUICE_COMPILE_REACH";
const SECONDS: &str = "SLUICE_COMPILE_SECONDS";

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
}

/// Compiles a component within `timeout`.
pub(crate) fn compile(shared: &Shared, component: &[u8], timeout: Duration) -> Result<Vec<u8>, CompileError> {
    match &shared.compiler {
        Compiler::InProcess => {
            shared.engine.precompile_component(component).map_err(|error| CompileError::Invalid(format!("{error:#}")))
        }
        Compiler::Child { exe } => {
            let out = shared.cache.scratch()?;
            in_child(exe, component, out.path(), shared.reach, timeout)?;
            Ok(std::fs::read(out.path())?)
        }
    }
}

fn in_child(exe: &Path, component: &[u8], out: &Path, reach: Reach, timeout: Duration) -> Result<(), CompileError> {
    let mut command = Command::new(exe);
    command.arg("__compile").arg(out).env(REACH, reach.word()).env(SECONDS, timeout.as_secs().max(1).to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A child that ends early has said why; the broken pipe says nothing more.
            let _ = stdin.map(|mut stdin| stdin.write_all(component));
        });
        let said = scope.spawn(move || {
            let mut said = String::new();
            // What cannot be read is missing from the message, no more.
            let _ = stderr.map(|stderr| stderr.take(4 << 10).read_to_string(&mut said));
            said
        });
        match wait(&mut child, timeout)? {
            None => Err(CompileError::Timeout(timeout)),
            Some(status) if status.success() => Ok(()),
            // The system's bound of CPU time is the parent's in whole seconds.
            Some(status) if matches!(status.signal(), Some(SIGKILL | SIGXCPU)) => Err(CompileError::Timeout(timeout)),
            // What a program does that gets no memory.
            Some(status) if status.signal() == Some(SIGABRT) => Err(CompileError::Memory),
            Some(_) => {
                let said = said.join().unwrap_or_default();
                let said = if said.trim().is_empty() {
                    "the compiler ended without a word (out of memory?)"
                } else {
                    said.trim()
                };
                Err(CompileError::Invalid(said.to_owned()))
            }
        }
    })
}

/// How the child ended; `None` if it had to be killed.
fn wait(child: &mut Child, timeout: Duration) -> std::io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() >= timeout {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

/// The child's side: what `sluice __compile OUT` does.
pub fn compile_child_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let compiled = match (args.next(), args.next()) {
        (Some(out), None) => compile_here(Path::new(&out)),
        _ => Err("usage: __compile OUT < COMPONENT".to_owned()),
    };
    match compiled {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // Nobody to tell when stderr is closed; the exit code remains.
            let _ = writeln!(std::io::stderr(), "{reason}");
            ExitCode::FAILURE
        }
    }
}

fn compile_here(out: &Path) -> Result<(), String> {
    bound_myself();
    let mut component = Vec::new();
    std::io::stdin().read_to_end(&mut component).map_err(|error| error.to_string())?;
    let narrow = std::env::var_os(REACH).is_some_and(|word| word == Reach::Narrow.word());
    let engine =
        Engine::new(&config(if narrow { Reach::Narrow } else { Reach::Wide })).map_err(|error| format!("{error:#}"))?;
    let code = engine.precompile_component(&component).map_err(|error| format!("{error:#}"))?;
    std::fs::write(out, code).map_err(|error| error.to_string())
}

/// A limit that cannot be set leaves the parent's clock as the bound.
fn bound_myself() {
    let limit = |resource, most: u64| {
        let most = Some(getrlimit(resource).current.map_or(most, |present| present.min(most)));
        let _ = setrlimit(resource, Rlimit { current: most, maximum: most });
    };
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    limit(Resource::Cpu, seconds);
    limit(Resource::As, CHILD_BYTES);
    let _ = rustix::process::nice(CHILD_NICE);
}
