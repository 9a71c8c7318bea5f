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
//! eighth: a few huge requests, or bombs, leave room for the small ones of everybody else, and among very many
//! connections for what these take themselves.
//!
//! A receiver may have a budget of its own within that of the process. Then all of this holds in both, and what
//! is charged is charged to both.

#[cfg(test)]
mod tests;

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

/// What a connection takes that has begun to speak, beside its requests: buffers, and what tells of its state. It is
/// not charged, or very many that say little would keep everybody else out.
const CONNECTION_BYTES: usize = 24 * 1024;

/// So many connections may each have large buffers. Among more than that, what one can hold without being charged
/// for it has to be small.
const ROOMY_CONNECTIONS: usize = 32;

/// How long a sender waits for room, its connection unread, before it is told to come back.
const PATIENCE: Duration = Duration::from_millis(500);

/// How soon it looks again although nobody has told it to: what others take and put back at once takes room away
/// for a moment, and they do not tell (see [`Held::put_back`]).
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A budget: that of the process, or of a receiver within it. Cheap to clone; all clones share it.
#[derive(Debug, Clone)]
pub struct Admission {
    shared: Arc<Shared>,
    within: Option<Arc<Shared>>,
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
    /// Its part of the receiver's budget, and of the process's within which that is.
    held: Rc<[Held]>,
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
        let shared = Shared {
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            holders: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        };
        Self { shared: Arc::new(shared), within: None }
    }

    /// A budget of `limit` bytes within this one, which is not within another.
    #[must_use]
    pub fn part(&self, limit: usize) -> Self {
        Self { within: Some(Arc::clone(&self.shared)), ..Self::new(limit) }
    }

    /// Another budget from now on. What is charged stays charged.
    pub fn resize(&self, limit: usize) {
        self.shared.limit.store(limit, Ordering::Relaxed);
        self.shared.freed.notify_waiters();
    }

    /// The part of a connection that begins.
    pub fn connection(&self) -> Share {
        let all = [Some(&self.shared), self.within.as_ref()].into_iter().flatten();
        Share { held: all.map(Held::new).collect() }
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

    /// Whether so many connections are open, in all of the process, that each has to make do with little.
    pub fn is_crowded(&self) -> bool {
        self.held.last().is_some_and(|all| all.shared.connections.load(Ordering::Relaxed) > ROOMY_CONNECTIONS)
    }
}

impl Held {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(shared), bytes: Cell::new(0), requests: Cell::new(0) }
    }

    /// Takes `bytes` more for a request that holds `mine`.
    fn take(&self, mine: usize, bytes: usize) -> Result<(), OverBudget> {
        let shared = &self.shared;
        let limit = shared.limit_for(mine + bytes);
        let total = shared.used.fetch_add(bytes, Ordering::SeqCst).saturating_add(bytes);
        let others = self.requests.get() - usize::from(mine > 0);
        if total > limit || (others > 0 && shared.is_unfair(total, limit, self.bytes.get() + bytes)) {
            shared.used.fetch_sub(bytes, Ordering::SeqCst);
            return Err(OverBudget);
        }
        if bytes == 0 {
            return Ok(());
        }
        if self.bytes.get() == 0 {
            shared.holders.fetch_add(1, Ordering::Relaxed);
        }
        if mine == 0 {
            self.requests.set(self.requests.get() + 1);
        }
        self.bytes.set(self.bytes.get() + bytes);
        Ok(())
    }

    /// Gives `bytes` of a request back that holds `left` after that.
    fn give_back(&self, left: usize, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.put_back(left, bytes);
        // Telling nobody costs a lock.
        if self.shared.waiting.load(Ordering::SeqCst) > 0 {
            self.shared.freed.notify_waiters();
        }
    }

    /// The same without telling those who wait, for what was taken a moment ago and not used: whoever waits and
    /// tries again in vain would wake itself and all others, and they it, without end.
    fn put_back(&self, left: usize, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let shared = &self.shared;
        self.bytes.set(self.bytes.get() - bytes);
        if left == 0 {
            self.requests.set(self.requests.get() - 1);
        }
        if self.bytes.get() == 0 {
            shared.holders.fetch_sub(1, Ordering::Relaxed);
        }
        shared.used.fetch_sub(bytes, Ordering::SeqCst);
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
        if bytes <= SMALL_BYTES {
            return limit;
        }
        // Large ones leave room for what very many connections take.
        let crowd = self.connections.load(Ordering::Relaxed).saturating_sub(ROOMY_CONNECTIONS);
        let taken = crowd.saturating_mul(CONNECTION_BYTES);
        (limit - limit / KEPT_PART).saturating_sub(taken).max(limit / 2)
    }

    /// Whether a connection that would hold `mine` bytes goes beyond what is fair.
    fn is_unfair(&self, total: usize, limit: usize, mine: usize) -> bool {
        let half = limit / 2;
        mine > half || (total > half && mine > limit / self.holders.load(Ordering::Relaxed).max(1))
    }
}

impl Charge {
    /// See [`Share::is_crowded`].
    pub fn is_crowded(&self) -> bool {
        self.share.is_crowded()
    }

    /// Takes `bytes` more; waits a moment if there is no room for them.
    ///
    /// # Errors
    /// When the budget has no room for them; then nothing is taken.
    pub async fn grow(&mut self, bytes: usize) -> Result<(), OverBudget> {
        match self.take(bytes) {
            Err(OverBudget) if self.can_fit(bytes) => self.wait(bytes).await,
            result => result,
        }
    }

    /// Whether there would be room if nobody else held anything.
    fn can_fit(&self, bytes: usize) -> bool {
        self.share.held.iter().all(|held| self.bytes + bytes <= held.shared.limit_for(self.bytes + bytes))
    }

    /// Takes it from every budget, or from none.
    fn take(&mut self, bytes: usize) -> Result<(), OverBudget> {
        for (taken, held) in self.share.held.iter().enumerate() {
            if held.take(self.bytes, bytes).is_err() {
                for held in self.share.held.iter().take(taken) {
                    held.put_back(self.bytes, bytes);
                }
                return Err(OverBudget);
            }
        }
        self.bytes += bytes;
        Ok(())
    }

    async fn wait(&mut self, bytes: usize) -> Result<(), OverBudget> {
        let share = self.share.clone();
        let (Some(own), Some(all)) = (share.held.first(), share.held.last()) else { return Err(OverBudget) };
        let _waiting = [Waiting::begin(&own.shared), Waiting::begin(&all.shared)];
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (mut own, mut all) = (pin!(own.shared.freed.notified()), pin!(all.shared.freed.notified()));
            // Before looking, so that nothing given back is missed.
            let _ = (own.as_mut().enable(), all.as_mut().enable());
            if self.take(bytes).is_ok() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(OverBudget);
            }
            tokio::select! {
                () = own => {}
                () = all => {}
                () = tokio::time::sleep_until(deadline.min(Instant::now() + LOOK_AGAIN)) => {}
            }
        }
    }
}

impl Meter for Charge {
    async fn grow(&mut self, bytes: usize) -> bool {
        Self::grow(self, bytes).await.is_ok()
    }

    fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        for held in self.share.held.iter() {
            held.give_back(self.bytes, bytes);
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
