//! How a compiler gets out of the way of the threads that serve.
//!
//! One that runs when idle gets the CPU when nobody else wants it, and loses it at once to a thread that wakes up. But
//! when the system has to choose, because a third one has gone to sleep, whoever has waited for long comes first, of
//! however low a priority; and then, as with one of equal priority, it is not looked at again before the next tick of
//! the clock, up to 10 ms later. So who compiles steps back on its own, more often than that. It costs less than 1% of
//! its time.
//!
//! On a machine in full use who always steps back hardly comes to run. So one of equal priority does that only as long
//! as it is ahead: as long as it had a third of the time since it began. Then it has as much as others have.

use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Priority;

/// After so many microseconds it steps back if it is ahead: a part of what a request takes.
const STEP_MICROS: libc::suseconds_t = 500;

/// It is ahead when it had one part in so many of the time. A plugin of 300 kB takes 0.4 s to compile, and has to
/// serve 2 s after it was put in place.
const PART: u64 = 3;

/// When it began, on the monotonic clock; for one that runs when idle, which is always ahead, the end of time.
static BEGAN_NANOS: AtomicU64 = AtomicU64::new(u64::MAX);

/// From now on this process, of one thread, is gentle. What cannot be had of that is done without.
pub(super) fn begin(priority: Priority) {
    match priority {
        Priority::Idle => take_what_is_left(),
        Priority::Equal => BEGAN_NANOS.store(nanos(libc::CLOCK_MONOTONIC), Ordering::Relaxed),
    }
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

/// Nothing but system calls, which are allowed wherever a signal comes.
extern "C" fn step_back(_: libc::c_int) {
    let began = BEGAN_NANOS.load(Ordering::Relaxed);
    if is_ahead(nanos(libc::CLOCK_PROCESS_CPUTIME_ID), nanos(libc::CLOCK_MONOTONIC).saturating_sub(began)) {
        // SAFETY: a system call without arguments that never fails, so that `errno` stays as it was.
        unsafe {
            libc::sched_yield();
        }
    }
}

/// Whether so much CPU time is more than its part of the time that has passed.
fn is_ahead(had_nanos: u64, passed_nanos: u64) -> bool {
    had_nanos.saturating_mul(PART) >= passed_nanos
}

/// What a clock shows that every system has.
fn nanos(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a system call that writes the structure; it may be made wherever a signal comes (`signal-safety(7)`),
    // and does not fail for these clocks.
    unsafe {
        libc::clock_gettime(clock, &raw mut time);
    }
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
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
    fn who_had_a_third_of_the_time_is_ahead() {
        let millis = |millis: u64| millis * 1_000_000;
        for (had, passed, expected) in
            [(0, 0, true), (100, 100, true), (101, 302, true), (99, 302, false), (0, 1, false)]
        {
            assert_eq!(super::is_ahead(millis(had), millis(passed)), expected, "{had} ms of {passed} ms");
        }
    }

    #[test]
    fn who_is_gentle_is_interrupted_again_and_again_and_goes_on() {
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
