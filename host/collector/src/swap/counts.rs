//! What is counted of a version while it is watched closely: calls, failures, spans, and what calls take.
//!
//! All cores write it, so it is written only then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Times are told apart by an eighth: eight buckets for each doubling, from 1 µs to 8 s.
const SUB: u32 = 3;
const OCTAVES: u32 = 24;
const BUCKETS: usize = (OCTAVES as usize) << SUB;

/// Nanoseconds of one step in the first octave.
const STEP: u64 = 128;

/// Of fewer calls nothing is said about what half of them take.
const MIN_CALLS: u64 = 16;

/// See the module.
#[derive(Debug)]
pub struct Counts {
    calls: AtomicU64,
    failures: AtomicU64,
    spans: AtomicU64,
    dropped: AtomicU64,
    memory: AtomicU64,
    took: [AtomicU64; BUCKETS],
}

/// What was counted until some time, or since.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Calls, those that failed included.
    pub calls: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Spans in the others.
    pub spans: u64,
    /// Spans that these dropped.
    pub dropped: u64,
    /// Linear memory of the instance called last, in bytes.
    pub memory: u64,
    took: Vec<u64>,
}

/// The same for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Spans that it worked on.
    pub spans: u64,
    /// Those that it dropped, or would have.
    pub would_drop: u64,
    /// What half of its calls take at most, in microseconds of CPU time.
    pub p50_us: u64,
    /// What 99 of 100 calls take at most.
    pub p99_us: u64,
    /// Linear memory of an instance, in bytes.
    pub memory: u64,
    /// Calls that failed.
    pub failures: u64,
}

impl Default for Counts {
    fn default() -> Self {
        let zero = AtomicU64::default;
        let took = std::array::from_fn(|_| zero());
        Self { calls: zero(), failures: zero(), spans: zero(), dropped: zero(), memory: zero(), took }
    }
}

impl Counts {
    /// Counts a call that went well.
    pub fn called(&self, spans: u32, dropped: u32, took: Duration, memory: usize) {
        self.spans.fetch_add(u64::from(spans), Ordering::Relaxed);
        self.dropped.fetch_add(u64::from(dropped), Ordering::Relaxed);
        self.memory.store(memory as u64, Ordering::Relaxed);
        if let Some(bucket) = self.took.get(bucket(took)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that failed.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub fn until_now(&self) -> Counted {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counted {
            calls: of(&self.calls),
            failures: of(&self.failures),
            spans: of(&self.spans),
            dropped: of(&self.dropped),
            memory: of(&self.memory),
            took: self.took.iter().map(of).collect(),
        }
    }
}

impl Default for Counted {
    fn default() -> Self {
        Counts::default().until_now()
    }
}

impl Counted {
    /// What was counted after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            failures: self.failures.saturating_sub(earlier.failures),
            spans: self.spans.saturating_sub(earlier.spans),
            dropped: self.dropped.saturating_sub(earlier.dropped),
            memory: self.memory,
            took: self.took.iter().zip(&earlier.took).map(|(now, then)| now.saturating_sub(*then)).collect(),
        }
    }

    /// What half of the calls take at most, if there were enough of them to tell.
    pub fn half_take(&self) -> Option<Duration> {
        (self.took.iter().sum::<u64>() >= MIN_CALLS).then(|| self.take(0.5))
    }

    /// What this share of the calls takes at most; nothing if there were none.
    fn take(&self, share: f64) -> Duration {
        let wanted = (self.took.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let reached = |count: &u64| {
            seen += count;
            seen >= wanted && wanted > 0
        };
        self.took.iter().position(reached).map_or(Duration::ZERO, top)
    }

    /// For people.
    pub fn side(&self) -> Side {
        let us = |share| self.take(share).as_micros() as u64;
        Side {
            spans: self.spans,
            would_drop: self.dropped,
            p50_us: us(0.5),
            p99_us: us(0.99),
            memory: self.memory,
            failures: self.failures,
        }
    }
}

fn bucket(took: Duration) -> usize {
    let steps = (u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / STEP).max(1 << SUB);
    let octave = steps.ilog2() - SUB;
    let sub = (steps >> octave) & ((1 << SUB) - 1);
    (((octave as usize) << SUB) + sub as usize).min(BUCKETS - 1)
}

/// Where a bucket ends.
fn top(bucket: usize) -> Duration {
    let (octave, sub) = (bucket >> SUB, bucket as u64 & ((1 << SUB) - 1));
    Duration::from_nanos((((1 << SUB) + sub + 1) << octave) * STEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_calls_take_is_told_within_an_eighth() {
        for nanos in [1_100, 5_000, 123_456, 10_000_000, 999_999_999, 8_000_000_000] {
            let took = Duration::from_nanos(nanos);
            let told = top(bucket(took));
            assert!(told >= took && told <= took * 9 / 8 + Duration::from_nanos(STEP), "{took:?} {told:?}");
        }
        assert_eq!((bucket(Duration::ZERO), bucket(Duration::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn of_a_hundred_calls_the_middle_and_the_slowest_are_found() {
        let counts = Counts::default();
        assert_eq!(counts.until_now().half_take(), None);
        for call in 1..=100 {
            counts.called(10, 3, Duration::from_micros(call * 10), 65536);
        }
        counts.failed();
        let before = counts.until_now();
        let side = before.side();
        let expected = Side { spans: 1000, would_drop: 300, memory: 65536, failures: 1, ..side.clone() };
        assert_eq!(side, expected);
        assert!((500..=563).contains(&side.p50_us) && (990..=1115).contains(&side.p99_us), "{side:?}");
        for _ in 0..20 {
            counts.called(1, 0, Duration::from_millis(5), 65536);
        }
        let since = counts.until_now().since(&before);
        assert_eq!((since.calls, since.spans, since.dropped, since.failures), (20, 20, 0, 0));
        assert!(since.half_take().is_some_and(|took| took >= Duration::from_millis(5)));
    }
}
