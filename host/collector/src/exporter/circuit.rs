//! The circuit: an upstream that is away is asked by one request at a time, not by all that wait.
//!
//! It is closed until several attempts in a row have come to nothing that another try may mend. Then
//! it is open: the requests wait, and whenever a pause is over one of them, whichever comes first,
//! is let through. Anything but another failure closes it again. The pauses grow as those of a
//! request do, and are no shorter than upstream asks for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntGauge;
use tokio::sync::Notify;

use super::retry::{Backoff, Schedule};

/// So many failures in a row open it: fewer are an upstream that restarts.
const FAILURES: u32 = 5;

/// As long as anybody is made to wait who asks for more than a clock can tell.
const FAR: Duration = Duration::from_hours(24 * 365 * 30);

/// The circuit of one upstream.
pub(super) struct Circuit {
    exporter: String,
    /// Which of the exporter's upstreams, if it has several.
    upstream: Option<String>,
    schedule: Schedule,
    /// 1 while it is open.
    shown: IntGauge,
    state: Mutex<State>,
    /// Shared by all upstreams of the exporter.
    changed: Arc<Notify>,
}

enum State {
    Closed { failures: u32 },
    Open { since: Instant, until: Instant, backoff: Backoff, probing: bool },
}

/// What a request may do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One attempt; `probe` if it is the only one until its outcome is known.
    Go { probe: bool },
    /// Until then, or until something changes.
    Wait(Option<Instant>),
}

/// The time after a pause that an upstream may have asked for, however long.
pub(super) fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause).unwrap_or(now + FAR)
}

/// Leave to make one attempt. Whoever has it says what came of it; one that is dropped has found
/// nothing out.
pub(super) struct Leave<'c> {
    circuit: &'c Circuit,
    probe: bool,
}

impl Circuit {
    pub fn new(
        exporter: &str,
        upstream: Option<String>,
        schedule: Schedule,
        shown: IntGauge,
        changed: Arc<Notify>,
    ) -> Self {
        let state = Mutex::new(State::Closed { failures: 0 });
        Self { exporter: exporter.to_owned(), upstream, schedule, shown, state, changed }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What [`Verdict::Go`] has allowed.
    pub fn leave(&self, probe: bool) -> Leave<'_> {
        Leave { circuit: self, probe }
    }

    /// Whether an attempt may be made. Who is told to go has to take leave and make it.
    pub fn verdict(&self, now: Instant) -> Verdict {
        match &mut *self.state() {
            State::Closed { .. } => Verdict::Go { probe: false },
            State::Open { probing: true, .. } => Verdict::Wait(None),
            State::Open { until, .. } if now < *until => Verdict::Wait(Some(*until)),
            State::Open { probing, .. } => {
                *probing = true;
                Verdict::Go { probe: true }
            }
        }
    }

    fn succeeded(&self, now: Instant) {
        let before = std::mem::replace(&mut *self.state(), State::Closed { failures: 0 });
        if let State::Open { since, .. } = before {
            let open_ms = now.saturating_duration_since(since).as_millis() as u64;
            tracing::info!(
                event = "export.circuit",
                component = self.exporter,
                upstream = self.upstream,
                state = "closed",
                open_ms
            );
            self.shown.set(0);
            self.changed.notify_waiters();
        }
    }

    fn failed(&self, now: Instant, probe: bool, asked: Option<Duration>, random: f64) {
        let mut state = self.state();
        match &mut *state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures < FAILURES {
                    return;
                }
                let mut backoff = self.schedule.for_ever().begin();
                let until = after(now, backoff.next(Duration::ZERO, asked, random).unwrap_or_default());
                *state = State::Open { since: now, until, backoff, probing: false };
                tracing::warn!(
                    event = "export.circuit",
                    component = self.exporter,
                    upstream = self.upstream,
                    state = "open"
                );
                self.shown.set(1);
            }
            State::Open { until, backoff, probing, .. } if probe => {
                *until = after(now, backoff.next(Duration::ZERO, asked, random).unwrap_or_default());
                *probing = false;
            }
            // It was on its way when the circuit opened. What upstream asks for holds all the same.
            State::Open { until, .. } => *until = (*until).max(after(now, asked.unwrap_or_default())),
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

impl Leave<'_> {
    /// Upstream has answered, whatever it said of the request.
    pub fn answered(mut self) {
        self.probe = false;
        self.circuit.succeeded(Instant::now());
    }

