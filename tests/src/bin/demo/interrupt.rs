//! Ctrl-C: no process is left behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use sluice_tests::wait;
use tokio::signal::unix::{SignalKind, signal};

/// The exit code of a program that Ctrl-C ended, as shells have it.
const INTERRUPTED: i32 = 130;

/// How long the children may take to end by themselves.
const PATIENCE: Duration = Duration::from_secs(5);

static CHILDREN: Mutex<Vec<u32>> = Mutex::new(Vec::new());
static STAYING: AtomicBool = AtomicBool::new(false);
static ENDING: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicBool = AtomicBool::new(false);

/// Takes Ctrl-C and SIGTERM from now on: they end all children and this process. A demonstration
/// that stays up goes on to its end at the first.
pub fn install(stays: bool) -> Result<()> {
    let _on = wait::runtime().enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    wait::runtime().spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stays && STAYING.load(Ordering::SeqCst) && !ASKED.swap(true, Ordering::SeqCst) {
                continue;
            }
            ENDING.store(true, Ordering::SeqCst);
            let _ = tokio::task::spawn_blocking(end_all).await;
            std::process::exit(INTERRUPTED);
        }
    });
    Ok(())
}

/// Leaves the rest to the handler once Ctrl-C has come: what goes wrong now is its doing.
pub fn give_way() {
    while ENDING.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// Notes a child that must not be left behind.
pub fn watch(pid: u32) {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).push(pid);
}

/// From now on the first Ctrl-C is a question that [`asked`] knows of.
pub fn stay() {
    STAYING.store(true, Ordering::SeqCst);
}

/// Whether Ctrl-C has come while we stay.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

fn end_all() {
    let children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        for &child in &children {
            // SAFETY: a plain system call. Children are reaped by nobody but this process.
            unsafe {
                libc::kill(child as libc::pid_t, signal);
            }
        }
        let gone = || children.iter().all(|child| gone(*child)).then_some(());
        if wait::within(PATIENCE, gone).is_some() {
            return;
        }
    }
}

fn gone(child: u32) -> bool {
    // SAFETY: a plain system call that is given no place to write to.
    unsafe { libc::waitpid(child as libc::pid_t, std::ptr::null_mut(), libc::WNOHANG) != 0 }
}
