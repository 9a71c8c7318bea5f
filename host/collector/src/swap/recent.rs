//! The last batches that reached a plugin, for trying the next version on them.
//!
//! They are in memory only, few and bounded. Seldom one is taken, so that the way of spans does not pay
//! for it; and only one that the present version has worked on without a failure, because what is
//! broken already says nothing about the next version.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Batches that are kept.
const MAX_BATCHES: usize = 8;

/// Their bytes in all.
const MAX_BYTES: usize = 1 << 20;

/// Between two batches that are taken. Taking one copies up to some hundred kilobytes.
const EVERY: Duration = Duration::from_millis(100);

/// The last batches of one processor, whichever version of it served.
pub struct Recent {
    began: Instant,
    /// When the next one is due, in milliseconds since `began`.
    next_ms: AtomicU64,
    kept: Mutex<VecDeque<Bytes>>,
}

impl Default for Recent {
    fn default() -> Self {
        Self { began: Instant::now(), next_ms: AtomicU64::new(0), kept: Mutex::default() }
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

    /// The batches, oldest first.
    pub fn batches(&self) -> Vec<Bytes> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
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
}
