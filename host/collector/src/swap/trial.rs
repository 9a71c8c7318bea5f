//! The trial of a candidate: what all cores count of it, and what becomes of it.
//!
//! Counts come in from the cores and the side thread; verdicts and reports go out to the control loop
//! and the admin API. A candidate that goes beyond a bound is halted at once, wherever that is noticed.

mod said;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Serialize, Serializer};
use sluice_sandbox::{LogLine, MetricUpdate};

use super::bounds::{Times, Window};
use super::counts::{Counted, Counts, Side};
use super::late::Late;
use super::probation::Verdict;
use super::side_by_side;
use crate::config::processor::Rollout;
use crate::telemetry::logs::rfc3339;

use said::Said;

/// How a candidate is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It works on copies of batches.
    Shadow,
    /// It serves a share of the traces.
    Canary,
}

impl Phase {
    /// The name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Canary => "canary",
        }
    }
}

/// See the module.
pub struct Trial {
    /// How it is tried.
    pub phase: Phase,
    /// What it did.
    pub candidate: Counts,
    /// What the present version did with the spans that it is compared by.
    pub current: Counts,
    rollout: Rollout,
    began: Instant,
    since: SystemTime,
    /// Why the candidate is not called any more.
    halted: OnceLock<String>,
    /// Where the present window begins.
    mark: Mutex<Counted>,
    /// The comparison side by side.
    compare: Mutex<Comparison>,
    live: Mutex<Live>,
    shed: AtomicU64,
    told_of_failure: AtomicBool,
    said: Mutex<Said>,
}

/// What comparing both versions side by side needs.
struct Comparison {
    /// When it is to be done next.
    next: Instant,
    /// What was counted when it was last done.
    candidate: Counted,
    current: Counted,
    /// What it has shown.
    fair: Option<Times>,
}

/// The present window of what calls take on live traffic: where it begins.
#[derive(Default)]
struct Live {
    candidate: Counted,
    current: Counted,
    late: Late,
}

/// What is told of a trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The candidate's digest.
    pub digest: String,
    /// How it is tried.
    pub phase: Phase,
    /// Since when, as RFC 3339.
    pub since: String,
    /// The share that it gets.
    pub share: f64,
    /// What it did.
    #[serde(flatten)]
    pub candidate: Side,
    /// What the present version did with the spans that it is compared by.
    pub current: Side,
    /// Batches that were to be copied for it, and were not for lack of time.
    pub shed: u64,
    /// What else it would have done, if it is a shadow.
    #[serde(flatten)]
    pub said: Said,
}

impl Trial {
    /// Begins now.
    pub fn begin(phase: Phase, rollout: &Rollout) -> Self {
        let began = Instant::now();
        Self {
            phase,
            candidate: Counts::default(),
            current: Counts::default(),
            rollout: rollout.clone(),
            began,
            since: SystemTime::now(),
            halted: OnceLock::new(),
            mark: Mutex::default(),
            compare: Mutex::new(Comparison {
                next: began,
                candidate: Counted::default(),
                current: Counted::default(),
                fair: None,
            }),
            live: Mutex::default(),
            shed: AtomicU64::new(0),
            told_of_failure: AtomicBool::new(false),
            said: Mutex::default(),
        }
    }

    /// Counts a batch that was not copied for lack of time.
    pub fn shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether this is asked for the first time.
    pub fn is_first_failure(&self) -> bool {
        !self.told_of_failure.swap(true, Ordering::Relaxed)
    }

