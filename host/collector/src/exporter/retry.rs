//! When to try again: exponential backoff with jitter, as the Collector's `retry_on_failure`.

use std::time::Duration;

use crate::config::section::Section;

/// `retry_on_failure`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Whether to try again at all.
    pub enabled: bool,
    /// The first pause.
    pub initial_interval: Duration,
    /// How far a pause may be off, as a share of it.
    pub randomization_factor: f64,
    /// How much longer every pause is than the one before.
    pub multiplier: f64,
    /// No pause is longer, but for jitter and what the server asks for.
    pub max_interval: Duration,
    /// Counted from the first attempt; then it has failed. Zero is for ever.
    pub max_elapsed_time: Duration,
}

impl Schedule {
    /// Never again.
    pub const OFF: Self = Self { enabled: false, ..Self::DEFAULT };

    /// The Collector's.
    pub const DEFAULT: Self = Self {
        enabled: true,
        initial_interval: Duration::from_secs(5),
        randomization_factor: 0.5,
        multiplier: 1.5,
        max_interval: Duration::from_secs(30),
        max_elapsed_time: Duration::from_mins(5),
    };

    /// Reads the block `retry_on_failure` of an exporter. What is kept on disk is tried for ever
    /// unless the block says otherwise.
    pub fn read(exporter: &mut Section<'_>, durable: bool) -> Self {
        let max_elapsed_time = if durable { Duration::ZERO } else { Self::DEFAULT.max_elapsed_time };
        let default = Self { max_elapsed_time, ..Self::DEFAULT };
        let Some(mut section) = exporter.section("retry_on_failure") else { return default };
        let schedule = Self {
            enabled: section.bool_or("enabled", default.enabled),
            initial_interval: section.duration_or("initial_interval", default.initial_interval),
            randomization_factor: section.f64_or("randomization_factor", default.randomization_factor),
            multiplier: section.f64_or("multiplier", default.multiplier),
            max_interval: section.duration_or("max_interval", default.max_interval),
            max_elapsed_time: section.duration_or("max_elapsed_time", default.max_elapsed_time),
        };
        if !(0.0..=1.0).contains(&schedule.randomization_factor) {
            section.error("randomization_factor", "`randomization_factor` must be from 0 to 1");
        }
        if !(1.0..=1e6).contains(&schedule.multiplier) {
            section.error("multiplier", "`multiplier` must be from 1 to 1000000");
        }
        section.finish();
        schedule
    }

    /// The same pauses, without an end.
    #[must_use]
    pub fn for_ever(self) -> Self {
        Self { max_elapsed_time: Duration::ZERO, ..self }
    }

    /// The pauses of one request.
    pub fn begin(self) -> Backoff {
        Backoff { interval: self.initial_interval.min(self.max_interval), schedule: self }
    }
}

/// The pauses of one request.
#[derive(Debug, Clone)]
pub struct Backoff {
    schedule: Schedule,
    interval: Duration,
}

impl Backoff {
    /// The next pause, when `elapsed` has passed since the first attempt: what is due, but no less
    /// than the server asked for; `None` if it has to be given up. `random` is from 0 to 1.
    pub fn next(&mut self, elapsed: Duration, asked: Option<Duration>, random: f64) -> Option<Duration> {
        if !self.schedule.enabled {
            return None;
        }
        let factor = 1.0 + self.schedule.randomization_factor.clamp(0.0, 1.0) * (2.0 * random - 1.0);
        let pause = self.interval.mul_f64(factor).max(asked.unwrap_or_default());
        // Within bounds before it is multiplied: `mul_f64` panics on overflow.
        self.interval = self.interval.mul_f64(self.schedule.multiplier.clamp(1.0, 1e6)).min(self.schedule.max_interval);
        let max = self.schedule.max_elapsed_time;
        (max.is_zero() || elapsed.saturating_add(pause) <= max).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: f64 = 0.5;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn pauses_grow_by_half_up_to_thirty_seconds() {
        let mut backoff = Schedule::DEFAULT.begin();
        // 5 × 1.5ⁿ, by hand.
        for due in [5.0, 7.5, 11.25, 16.875, 25.3125, 30.0, 30.0] {
            assert_eq!(backoff.next(Duration::ZERO, None, MIDDLE), Some(seconds(due)));
        }
    }

    #[test]
    fn jitter_is_at_most_half_of_the_pause() {
        assert_eq!(Schedule::DEFAULT.begin().next(Duration::ZERO, None, 0.0), Some(seconds(2.5)));
        assert_eq!(Schedule::DEFAULT.begin().next(Duration::ZERO, None, 1.0), Some(seconds(7.5)));
    }

    #[test]
    fn a_server_can_ask_for_more_but_not_for_less() {
        assert_eq!(Schedule::DEFAULT.begin().next(Duration::ZERO, Some(seconds(60.0)), MIDDLE), Some(seconds(60.0)));
        assert_eq!(Schedule::DEFAULT.begin().next(Duration::ZERO, Some(seconds(1.0)), MIDDLE), Some(seconds(5.0)));
    }

    #[test]
    fn it_is_given_up_when_the_next_attempt_would_be_too_late() {
        assert_eq!(Schedule::DEFAULT.begin().next(seconds(295.0), None, MIDDLE), Some(seconds(5.0)));
        assert_eq!(Schedule::DEFAULT.begin().next(seconds(295.1), None, MIDDLE), None);
        let for_ever = Schedule { max_elapsed_time: Duration::ZERO, ..Schedule::DEFAULT };
        assert_eq!(for_ever.begin().next(seconds(1e9), None, MIDDLE), Some(seconds(5.0)));
        assert_eq!(Schedule::OFF.begin().next(Duration::ZERO, None, MIDDLE), None);
    }
}
