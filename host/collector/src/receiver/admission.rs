//! Admission by bytes: how much all requests that are on their way in may hold together.
//!
//! A body is charged chunk by chunk as it arrives and again by what comes out of decompression;
//! the charge is given back when the request is answered, or its sender goes away. Who finds no
//! room is not read from for a moment; then it is told to come back: memory stays bounded however
//! many senders there are.
//!
//! A connection with several requests on their way gets at most half of the budget, and when the
//! budget is half spent no more than its even share: one that sends much at a time does not keep the
//! others out. A connection with one request on its way may have as much as that needs, but for the last
//! eighth: a few huge requests, or bombs, leave room for the small ones of everybody else.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::otlp::compression::Meter;

/// Enough for four requests of the largest size, far less than an edge box has.
pub const DEFAULT_BYTES: usize = 256 * 1024 * 1024;

/// A request that holds no more than this is a small one: spans as they are sent all day.
const SMALL_BYTES: usize = 1024 * 1024;

/// The part of the budget that is kept for small ones.
const KEPT_PART: usize = 8;

/// How long a sender waits for room, its connection unread, before it is told to come back.
const PATIENCE: Duration = Duration::from_millis(500);

/// The budget of the process. Cheap to clone; all clones share it.
#[derive(Debug, Clone)]
pub struct Admission {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    used: AtomicUsize,
    limit: AtomicUsize,
    /// Connections that hold something.
    holders: AtomicUsize,
    /// Connections that are open.
    connections: AtomicUsize,
    /// Requests that wait for room.
    waiting: AtomicUsize,
    freed: Notify,
}

/// The part of one connection. All its requests are on one core.
#[derive(Debug, Clone)]
pub struct Share {
    held: Rc<Held>,
}

#[derive(Debug)]
struct Held {
    shared: Arc<Shared>,
    bytes: Cell<usize>,
    /// How many requests hold them.
    requests: Cell<usize>,
}

/// What one request holds. Gives it back when dropped.
#[derive(Debug)]
pub struct Charge {
    share: Share,
    bytes: usize,
}

/// The budget is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many bytes are on their way in")]
pub struct OverBudget;

impl Admission {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                used: AtomicUsize::new(0),
                limit: AtomicUsize::new(limit),
                holders: AtomicUsize::new(0),
                connections: AtomicUsize::new(0),
                waiting: AtomicUsize::new(0),
                freed: Notify::new(),
            }),
        }
    }

    /// Another budget from now on. What is charged stays charged.
    pub fn resize(&self, limit: usize) {
        self.shared.limit.store(limit, Ordering::Relaxed);
        self.shared.freed.notify_waiters();
    }

    /// The part of a connection that begins.
    pub fn connection(&self) -> Share {
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(&self.shared);
        Share { held: Rc::new(Held { shared, bytes: Cell::new(0), requests: Cell::new(0) }) }
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Bytes that are charged now.
    pub fn used(&self) -> usize {
        self.shared.used.load(Ordering::Relaxed)
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new(DEFAULT_BYTES)
    }
}

impl Share {
    /// A charge of nothing, to grow.
    pub fn charge(&self) -> Charge {
        Charge { share: self.clone(), bytes: 0 }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// What all may hold together when one is to hold `bytes`.
    fn limit_for(&self, bytes: usize) -> usize {
        let limit = self.limit.load(Ordering::Relaxed);
        if bytes > SMALL_BYTES { limit - limit / KEPT_PART } else { limit }
    }

    /// Whether a connection that would hold `mine` bytes goes beyond what is fair.
    fn is_unfair(&self, total: usize, limit: usize, mine: usize) -> bool {
        let half = limit / 2;
        mine > half || (total > half && mine > limit / self.holders.load(Ordering::Relaxed).max(1))
    }
}

impl Charge {
    /// Takes `bytes` more; waits a moment if there is no room for them.
    ///
    /// # Errors
    /// When the budget has no room for them; then nothing is taken.
    pub async fn grow(&mut self, bytes: usize) -> Result<(), OverBudget> {
        match self.take(bytes) {
            Err(OverBudget) if self.bytes + bytes <= self.share.held.shared.limit_for(self.bytes + bytes) => {
                self.wait(bytes).await
            }
            result => result,
        }
    }

    fn take(&mut self, bytes: usize) -> Result<(), OverBudget> {
        let (held, shared) = (&self.share.held, &self.share.held.shared);
        let limit = shared.limit_for(self.bytes + bytes);
        let total = shared.used.fetch_add(bytes, Ordering::SeqCst).saturating_add(bytes);
        let others = held.requests.get() - usize::from(self.bytes > 0);
        if total > limit || (others > 0 && shared.is_unfair(total, limit, held.bytes.get() + bytes)) {
            shared.used.fetch_sub(bytes, Ordering::SeqCst);
            return Err(OverBudget);
        }
        if bytes == 0 {
            return Ok(());
        }
        if held.bytes.get() == 0 {
            shared.holders.fetch_add(1, Ordering::Relaxed);
        }
        if self.bytes == 0 {
            held.requests.set(held.requests.get() + 1);
        }
        held.bytes.set(held.bytes.get() + bytes);
        self.bytes += bytes;
        Ok(())
    }

