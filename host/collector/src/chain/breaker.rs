//! The circuit breaker of a plugin, which all cores share: when it may be called, where, and when
//! not at all.
//!
//! A failure that is not the fault of a few spans makes the plugin pause, each time twice as long.
//! More of them within a window than the budget open the breaker: the plugin is not called at all
//! until a probe, aside, goes well. The first failure after that opens it again at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::config::processor::Restart;

/// How long after a timeout a plugin is called on the side thread: another one would keep a core
/// from everything else once more.
const SUSPECT: Duration = Duration::from_secs(1);

/// The largest slice that is kept for a probe.
const PROBE_BYTES: usize = 1 << 20;

/// The state that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The plugin is called.
    Closed = 0,
    /// It is being tried aside.
    Probing = 1,
    /// It is not called.
    Open = 2,
}

/// What is to be done with a slice of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// The plugin is called on this core.
    Here,
    /// It is called on the side thread.
    Aside,
    /// It is not called.
    Away,
}

/// The breaker. What is asked for with every call costs two loads while all is well.
pub(super) struct Breaker {
    policy: Restart,
    /// Nothing but [`Admission::Here`] is possible.
    calm: AtomicBool,
    /// A call has gone well since the last failure.
    proved: AtomicBool,
    /// A call or a probe has gone well at some time.
    has_done_well: AtomicBool,
    inner: Mutex<Inner>,
}

struct Inner {
    phase: Phase,
    /// Failures within the window.
    failures: VecDeque<Instant>,
    /// The last pause.
    pause: Duration,
    suspect_until: Option<Instant>,
    /// A probe has gone well, and no call since.
    on_trial: bool,
    /// A slice that was turned away since the last probe.
    turned_away: Option<Bytes>,
}

#[derive(PartialEq)]
enum Phase {
    Serving,
    Pausing(Instant),
    Open,
    Probing,
}

