//! The last batches that reached a plugin, for trying the next version on them, and what calls with
//! them took, for telling whether the next version takes longer.
//!
//! They are in memory only, few and bounded. Seldom one is taken, so that the way of spans does not pay
//! for it; and only one that the present version has worked on without a failure, because what is
//! broken already says nothing about the next version.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Batches that are kept.
const MAX_BATCHES: usize = 8;

/// Their bytes in all.
const MAX_BYTES: usize = 1 << 20;

/// Between two batches that are taken. Taking one copies up to some hundred kilobytes.
const EVERY: Duration = Duration::from_millis(100);

/// Calls of which it is known what they took.
const TIMES: usize = 64;

/// Of fewer calls nothing is said about what is usual.
const MIN_USUAL: usize = 8;

/// The calls by which it is told what they take now; this many come in little more than half a second.
const NOW: usize = 6;

/// The last batches of one processor, whichever version of it served.
pub struct Recent {
    began: Instant,
    /// When the next one is due, in milliseconds since `began`.
    next_ms: AtomicU64,
    kept: Mutex<VecDeque<Bytes>>,
    /// When some of the last calls were, and the CPU time that they took.
    took: Mutex<VecDeque<(Instant, Duration)>>,
}

impl Default for Recent {
    fn default() -> Self {
        Self { began: Instant::now(), next_ms: AtomicU64::new(0), kept: Mutex::default(), took: Mutex::default() }
    }
}

impl Recent {
    /// Whether a batch of this size is to be kept that arrives now. Of several callers one is told so.
    pub fn is_due(&self, now: Instant, bytes: usize) -> bool {
        let now_ms = now.duration_since(self.began).as_millis() as u64;
        let next = self.next_ms.load(Ordering::Relaxed);
        let then = now_ms + EVERY.as_millis() as u64;
        bytes <= MAX_BYTES
            && now_ms >= next
            && self.next_ms.compare_exchange(next, then, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Keeps a batch; the oldest ones make room for it.
    pub fn keep(&self, batch: &[u8]) {
        if batch.len() > MAX_BYTES {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = |kept: &VecDeque<Bytes>| kept.iter().map(Bytes::len).sum::<usize>();
        while kept.len() >= MAX_BATCHES || bytes(&kept) + batch.len() > MAX_BYTES {
            kept.pop_front();
        }
        // A copy: a part of a large request would keep all of it.
        kept.push_back(Bytes::copy_from_slice(batch));
    }

    /// Notes the CPU time of a call with a batch that was due.
    pub fn note(&self, at: Instant, took: Duration) {
        let mut times = self.times();
        if times.len() >= TIMES {
            times.pop_front();
        }
        times.push_back((at, took));
    }

    /// What half of the last calls took at most, if enough are known.
    pub fn usual(&self) -> Option<Duration> {
        let times: Vec<_> = self.times().iter().map(|(_, took)| *took).collect();
        (times.len() >= MIN_USUAL).then(|| middle(times)).flatten()
    }

    /// The same of the very last ones, all of them after `since`.
    pub fn usual_now(&self, since: Instant) -> Option<Duration> {
        let times: Vec<_> = self.times().iter().rev().take(NOW).filter(|(at, _)| *at >= since).copied().collect();
        (times.len() == NOW).then(|| middle(times.into_iter().map(|(_, took)| took).collect())).flatten()
    }

    fn times(&self) -> MutexGuard<'_, VecDeque<(Instant, Duration)>> {
        self.took.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batches, oldest first.
    pub fn batches(&self) -> Vec<Bytes> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// The upper one of the two in the middle.
fn middle(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_taken_once_in_a_while_and_by_one() {
        let recent = Recent::default();
        let now = Instant::now();
        assert!(recent.is_due(now, 10));
        assert!(!recent.is_due(now, 10) && !recent.is_due(now + EVERY / 2, 10));
        assert!(!recent.is_due(now + EVERY * 2, MAX_BYTES + 1), "too large");
        assert!(recent.is_due(now + EVERY * 2, MAX_BYTES));
    }

    #[test]
    fn the_last_ones_are_kept_within_their_bounds() {
        let recent = Recent::default();
        (0..20).for_each(|number| recent.keep(&[number]));
        assert_eq!(recent.batches(), (12..20).map(|number| vec![number]).collect::<Vec<_>>());
        recent.keep(&vec![1; MAX_BYTES - 1]);
        assert_eq!(recent.batches().iter().map(Bytes::len).collect::<Vec<_>>(), [1, MAX_BYTES - 1]);
        recent.keep(&vec![2; MAX_BYTES + 1]);
        assert_eq!(recent.batches().len(), 2, "what does not fit drives nothing out");
        recent.keep(&vec![3; MAX_BYTES]);
        assert_eq!(recent.batches().len(), 1);
    }

    #[test]
    fn what_calls_take_is_told_of_enough_of_them_and_of_those_that_count() {
        let (recent, now) = (Recent::default(), Instant::now());
        let micros = Duration::from_micros;
        (1..8).for_each(|call| recent.note(now, micros(call)));
        assert_eq!((recent.usual(), recent.usual_now(now)), (None, Some(micros(5))));
        recent.note(now, micros(100));
        assert_eq!(recent.usual(), Some(micros(5)));
        let later = now + EVERY;
        (0..5).for_each(|_| recent.note(later, micros(50)));
        assert_eq!(recent.usual_now(later), None, "those before do not count");
        recent.note(later, micros(50));
        assert_eq!(recent.usual_now(later), Some(micros(50)));
        (0..100).for_each(|_| recent.note(later, micros(70)));
        assert_eq!((recent.usual(), recent.times().len()), (Some(micros(70)), TIMES));
    }
}
