//! The bounds within which a new version has to stay while it is watched.
//!
//! What it did is judged in windows, one after the other, so that a version that turns bad late is
//! found as soon as one that is bad from the start.

use std::time::Duration;

use crate::config::processor::Rollout;

/// Fewer failures say nothing: a sender may send one bad request again. A plugin that has failed is
/// not called for a while, so more of them would take seconds.
const MIN_FAILURES: u64 = 3;

/// Of fewer spans the share that is dropped says nothing.
const MIN_SPANS: u64 = 200;

/// What chance may add to the spans dropped, in standard deviations: it is looked at often.
const CHANCE: f64 = 4.0;

/// What a call may take longer whatever the ratio, so that a few microseconds decide nothing.
const LATENCY_FLOOR: Duration = Duration::from_micros(20);

/// Calls in a window.
const WINDOW_CALLS: u64 = 64;

/// What a version has done in some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Its calls, those that failed included.
    pub calls: u64,
    /// Its calls that failed.
    pub failures: u64,
    /// Spans that it got in the others.
    pub spans: u64,
    /// Those of them that it dropped.
    pub dropped: u64,
    /// What half of its calls take at most, if there were enough of them to tell.
    pub took: Option<Duration>,
    /// The same of the version that it is compared with.
    pub usual: Option<Duration>,
}

/// What half of the calls take at most, in CPU time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Those of a version.
    pub took: Duration,
    /// Those of the version that it is compared with.
    pub usual: Duration,
}

impl Window {
    /// Whether there is enough in it to be judged by, and the next one is to begin.
    pub fn is_full(&self) -> bool {
        self.calls >= WINDOW_CALLS && self.spans >= MIN_SPANS
    }

    /// Which bound it is beyond, and how far.
    pub fn breach(&self, rollout: &Rollout) -> Option<String> {
        self.fails_too_often(rollout).or_else(|| self.drops_too_much(rollout)).or_else(|| self.is_too_slow(rollout))
    }

    fn fails_too_often(&self, rollout: &Rollout) -> Option<String> {
        // A call is counted before its failure is, but on another core; never more than all have failed.
        let (failures, calls) = (self.failures, self.calls.max(self.failures));
        let is_beyond = failures >= MIN_FAILURES && failures as f64 > calls as f64 * rollout.max_failure_ratio;
        is_beyond.then(|| {
            format!("{failures} of {calls} calls have failed; max_failure_ratio is {}", rollout.max_failure_ratio)
        })
    }

    /// How often it has failed, if no failure is too few: none of its calls has gone well.
    pub fn only_fails(&self, rollout: &Rollout) -> Option<String> {
        let (failures, calls, most) = (self.failures, self.calls.max(self.failures), rollout.max_failure_ratio);
        // Who is only told the time was not called.
        let is_beyond = self.calls > 0 && failures > 0 && most < 1.0;
        is_beyond.then(|| {
            format!("{failures} of {calls} calls have failed, and none has gone well; max_failure_ratio is {most}")
        })
    }

    fn drops_too_much(&self, rollout: &Rollout) -> Option<String> {
        let (dropped, spans, most) = (self.dropped, self.spans, rollout.max_drop_ratio);
        let expected = spans as f64 * most;
        let chance = CHANCE * (expected * (1.0 - most)).sqrt();
        (spans >= MIN_SPANS && dropped as f64 > expected + chance)
            .then(|| format!("{dropped} of {spans} spans were dropped; max_drop_ratio is {most}"))
    }

    fn is_too_slow(&self, rollout: &Rollout) -> Option<String> {
        Times { took: self.took?, usual: self.usual? }.breach(rollout)
    }
}

impl Times {
    /// How many times as long the calls of one take as those of the other.
    pub fn ratio(&self) -> f64 {
        self.took.as_secs_f64() / self.usual.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Whether the bound on time is broken.
    pub fn is_beyond(&self, rollout: &Rollout) -> bool {
        let most = self.usual.as_secs_f64() * rollout.max_latency_ratio;
        self.took.as_secs_f64() > most && self.took > self.usual + LATENCY_FLOOR
    }

    /// The same, and how far.
    pub fn breach(&self, rollout: &Rollout) -> Option<String> {
        let Self { took, usual } = *self;
        self.is_beyond(rollout).then(|| {
            format!(
                "half of the calls take longer than {took:.1?} of CPU time, and {usual:.1?} before; max_latency_ratio is {}",
                rollout.max_latency_ratio
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout() -> Rollout {
        Rollout { max_failure_ratio: 0.05, max_drop_ratio: 0.5, max_latency_ratio: 3.0, ..Rollout::default() }
    }

    fn breach(window: Window) -> String {
        window.breach(&rollout()).unwrap_or_default()
    }

    #[test]
    fn too_many_failures_are_told() {
        let failed = |calls, failures| breach(Window { calls, failures, ..Window::default() });
        assert_eq!(failed(2, 2), "", "too few to tell");
        assert_eq!(failed(100, 5), "", "within the bound");
        assert_eq!(failed(100, 6), "6 of 100 calls have failed; max_failure_ratio is 0.05");
        assert_eq!(failed(0, 5), "5 of 5 calls have failed; max_failure_ratio is 0.05", "not all are counted yet");
        let never = Rollout { max_failure_ratio: 1.0, ..rollout() };
        assert_eq!(Window { calls: 9, failures: 9, ..Window::default() }.breach(&never), None);
    }

    #[test]
    fn without_a_good_call_one_failure_is_told() {
        let failed = |calls, failures| Window { calls, failures, ..Window::default() };
        let told = "1 of 1 calls have failed, and none has gone well; max_failure_ratio is 0.05";
        assert_eq!(failed(1, 1).only_fails(&rollout()).as_deref(), Some(told));
        assert_eq!(failed(0, 0).only_fails(&rollout()), None, "it was not called");
        assert_eq!(failed(0, 1).only_fails(&rollout()), None, "it was told the time");
        let never = Rollout { max_failure_ratio: 1.0, ..rollout() };
        assert_eq!(failed(1, 1).only_fails(&never), None);
    }

    #[test]
    fn too_many_drops_are_told() {
        let dropped = |spans, dropped| breach(Window { spans, dropped, ..Window::default() });
        assert_eq!(dropped(199, 199), "", "too few to tell");
        // Of 400 spans 200 may go, and 4 times 10, the standard deviation, may be chance.
        assert_eq!(dropped(400, 240), "");
        assert_eq!(dropped(400, 241), "241 of 400 spans were dropped; max_drop_ratio is 0.5");
        let all = |most| Rollout { max_drop_ratio: most, ..rollout() };
        let window = |dropped| Window { spans: 1000, dropped, ..Window::default() };
        assert_eq!(window(1000).breach(&all(1.0)), None);
        assert_eq!(window(0).breach(&all(0.0)), None);
        assert!(window(1).breach(&all(0.0)).is_some());
    }

    #[test]
    fn slow_calls_are_told() {
        let micros = |micros: Option<u64>| micros.map(Duration::from_micros);
        let slow = |took, usual| breach(Window { took: micros(took), usual: micros(usual), ..Window::default() });
        assert_eq!(slow(Some(300), Some(100)), "", "within the bound");
        assert!(slow(Some(301), Some(100)).contains("take longer than 301.0µs of CPU time, and 100.0µs before"));
        assert_eq!(slow(Some(21), Some(1)), "", "a few microseconds");
        assert_eq!((slow(Some(900), None), slow(None, Some(1))), (String::new(), String::new()), "not known");
    }
}