impl Breaker {
    pub(super) fn new(policy: Restart) -> Self {
        let inner = Inner {
            phase: Phase::Serving,
            failures: VecDeque::new(),
            pause: Duration::ZERO,
            suspect_until: None,
            on_trial: false,
            turned_away: None,
        };
        Self {
            policy,
            calm: AtomicBool::new(true),
            proved: AtomicBool::new(false),
            has_done_well: AtomicBool::new(false),
            inner: Mutex::new(inner),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn admission(&self, now: impl FnOnce() -> Instant) -> Admission {
        if self.calm.load(Ordering::Relaxed) {
            return Admission::Here;
        }
        let (mut inner, now) = (self.inner(), now());
        match inner.phase {
            Phase::Open | Phase::Probing => return Admission::Away,
            Phase::Pausing(until) if now < until => return Admission::Away,
            Phase::Pausing(_) => inner.phase = Phase::Serving,
            Phase::Serving => {}
        }
        if inner.suspect_until.is_some_and(|until| now < until) {
            return Admission::Aside;
        }
        inner.suspect_until = None;
        self.calm.store(true, Ordering::Relaxed);
        Admission::Here
    }

    /// Keeps a slice that was turned away, for the next probe, if there is none yet.
    pub(super) fn turned_away(&self, slice: impl FnOnce() -> Bytes) {
        let mut inner = self.inner();
        if inner.turned_away.is_none() {
            inner.turned_away = Some(slice()).filter(|slice| slice.len() <= PROBE_BYTES);
        }
    }

    /// A call went well.
    pub(super) fn succeeded(&self) {
        if self.proved.load(Ordering::Relaxed) {
            return;
        }
        let mut inner = self.inner();
        if std::mem::take(&mut inner.on_trial) {
            inner.failures.clear();
        }
        self.did_well();
        self.proved.store(true, Ordering::Relaxed);
    }

    /// A call went well, or a probe with spans.
    pub(super) fn did_well(&self) {
        self.has_done_well.store(true, Ordering::Relaxed);
    }

    /// Whether that has ever been so.
    pub(super) fn has_done_well(&self) -> bool {
        self.has_done_well.load(Ordering::Relaxed)
    }

    /// Whether a call has gone well since this was asked or a failure came, whichever was later.
    pub(super) fn take_proof(&self) -> bool {
        self.proved.swap(false, Ordering::Relaxed)
    }

    /// A call ran out of time: further ones are made aside.
    pub(super) fn timed_out(&self, now: Instant) {
        self.inner().suspect_until = Some(now + SUSPECT);
        self.calm.store(false, Ordering::Relaxed);
    }

    /// Whether calls are made aside.
    pub(super) fn is_suspect(&self) -> bool {
        self.inner().suspect_until.is_some()
    }

    /// Whether the plugin is not called until a probe goes well.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.inner().phase, Phase::Open | Phase::Probing)
    }

    /// The plugin has failed. Says after which time to probe if that has opened the breaker.
    pub(super) fn failed(&self, now: Instant) -> Option<Duration> {
        let mut inner = self.inner();
        if matches!(inner.phase, Phase::Open | Phase::Probing) {
            return None;
        }
        self.proved.store(false, Ordering::Relaxed);
        self.calm.store(false, Ordering::Relaxed);
        let Restart { initial_interval, max_interval, budget, window } = self.policy;
        while inner.failures.front().is_some_and(|at| now.saturating_duration_since(*at) > window) {
            inner.failures.pop_front();
        }
        inner.failures.push_back(now);
        let failures = inner.failures.len();
        inner.pause = if failures > 1 { (inner.pause * 2).min(max_interval) } else { initial_interval };
        if std::mem::take(&mut inner.on_trial) || failures > budget as usize {
            inner.phase = Phase::Open;
            return Some(inner.pause);
        }
        inner.phase = Phase::Pausing(now + inner.pause);
        None
    }

    /// Begins a probe: with this slice, or an empty one if nothing was turned away.
    pub(super) fn begin_probe(&self) -> Option<Bytes> {
        let mut inner = self.inner();
        inner.phase = Phase::Probing;
        inner.turned_away.take()
    }

    /// Ends a probe. Says after which time to probe again if it did not go well.
    pub(super) fn end_probe(&self, went_well: bool) -> Option<Duration> {
        let mut inner = self.inner();
        if went_well {
            (inner.phase, inner.on_trial) = (Phase::Serving, true);
            return None;
        }
        inner.pause = (inner.pause * 2).min(self.policy.max_interval);
        inner.phase = Phase::Open;
        Some(inner.pause)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The breaker with a budget of three, and a clock in milliseconds.
    struct Clocked(Breaker, Instant);

    impl Clocked {
        fn new() -> Self {
            let policy = Restart { initial_interval: 10 * MS, max_interval: 50 * MS, budget: 3, window: 1000 * MS };
            Self(Breaker::new(policy), Instant::now())
        }

        fn at(&self, ms: u32) -> Admission {
            self.0.admission(|| self.1 + MS * ms)
        }

        fn fails(&self, ms: u32) -> Option<Duration> {
            self.0.failed(self.1 + MS * ms)
        }
    }

    #[test]
    fn pauses_double_and_a_spent_budget_opens_it() {
        let breaker = Clocked::new();
        assert_eq!(breaker.at(0), Admission::Here);
        assert_eq!(breaker.fails(0), None);
        assert_eq!((breaker.at(9), breaker.at(10)), (Admission::Away, Admission::Here));
        assert_eq!(breaker.fails(10), None);
        assert_eq!((breaker.at(29), breaker.at(30)), (Admission::Away, Admission::Here));
        assert_eq!(breaker.fails(30), None);
        assert_eq!((breaker.at(69), breaker.at(70)), (Admission::Away, Admission::Here));
        assert_eq!(breaker.fails(70), Some(50 * MS), "the fourth; the pause is at its most");
        assert_eq!(breaker.at(1_000_000), Admission::Away, "only a probe ends this");
        assert_eq!(breaker.fails(80), None, "what was under way says nothing new");
    }

    #[test]
    fn failures_that_are_long_ago_do_not_count() {
        let breaker = Clocked::new();
        for ms in [0, 600, 1200, 1800, 2400] {
            assert_eq!(breaker.fails(ms), None);
        }
        assert_eq!(breaker.at(2499), Admission::Here, "the pause is at most 50 ms");
    }

    fn open() -> Clocked {
        let breaker = Clocked::new();
        assert_eq!([0, 1, 2, 3].map(|ms| breaker.fails(ms).is_some()), [false, false, false, true]);
        breaker
    }

    #[test]
    fn a_probe_that_goes_well_closes_it_and_the_next_failure_opens_it_at_once() {
        let breaker = open();
        assert_eq!(breaker.0.begin_probe(), None);
        assert_eq!(breaker.at(5), Admission::Away);
        assert_eq!(breaker.0.end_probe(true), None);
        assert_eq!(breaker.at(5), Admission::Here);
        assert_eq!(breaker.fails(5), Some(50 * MS));
        breaker.0.begin_probe();
        assert_eq!(breaker.0.end_probe(false), Some(50 * MS), "twice as long would be more than the most");
        breaker.0.begin_probe();
        breaker.0.end_probe(true);
        breaker.0.succeeded();
        assert_eq!(breaker.fails(6), None, "a call has gone well: the budget is whole again");
        assert_eq!((breaker.at(15), breaker.at(16)), (Admission::Away, Admission::Here), "and the pause short");
    }

    #[test]
    fn a_probe_gets_what_was_turned_away_first() {
        let breaker = open();
        breaker.0.turned_away(|| Bytes::from_static(b"first"));
        breaker.0.turned_away(|| Bytes::from_static(b"second"));
        assert_eq!(breaker.0.begin_probe().unwrap(), "first");
        breaker.0.end_probe(false);
        assert_eq!(breaker.0.begin_probe(), None);
    }

    #[test]
    fn after_a_timeout_calls_are_made_aside_for_a_second() {
        let breaker = Clocked::new();
        breaker.0.timed_out(breaker.1);
        assert_eq!((breaker.at(999), breaker.at(1000)), (Admission::Aside, Admission::Here));
    }

    #[test]
    fn proof_is_taken_once_and_a_failure_voids_it() {
        let breaker = Clocked::new();
        assert!(!breaker.0.take_proof());
        breaker.0.succeeded();
        assert!(breaker.0.take_proof() && !breaker.0.take_proof());
        breaker.0.succeeded();
        breaker.fails(0);
        assert!(!breaker.0.take_proof());
    }

    #[test]
    fn that_a_call_has_gone_well_is_known_for_good() {
        let breaker = Clocked::new();
        breaker.fails(0);
        assert!(!breaker.0.has_done_well());
        breaker.0.succeeded();
        breaker.0.take_proof();
        breaker.fails(1);
        assert!(breaker.0.has_done_well());
    }
}
