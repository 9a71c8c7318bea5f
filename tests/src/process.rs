//! Child processes that do not outlive the one that started them.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use crate::wait;

/// The variable that names the collector's binary.
pub const VARIABLE: &str = "SLUICE_BIN";

/// The collector's binary: `SLUICE_BIN`, else the one that `cargo xtask build` leaves.
///
/// # Panics
/// When there is none: nothing here means anything without it.
#[expect(clippy::panic, reason = "there is nothing to test")]
pub fn sluice() -> PathBuf {
    let path = std::env::var_os(VARIABLE).map_or_else(|| release("sluice"), PathBuf::from);
    if !path.is_file() {
        panic!("{} is not there: run `cargo xtask build`, or name a binary by {VARIABLE}", path.display());
    }
    path
}

/// A binary of this workspace, by its name.
pub fn release(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// The workspace's target directory.
pub fn target() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let release = own.ancestors().find(|folder| folder.ends_with("release"));
    release.and_then(|folder| folder.parent()).map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder
}

/// Makes the child the leader of a process group of its own, so that Ctrl-C reaches its parent
/// alone, and has the system kill it when the thread that starts it ends.
pub fn tie(command: &mut Command) -> &mut Command {
    command.process_group(0);
    #[cfg(target_os = "linux")]
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        });
    }
    command
}

/// Passes sockets to the child as `sd_listen_fds(3)` describes it: from descriptor 3 on, and their number in
/// `LISTEN_FDS`.
pub fn pass(command: &mut Command, sockets: &[TcpListener]) {
    command.env("LISTEN_FDS", sockets.len().to_string());
    let descriptors: Vec<_> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
    // Where none of them is overwritten before it has been copied.
    let aside = descriptors.iter().copied().max().unwrap_or_default() + 3 + descriptors.len() as i32;
    // SAFETY: between fork and exec the closure makes plain system calls on descriptors that the
    // parent keeps open until the child has started, and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            for (from, to) in descriptors.iter().zip(aside..) {
                checked(libc::dup2(*from, to))?;
            }
            for (from, to) in (aside..).zip(3..).take(descriptors.len()) {
                checked(libc::dup2(from, to))?;
                checked(libc::close(from))?;
            }
            Ok(())
        });
    }
}

fn checked(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// From now on this thread yields to all others: bookkeeping is not to cost what is measured beside it. Processes
/// that it starts yield, too.
pub fn yield_to_others() {
    // SAFETY: a system call without pointers. On Linux it is about the calling thread alone.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
    }
}

/// Has this thread, and those that it starts from now on, never interrupt another one: when it has something to
/// do it waits for a free core, or until the others had their share.
///
/// # Errors
/// When the system does not know of it.
pub fn never_interrupt() -> io::Result<()> {
    let normal = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call reads the parameter and keeps no reference; 0 is the calling thread.
    checked(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const normal) })
}

/// How long this thread, and all threads of another process, have been ready to run and were not let, added up:
/// what the rest of the machine costs them. Nothing on a system that does not tell.
pub fn kept_from_running(other: Option<u32>) -> Duration {
    let threads = other.and_then(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok());
    let threads = threads.into_iter().flatten().flatten().map(|thread| thread.path());
    let told = threads.chain([PathBuf::from("/proc/thread-self")]).filter_map(|thread| {
        // Time on a CPU, time waiting for one, and how often; in nanoseconds.
        let told = std::fs::read_to_string(thread.join("schedstat")).ok()?;
        Some(Duration::from_nanos(told.split_whitespace().nth(1)?.parse().ok()?))
    });
    told.sum()
}

/// Sends a signal to a child.
pub fn signal(child: &Child, signal: i32) {
    // SAFETY: a plain system call; the child has not been waited for, so the number is still its.
    unsafe {
        libc::kill(child.id() as libc::pid_t, signal);
    }
}

/// Waits for a child to end; `None` if it has not in time.
pub fn wait_for(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    wait::within(time, || child.try_wait().ok().flatten())
}

/// The exit code, or 128 and the signal's number as a shell has it.
pub fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Ends a child: SIGTERM first, SIGKILL when the time is over.
pub fn end(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    signal(child, libc::SIGTERM);
    wait_for(child, time).or_else(|| {
        let _ = child.kill();
        child.wait().ok()
    })
}
