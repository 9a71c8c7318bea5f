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
const CALLS: usize = 64;

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
    /// Some of the last calls.
    calls: Mutex<VecDeque<Call>>,
}

/// A call with a batch that was due.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// When it began.
    pub at: Instant,
    /// The CPU time that it took.
    pub took: Duration,
    /// The batch's spans.
    pub spans: u32,
    /// The batch's size.
    pub bytes: usize,
}

/// What half of some calls took at most, and how large half of their batches were at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usual {
    /// The CPU time.
    pub took: Duration,
    spans: u32,
    bytes: usize,
}

impl Usual {
    fn of(calls: &[Call]) -> Option<Self> {
        Some(Self {
            took: middle(calls.iter().map(|call| call.took).collect())?,
            spans: middle(calls.iter().map(|call| call.spans).collect())?,
            bytes: middle(calls.iter().map(|call| call.bytes).collect())?,
        })
    }

    /// How many times as large the batches `now` are; 1 if they are smaller. Calls that do the same take at most that
    /// many times as long: a part of what they take has nothing to do with the size.
    pub fn growth(&self, now: &Self) -> f64 {
        let spans = f64::from(now.spans) / f64::from(self.spans.max(1));
        let bytes = now.bytes as f64 / self.bytes.max(1) as f64;
        spans.max(bytes).max(1.0)
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self { began: Instant::now(), next_ms: AtomicU64::new(0), kept: Mutex::default(), calls: Mutex::default() }
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

    /// Notes a call with a batch that was due.
    pub fn note(&self, call: Call) {
        let mut calls = self.calls();
        if calls.len() >= CALLS {
            calls.pop_front();
        }
        calls.push_back(call);
    }

    /// What the last calls were like, if enough are known.
    pub fn usual(&self) -> Option<Usual> {
        let calls: Vec<_> = self.calls().iter().copied().collect();
        Usual::of(&calls).filter(|_| calls.len() >= MIN_USUAL)
    }

    /// The same of the very last ones, all of them after `since`.
    pub fn usual_now(&self, since: Instant) -> Option<Usual> {
        let calls: Vec<_> = self.calls().iter().rev().take(NOW).filter(|call| call.at >= since).copied().collect();
        Usual::of(&calls).filter(|_| calls.len() == NOW)
    }

    fn calls(&self) -> MutexGuard<'_, VecDeque<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batches, oldest first.
    pub fn batches(&self) -> Vec<Bytes> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// The upper one of the two in the middle.
fn middle<T: Ord + Copy>(mut values: Vec<T>) -> Option<T> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
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
        let note = |at, took| recent.note(Call { at, took: micros(took), spans: 1, bytes: 1 });
        let usual = || recent.usual().map(|usual| usual.took);
        let usual_now = |since| recent.usual_now(since).map(|usual| usual.took);
        (1..8).for_each(|took| note(now, took));
        assert_eq!((usual(), usual_now(now)), (None, Some(micros(5))));
        note(now, 100);
        assert_eq!(usual(), Some(micros(5)));
        let later = now + EVERY;
        (0..5).for_each(|_| note(later, 50));
        assert_eq!(usual_now(later), None, "those before do not count");
        note(later, 50);
        assert_eq!(usual_now(later), Some(micros(50)));
        (0..100).for_each(|_| note(later, 70));
        assert_eq!((usual(), recent.calls().len()), (Some(micros(70)), CALLS));
    }

    #[test]
    fn batches_grow_by_their_spans_or_by_their_bytes() {
        let usual = |spans, bytes| Usual { took: Duration::ZERO, spans, bytes };
        let grows = |to| (usual(2, 100).growth(&to) * 10.0).round() as u32;
        assert_eq!([usual(8, 200), usual(2, 500), usual(1, 50)].map(grows), [40, 50, 10]);
    }
}
