//! `wait_for_result`: what has become of a request whose sender waits for it.
//!
//! Whoever holds [`Owed`] owes the sender a [`Verdict`]. One that is dropped without having given
//! it, because its task died or its queue is gone, gives "not now": nobody waits in vain and
//! nobody is told that spans have arrived which have not. A request that is cut owes one verdict
//! for all its parts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::Queue;

/// What has become of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Upstream has taken it; the warning, if there is one, is for its sender.
    Taken {
        /// Empty if there is none.
        warning: String,
    },
    /// It will never be taken. To be told to its sender as final.
    Refused {
        /// Why.
        reason: String,
    },
    /// It was not taken this time. Its sender may try again.
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl Verdict {
    /// Taken, and nothing to say about it.
    pub const TAKEN: Self = Self::Taken { warning: String::new() };

    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }

    /// The verdict on two parts of a request, or on the request at two destinations. One that may
    /// be taken later decides: an answer that is final would lose it.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (&self, &other) {
            (Self::Unavailable { .. }, _) => self,
            (_, Self::Unavailable { .. }) => other,
            (Self::Refused { .. }, _) => self,
            (_, Self::Refused { .. }) => other,
            (Self::Taken { warning }, Self::Taken { .. }) => {
                if warning.is_empty() {
                    other
                } else {
                    self
                }
            }
        }
    }
}

/// A verdict that a request, or a part of it, owes to its sender.
pub struct Owed {
    waiter: Arc<Waiter>,
    given: bool,
}

/// The sender's side of it.
pub struct Pending(oneshot::Receiver<Verdict>);

/// Tells when nobody owes anything any more: then all is counted, and the room given back.
struct Waiter {
    verdict: Mutex<Verdict>,
    tell: Option<oneshot::Sender<Verdict>>,
}

impl Owed {
    /// The two sides of one request at one destination.
    pub fn new() -> (Self, Pending) {
        let (tell, told) = oneshot::channel();
        let waiter = Arc::new(Waiter { verdict: Mutex::new(Verdict::TAKEN), tell: Some(tell) });
        (Self { waiter, given: false }, Pending(told))
    }

    /// The same for one more part of the request.
    #[must_use]
    pub(super) fn part(&self) -> Self {
        Self { waiter: Arc::clone(&self.waiter), given: false }
    }

    /// Gives the verdict, unless it was given.
    pub(super) fn give(&mut self, verdict: Verdict) {
        if !std::mem::replace(&mut self.given, true) {
            let mut all = self.waiter.verdict.lock().unwrap_or_else(PoisonError::into_inner);
            *all = std::mem::replace(&mut *all, Verdict::TAKEN).and(verdict);
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.give(Verdict::unavailable("the request was given up"));
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let verdict = self.verdict.get_mut().unwrap_or_else(PoisonError::into_inner);
        let verdict = std::mem::replace(verdict, Verdict::TAKEN);
        if let Some(tell) = self.tell.take() {
            // Its sender may have gone, or been answered that it took too long.
            let _ = tell.send(verdict);
        }
    }
}

impl Pending {
    /// Waits for the verdict.
    pub async fn verdict(self) -> Verdict {
        // It is always told; see `Waiter`.
        self.0.await.unwrap_or_else(|_| Verdict::unavailable("the request was given up"))
    }
}

/// A request between the door and the queues: as long as there is one, a batch is worth waiting for
/// it. When there is none, everybody waits for the batch, and it goes out.
pub struct Arriving(Vec<Arc<Queue>>);

impl Arriving {
    /// On its way to these queues, all of which wait for results.
    pub(crate) fn at(queues: Vec<Arc<Queue>>) -> Self {
        for queue in &queues {
            queue.arriving.expect();
        }
        Self(queues)
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        for queue in &self.0 {
            if queue.arriving.came() {
                queue.work.notify_one();
            }
        }
    }
}

/// How many requests are on their way to a queue.
#[derive(Default)]
pub(super) struct Arrivals(AtomicUsize);

impl Arrivals {
    fn expect(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// One has come, or was refused. True if it was the last one.
    fn came(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Whether none is on its way.
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::now;
    use super::*;

    fn refused() -> Verdict {
        Verdict::Refused { reason: "bad".to_owned() }
    }

    #[test]
    fn a_request_that_is_cut_has_one_verdict_when_all_its_parts_have_theirs() {
        for (verdicts, told) in [
            ([Verdict::TAKEN, Verdict::TAKEN], Verdict::TAKEN),
            ([Verdict::TAKEN, refused()], refused()),
            ([refused(), Verdict::TAKEN], refused()),
            // What can still be taken must not be given up by a final answer.
            ([refused(), Verdict::unavailable("away")], Verdict::unavailable("away")),
            ([Verdict::unavailable("away"), refused()], Verdict::unavailable("away")),
        ] {
            let [first, second] = verdicts;
            let (mut owed, pending) = Owed::new();
            let mut part = owed.part();
            let mut verdict = std::pin::pin!(pending.verdict());
            owed.give(first);
            drop(owed);
            assert_eq!(now(verdict.as_mut()), None);
            part.give(second);
            drop(part);
            assert_eq!(now(verdict), Some(told));
        }
    }

    #[test]
    fn a_part_that_is_lost_is_never_told_as_taken() {
        let (mut owed, pending) = Owed::new();
        let part = owed.part();
        owed.give(Verdict::TAKEN);
        drop((owed, part));
        assert!(matches!(now(pending.verdict()), Some(Verdict::Unavailable { .. })));
    }

    #[test]
    fn the_first_warning_is_kept() {
        let warned = |warning: &str| Verdict::Taken { warning: warning.to_owned() };
        assert_eq!(Verdict::TAKEN.and(warned("a")).and(warned("b")).and(Verdict::TAKEN), warned("a"));
    }
}