    async fn wait(&mut self, bytes: usize) -> Result<(), OverBudget> {
        let shared = Arc::clone(&self.share.held.shared);
        let _waiting = Waiting::begin(&shared);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut freed = pin!(shared.freed.notified());
            // Before looking, so that nothing given back is missed.
            let _ = freed.as_mut().enable();
            if self.take(bytes).is_ok() {
                return Ok(());
            }
            tokio::time::timeout_at(deadline, freed).await.map_err(|_| OverBudget)?;
        }
    }
}

impl Meter for Charge {
    async fn grow(&mut self, bytes: usize) -> bool {
        Self::grow(self, bytes).await.is_ok()
    }

    fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        if bytes == 0 {
            return;
        }
        let (held, shared) = (&self.share.held, &self.share.held.shared);
        self.bytes -= bytes;
        held.bytes.set(held.bytes.get() - bytes);
        if self.bytes == 0 {
            held.requests.set(held.requests.get() - 1);
        }
        if held.bytes.get() == 0 {
            shared.holders.fetch_sub(1, Ordering::Relaxed);
        }
        shared.used.fetch_sub(bytes, Ordering::SeqCst);
        // Telling nobody costs a lock.
        if shared.waiting.load(Ordering::SeqCst) > 0 {
            shared.freed.notify_waiters();
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

struct Waiting<'s>(&'s Shared);

impl<'s> Waiting<'s> {
    fn begin(shared: &'s Shared) -> Self {
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_budget_is_never_exceeded_and_comes_back() {
        let admission = Admission::new(100);
        let (mut one, mut two) = (admission.connection().charge(), admission.connection().charge());
        one.take(60).unwrap();
        assert_eq!(two.take(41), Err(OverBudget));
        two.take(40).unwrap();
        assert_eq!(admission.used(), 100);
        assert_eq!(admission.connections(), 2);
        drop(one);
        assert_eq!((admission.used(), admission.connections()), (40, 1));
        two.give_back(30);
        assert_eq!((admission.used(), admission.shared.holders.load(Ordering::Relaxed)), (10, 1));
        two.give_back(10);
        assert_eq!((admission.used(), admission.shared.holders.load(Ordering::Relaxed)), (0, 0));
        two.take(100).unwrap();
        drop(two);
        assert_eq!((admission.used(), admission.connections()), (0, 0));
    }

    #[test]
    fn huge_requests_leave_room_for_small_ones() {
        let admission = Admission::new(64 << 20);
        let (mut huge, mut small) = (admission.connection().charge(), admission.connection().charge());
        assert_eq!(huge.take((56 << 20) + 1), Err(OverBudget));
        huge.take(56 << 20).unwrap();
        small.take(1 << 20).unwrap();
        assert_eq!(small.take(1), Err(OverBudget), "it is no small one any more");
        let mut others: Vec<_> = (0..7).map(|_| admission.connection().charge()).collect();
        for other in &mut others {
            other.take(1 << 20).unwrap();
        }
        assert_eq!(admission.used(), 64 << 20);
    }

    #[test]
    fn a_connection_with_many_requests_leaves_room_for_others() {
        let admission = Admission::new(100);
        let greedy = admission.connection();
        let mut charges: Vec<_> = (0..20).map(|_| greedy.charge()).collect();
        let taken = charges.iter_mut().filter_map(|charge| charge.take(10).ok()).count();
        assert_eq!((taken, admission.used()), (5, 50), "half of the budget");
        // Two others: an even share is a third.
        let (other, third) = (admission.connection(), admission.connection());
        let (mut first, mut second, mut more) = (other.charge(), other.charge(), other.charge());
        let mut single = third.charge();
        single.take(1).unwrap();
        first.take(20).unwrap();
        second.take(13).unwrap();
        assert_eq!(more.take(1), Err(OverBudget), "34 of 100 among three");
        // One request alone may have what is there.
        single.take(16).unwrap();
        assert_eq!(admission.used(), 100);
        drop((charges, first, second, single, more));
        assert_eq!((admission.used(), admission.shared.holders.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn who_finds_no_room_gets_what_is_given_back_in_a_moment() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let admission = Admission::new(100);
            let (mut one, mut two) = (admission.connection().charge(), admission.connection().charge());
            one.grow(100).await.unwrap();
            let gives_back = async {
                tokio::task::yield_now().await;
                drop(one);
            };
            let (grown, ()) = tokio::join!(two.grow(50), gives_back);
            grown.unwrap();
            let mut three = admission.connection().charge();
            assert_eq!(three.grow(60).await, Err(OverBudget), "nobody gives anything back");
            assert_eq!(admission.shared.waiting.load(Ordering::SeqCst), 0);
            assert_eq!(three.grow(101).await, Err(OverBudget), "what can never fit does not wait");
            admission.resize(200);
            three.grow(101).await.unwrap();
        });
    }
}
