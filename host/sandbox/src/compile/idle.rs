//! Time that nobody else wants.
//!
//! A thread that serves and wakes up gets the CPU at once from one that runs when idle. But when the system has to
//! choose, because a third one has gone to sleep, whoever has waited for long comes first, of however low a
//! priority; and then it is not looked at again before the next tick of the clock, up to 10 ms later. So who runs
//! when idle steps back on its own, more often than that. It costs less than 1% of its time.

use std::ptr;

/// After so many microseconds it steps back: a part of what a request takes.
const STEP_MICROS: libc::suseconds_t = 500;

/// From now on this process runs when no thread of another one wants to. Where that cannot be had it runs as
/// others do. For a process of one thread.
pub(super) fn run_when_idle() {
    take_what_is_left();
    step_back_often();
}

/// Gives the calling thread the lowest priority that there is.
fn take_what_is_left() {
    // SAFETY: the structure is plain numbers, of which zero is the only valid priority here.
    let none: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: a system call about the calling thread that reads the structure and keeps nothing of it.
    unsafe {
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none);
    }
}

/// Has a signal interrupt the process again and again, which then lets others pass.
fn step_back_often() {
    // SAFETY: numbers and an empty set of signals, which zeros are.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = step_back as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // System calls that it interrupts go on by themselves.
    action.sa_flags = libc::SA_RESTART;
    let every = libc::timeval { tv_sec: 0, tv_usec: STEP_MICROS };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: system calls that read the structures and keep nothing of them. The handler is a function of the type
    // that the flags promise, and lives as long as the process.
    unsafe {
        // Without a handler the signal would end the process.
        if libc::sigaction(libc::SIGALRM, &raw const action, ptr::null_mut()) == 0 {
            libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut());
        }
    }
}

/// Nothing but one system call, which is allowed wherever a signal comes.
extern "C" fn step_back(_: libc::c_int) {
    // SAFETY: a system call without arguments that never fails, so that `errno` stays as it was.
    unsafe {
        libc::sched_yield();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, Instant};

    #[test]
    fn who_runs_when_idle_has_that_policy() {
        let idle = std::thread::spawn(|| {
            super::take_what_is_left();
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            // The name, in parentheses, may hold anything; the policy is the 41st field.
            stat.rsplit_once(')').unwrap().1.split_whitespace().nth(38).unwrap().to_owned()
        });
        // `SCHED_IDLE` of `sched(7)`.
        assert_eq!(idle.join().unwrap(), "5");
    }

    #[test]
    fn who_steps_back_is_interrupted_again_and_again_and_goes_on() {
        // SAFETY: the child makes system calls only, which a process forked off one with threads may.
        let child = unsafe { libc::fork() };
        if child == 0 {
            super::step_back_often();
            // SAFETY: as above. Each call returns when a handler has.
            unsafe {
                for _ in 0..3 {
                    libc::pause();
                }
                libc::_exit(7);
            }
        }
        let (mut status, started) = (0, Instant::now());
        // SAFETY: a system call that writes a number.
        while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
            assert!(started.elapsed() < Duration::from_mins(1), "it was never interrupted");
            std::thread::yield_now();
        }
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "it has ended otherwise: {status}");
    }
}