    /// Another try may succeed, no sooner than upstream has asked for.
    pub fn failed(mut self, asked: Option<Duration>) {
        let probe = std::mem::take(&mut self.probe);
        self.circuit.failed(Instant::now(), probe, asked, rand::random());
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if !self.probe {
            return;
        }
        if let State::Open { probing, .. } = &mut *self.circuit.state() {
            *probing = false;
        }
        self.circuit.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The middle of the jitter: none.
    const NONE: f64 = 0.5;
    const SECOND: Duration = Duration::from_secs(1);

    fn closed() -> Circuit {
        Circuit::new("otlp", None, Schedule::DEFAULT, IntGauge::new("a", "a").unwrap(), Arc::default())
    }

    fn open_at(now: Instant) -> Circuit {
        let circuit = closed();
        for _ in 0..5 {
            assert_eq!(circuit.verdict(now), Verdict::Go { probe: false });
            circuit.failed(now, false, None, NONE);
        }
        circuit
    }

    #[test]
    fn after_five_failures_in_a_row_one_at_a_time_is_let_through() {
        let start = Instant::now();
        let circuit = open_at(start);
        assert_eq!(circuit.shown.get(), 1);
        // 5 s, then half as long again: the schedule's pauses.
        assert_eq!(circuit.verdict(start), Verdict::Wait(Some(start + 5 * SECOND)));
        let now = start + 5 * SECOND;
        assert_eq!(circuit.verdict(now), Verdict::Go { probe: true });
        assert_eq!(circuit.verdict(now), Verdict::Wait(None), "one is on its way");
        circuit.failed(now, true, None, NONE);
        assert_eq!(circuit.verdict(now), Verdict::Wait(Some(now + Duration::from_millis(7_500))));
    }

    #[test]
    fn a_success_closes_it_and_lets_all_through() {
        let start = Instant::now();
        let circuit = open_at(start);
        assert_eq!(circuit.verdict(start + 5 * SECOND), Verdict::Go { probe: true });
        circuit.succeeded(start + 6 * SECOND);
        assert_eq!(circuit.shown.get(), 0);
        for _ in 0..3 {
            assert_eq!(circuit.verdict(start + 6 * SECOND), Verdict::Go { probe: false });
        }
    }

    #[test]
    fn failures_with_successes_between_them_leave_it_closed() {
        let start = Instant::now();
        let circuit = closed();
        for _ in 0..5 {
            for _ in 0..4 {
                circuit.failed(start, false, None, NONE);
            }
            circuit.succeeded(start);
        }
        assert_eq!(circuit.verdict(start), Verdict::Go { probe: false });
    }

    #[test]
    fn it_waits_as_long_as_upstream_asks_for() {
        let start = Instant::now();
        let circuit = open_at(start);
        circuit.failed(start, false, Some(60 * SECOND), NONE);
        assert_eq!(circuit.verdict(start + 5 * SECOND), Verdict::Wait(Some(start + 60 * SECOND)));
    }

    #[test]
    fn one_that_is_given_up_on_its_way_leaves_its_turn_to_another() {
        let start = Instant::now();
        let circuit = open_at(start);
        let now = start + 5 * SECOND;
        assert_eq!(circuit.verdict(now), Verdict::Go { probe: true });
        drop(Leave { circuit: &circuit, probe: true });
        assert_eq!(circuit.verdict(now), Verdict::Go { probe: true });
    }
    #[test]
    fn an_upstream_that_never_wants_to_be_asked_again_is_waited_for_long() {
        let start = Instant::now();
        let circuit = open_at(start);
        circuit.failed(start, false, Some(Duration::MAX), NONE);
        let Verdict::Wait(Some(until)) = circuit.verdict(start + 5 * SECOND) else { unreachable!() };
        assert!(until > start + Duration::from_hours(24));
    }
}
