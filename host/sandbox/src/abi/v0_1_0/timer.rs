//! The time of one call: when it began, and whether it is over.
//!
//! A usual call ends before anybody looks at it, and costs no look at the CPU clock. The first look starts the
//! measurement; so whatever may take long is looked at before it, too.

use std::time::{Duration, Instant};

use super::Host;
use crate::engine::Clock;
use crate::failure::FailureKind;

/// CPU time of `describe` and `configure` at least: they compile patterns, and run aside.
const SETUP_TIMEOUT: Duration = Duration::from_secs(1);

/// Wall time that a call may take, in CPU times: a busy machine should trip nobody, but a call that
/// never gets on must end.
const WALL_FACTOR: u32 = 10;

/// What a call that is watched has less than its time, of the CPU and by the clock on the wall, but no more than a fifth and
/// a tenth of it: somebody waits for it who is to wait for no longer than its time, and it ends only when the clock looks at
/// it, once a millisecond, and its thread is let run. One that has the CPU for itself but for those looks has spent
/// the former before the latter.
const WATCHED_LESS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(1));

/// Rows, and bytes of text, that a guest can hand over at once without being timed from then on. Plugins seldom hand
/// over as much, and taking it takes longer than the look at the CPU clock.
const LIGHT: usize = 16 << 10;

/// See the module.
pub(super) struct Timer {
    most: Duration,
    /// Calls are timed from their beginning, which costs a system call, and nobody waits for them to get the CPU.
    is_watched: bool,
    /// Thread CPU time and wall time at the first look at this call, or at its beginning if it is watched.
    began: Option<(Duration, Instant)>,
    /// The clock's ticks at the last look.
    ticks: u64,
    /// Why the call has to end.
    over: Option<FailureKind>,
}

impl Timer {
    /// For calls that set a plugin up.
    pub fn for_setup(timeout: Duration) -> Self {
        Self { most: timeout.max(SETUP_TIMEOUT), is_watched: false, began: None, ticks: 0, over: None }
    }

    /// CPU time of the next calls, and whether they are watched from their beginning.
    pub fn set(&mut self, timeout: Duration, is_watched: bool) {
        (self.most, self.is_watched) = (timeout, is_watched);
    }

    pub fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// A call begins, after so many ticks.
    pub fn begin(&mut self, ticks: u64) {
        (self.ticks, self.over) = (ticks, None);
        self.began = self.is_watched.then(|| (thread_cpu_time(), Instant::now()));
    }

    pub fn over(&self) -> Option<FailureKind> {
        self.over
    }

    /// Looks at the time; tells whether it is spent.
    pub fn is_spent(&mut self) -> bool {
        let cpu = thread_cpu_time();
        let (cpu_began, wall_began) = *self.began.get_or_insert_with(|| (cpu, Instant::now()));
        let (cpu, wall) = (cpu.saturating_sub(cpu_began), wall_began.elapsed());
        let (most_cpu, most_wall, if_late) = if self.is_watched {
            let (of_cpu, of_wall) = WATCHED_LESS;
            let less = |by: Duration, part: u32| self.most.saturating_sub(by.min(self.most / part));
            (less(of_cpu, 5), less(of_wall, 10), FailureKind::Overdue)
        } else {
            (self.most, self.most * WALL_FACTOR, FailureKind::Timeout)
        };
        if cpu >= most_cpu {
            self.over = Some(FailureKind::Timeout);
        } else if wall >= most_wall {
            self.over = Some(if_late);
        }
        self.over.is_some()
    }
}

impl Host {
    /// Whether the call's time is spent. Called by the clock.
    pub(crate) fn time_is_spent(&mut self) -> bool {
        self.timer.is_spent()
    }

    /// Whether the call has to end, at the beginning and the end of each call into the host: wasmtime looks at a guest
    /// only where it loops or calls a function of its own. The time is looked at if the clock has ticked since the last look.
    pub(crate) fn is_late(&mut self, clock: &Clock) -> bool {
        let ticks = clock.ticks();
        if ticks != self.timer.ticks {
            self.timer.ticks = ticks;
            clock.goes_on();
            self.timer.is_spent();
        }
        self.timer.over.is_some()
    }

    /// The guest hands over so many rows and bytes: if they are many, the call is timed from now on.
    pub(super) fn takes(&mut self, items: usize) {
        if items > LIGHT && self.timer.began.is_none() {
            self.timer.is_spent();
        }
    }

    /// CPU time of the next calls, and whether they are watched from their beginning.
    pub(crate) fn set_timeout(&mut self, timeout: Duration, is_watched: bool) {
        self.timer.set(timeout, is_watched);
    }

    /// Whether the next calls are watched from their beginning.
    pub(crate) fn is_watched(&self) -> bool {
        self.timer.is_watched()
    }
}

fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