    /// Adds what a call of a shadow has said, and in what it differs, if that was compared.
    pub fn said(&self, changed: Option<BTreeMap<String, u64>>, logs: &[LogLine], metrics: &[MetricUpdate]) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).add(changed, logs, metrics);
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Whether the candidate is not to be called any more.
    pub fn is_halted(&self) -> bool {
        self.halted.get().is_some()
    }

    /// Halts the candidate if a call that has failed was one too many.
    pub fn check(&self) {
        self.breach();
    }

    /// Whether it is time to compare both versions side by side. Then this is what half of their calls have taken
    /// since that was last done, each under its own conditions.
    pub fn is_to_be_compared(&self) -> Option<Times> {
        let Comparison { next, candidate, current, .. } = &*self.comparison();
        if self.is_halted() || Instant::now() < *next {
            return None;
        }
        let took = self.candidate.until_now().since(candidate).half_take()?;
        Some(Times { took, usual: self.current.until_now().since(current).half_take()? })
    }

    /// Halts the candidate if it is too slow by these times, which it took so long to find out. Without them it
    /// could not be told.
    pub fn compared(&self, times: Option<Times>, cost: Duration) {
        if let Some(reason) = times.and_then(|times| times.breach(&self.rollout)) {
            // Another thread may have found another reason; then that stands.
            drop(self.halted.set(reason));
        }
        let mut comparison = self.comparison();
        let fair = times.or(comparison.fair);
        let (candidate, current) = (self.candidate.until_now(), self.current.until_now());
        *comparison = Comparison { next: side_by_side::again(cost), candidate, current, fair };
    }

    /// Whether the candidate has become too slow on live traffic.
    fn is_late(&self) -> Option<String> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let (candidate, current) = (self.candidate.until_now(), self.current.until_now());
        let took = candidate.since(&live.candidate).half_take()?;
        let usual = current.since(&live.current).half_take()?;
        (live.candidate, live.current) = (candidate, current);
        live.late.breach(Times { took, usual }, self.comparison().fair, &self.rollout)
    }

    /// How it does so far.
    pub fn verdict(&self) -> Verdict {
        if let Some(reason) = self.breach().or_else(|| self.is_late()) {
            // Another thread may have found another reason; it goes all the same.
            drop(self.halted.set(reason.clone()));
            return Verdict::Failed(reason);
        }
        let counted = self.candidate.until_now();
        // Without a call that went well, nothing is known of it.
        let is_over = self.began.elapsed() >= self.rollout.duration && counted.calls > counted.failures;
        if is_over { Verdict::Passed } else { Verdict::Watch }
    }

    /// Which bound it is beyond, if any, but for that on time: see [`Trial::compared`].
    fn breach(&self) -> Option<String> {
        if let Some(reason) = self.halted.get() {
            return Some(reason.clone());
        }
        let candidate = self.candidate.until_now();
        let mut mark = self.mark();
        let new = candidate.since(&mark);
        let window = Window {
            calls: new.calls,
            failures: new.failures,
            spans: new.spans,
            dropped: new.dropped,
            took: None,
            usual: None,
        };
        let breach = window.breach(&self.rollout);
        match &breach {
            // Another thread may have found one, too; then that stands.
            Some(reason) => drop(self.halted.set(reason.clone())),
            None if window.is_full() => *mark = candidate,
            None => {}
        }
        breach
    }

    /// What is known of it.
    pub fn report(&self, digest: &str) -> Report {
        Report {
            digest: digest.to_owned(),
            phase: self.phase,
            since: rfc3339(self.since),
            share: self.rollout.share,
            candidate: self.candidate.until_now().side(),
            current: self.current.until_now().side(),
            shed: self.shed.load(Ordering::Relaxed),
            said: self.said.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn comparison(&self) -> MutexGuard<'_, Comparison> {
        self.compare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self) -> MutexGuard<'_, Counted> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A trial that goes on, to be shown as it is when it is asked for.
#[derive(Clone)]
pub struct Shown {
    /// The candidate's digest.
    pub digest: String,
    /// How it does.
    pub trial: Arc<Trial>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.trial.report(&self.digest).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn trial(lasts: Duration) -> Trial {
        let rollout = Rollout { duration: lasts, max_drop_ratio: 0.5, ..Rollout::default() };
        Trial::begin(Phase::Canary, &rollout)
    }

    fn call(counts: &Counts, times: u32, dropped: u32, micros: u64) {
        (0..times).for_each(|_| counts.called(10, dropped, Duration::from_micros(micros), 0));
    }

    #[test]
    fn it_is_passed_when_its_time_is_over_and_it_has_worked() {
        let trial = trial(Duration::ZERO);
        assert_eq!(trial.verdict(), Verdict::Watch, "it has done nothing");
        trial.candidate.failed();
        assert_eq!(trial.verdict(), Verdict::Watch);
        call(&trial.candidate, 1, 0, 10);
        assert_eq!(trial.verdict(), Verdict::Passed);
        let longer = self::trial(Duration::from_hours(1));
        call(&longer.candidate, 1, 0, 10);
        assert_eq!(longer.verdict(), Verdict::Watch);
    }

    #[test]
    fn failures_halt_it_at_once() {
        let trial = trial(Duration::ZERO);
        call(&trial.candidate, 10, 0, 10);
        (0..2).for_each(|_| trial.candidate.failed());
        trial.check();
        assert!(!trial.is_halted());
        trial.candidate.failed();
        trial.check();
        assert!(trial.is_halted());
        // What comes after that does not change it.
        call(&trial.candidate, 10_000, 0, 10);
        assert!(matches!(trial.verdict(), Verdict::Failed(reason) if reason.contains("3 of 13 calls")));
    }

    #[test]
    fn what_turns_bad_late_is_found_as_soon() {
        let trial = trial(Duration::from_hours(1));
        call(&trial.candidate, 10_000, 0, 100);
        assert_eq!(trial.verdict(), Verdict::Watch);
        call(&trial.candidate, 64, 9, 100);
        assert!(matches!(trial.verdict(), Verdict::Failed(told) if told.contains("max_drop_ratio")));
    }

    #[test]
    fn what_turns_slow_on_live_traffic_alone_is_found() {
        let trial = trial(Duration::from_hours(1));
        let same = Times { took: Duration::from_micros(100), usual: Duration::from_micros(100) };
        let window = |took| {
            call(&trial.candidate, 16, 0, took);
            call(&trial.current, 16, 0, 100);
            trial.verdict()
        };
        assert_eq!(window(100), Verdict::Watch);
        trial.compared(Some(same), Duration::ZERO);
        assert_eq!([window(500), window(500)], [Verdict::Watch, Verdict::Watch]);
        // What could not be told says nothing else.
        trial.compared(None, Duration::ZERO);
        call(&trial.candidate, 15, 0, 500);
        assert_eq!(trial.verdict(), Verdict::Watch, "too few calls");
        assert!(matches!(window(500), Verdict::Failed(reason) if reason.contains("have come to take longer")));
        assert!(trial.is_halted());
    }

    #[test]
    fn both_are_compared_when_both_have_worked_and_no_more_often_than_it_is_worth() {
        let trial = trial(Duration::from_hours(1));
        call(&trial.candidate, 16, 0, 1_000);
        call(&trial.current, 15, 0, 10);
        assert_eq!(trial.is_to_be_compared(), None, "too few calls");
        call(&trial.current, 1, 0, 10);
        // Told within an eighth.
        assert!(trial.is_to_be_compared().is_some_and(|live| live.took.as_micros().abs_diff(1_060) < 70));
        let micros = |took, usual| Times { took: Duration::from_micros(took), usual: Duration::from_micros(usual) };
        trial.compared(None, Duration::ZERO);
        assert_eq!(trial.verdict(), Verdict::Watch);
        trial.compared(Some(micros(300, 100)), Duration::ZERO);
        assert_eq!(trial.verdict(), Verdict::Watch, "what it takes on live traffic alone decides nothing");
        call(&trial.candidate, 100, 0, 1_000);
        call(&trial.current, 100, 0, 10);
        assert_eq!(trial.is_to_be_compared(), None, "it was done just now");
        trial.compared(Some(micros(301, 100)), Duration::ZERO);
        assert!(trial.is_halted());
        assert!(matches!(trial.verdict(), Verdict::Failed(reason) if reason.contains("max_latency_ratio is 3")));
    }
}
