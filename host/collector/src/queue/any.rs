//! A queue of either kind, as receivers and exporters see it.

use std::sync::Arc;

use super::durable::{self, Durable};
use super::{Bound, Comes, Full, Item, Queue, Queued, Reservation, Taken, Weight, envelope};

/// A queue in memory or on disk.
#[derive(Clone)]
pub enum AnyQueue {
    /// What is in it ends with the process.
    Memory(Arc<Queue>),
    /// What is in it outlives the process.
    Durable(Arc<Durable>),
}

/// Room for all of a request that goes into one queue. Dropping it gives back what was not used.
pub enum Room<'q> {
    /// In memory.
    Memory(Reservation<'q>),
    /// On disk.
    Durable(durable::Room),
}

impl AnyQueue {
    /// Reserves room for all of these together. With `on_full: block` it waits for it, with the
    /// dropping policies there is always room.
    pub(super) async fn reserve(&self, bound: &[Bound<'_>]) -> Result<Room<'_>, Full> {
        let weight = weight(bound);
        match self {
            Self::Memory(queue) => queue.reserve(weight).await.map(Room::Memory),
            Self::Durable(queue) => queue.reserve(&lengths(bound), weight).await.map(Room::Durable),
        }
    }

    /// Reserves room, or what the policy has instead of it, if that can be had now. It is no failure if
    /// it cannot.
    pub(super) fn try_reserve(&self, bound: &[Bound<'_>], comes: Comes) -> Option<Room<'_>> {
        let weight = weight(bound);
        match self {
            Self::Memory(queue) => queue.try_reserve(weight, comes).ok().map(Room::Memory),
            Self::Durable(queue) => queue.try_reserve(&lengths(bound), weight, comes).ok().map(Room::Durable),
        }
    }

    /// What tells this queue from all others.
    pub(super) fn address(&self) -> *const () {
        match self {
            Self::Memory(queue) => Arc::as_ptr(queue).cast(),
            Self::Durable(queue) => Arc::as_ptr(queue).cast(),
        }
    }

    /// The queue, if senders are answered when the outcome of their requests is known.
    pub(crate) fn waiting(&self) -> Option<&Arc<Queue>> {
        match self {
            Self::Memory(queue) => Some(queue).filter(|queue| queue.waits()),
            Self::Durable(_) => None,
        }
    }

    /// Takes the next batch. Waits until there is one. There must be one taker only.
    pub(crate) async fn take(&self) -> Vec<Taken> {
        match self {
            Self::Memory(queue) => queue.take().await,
            Self::Durable(queue) => queue.take().await,
        }
    }

    /// Lets batches go out without waiting for more, and waits until nothing is held. `last` says
    /// whether nobody else has the log.
    pub(crate) async fn drained(&self, last: impl Fn() -> bool) {
        match self {
            Self::Memory(queue) => queue.drained().await,
            Self::Durable(queue) => queue.drained(last).await,
        }
    }

    /// Closes the queue. In memory, what waits has failed; on disk it stays.
    pub(crate) fn close(&self) {
        match self {
            Self::Memory(queue) => queue.close(),
            Self::Durable(queue) => queue.close(),
        }
    }

    /// Spans that were given up because the process ends.
    pub(crate) fn shut_out(&self) -> u64 {
        match self {
            Self::Memory(queue) => queue.shut_out(),
            Self::Durable(_) => 0,
        }
    }

    /// Spans that stay in it when the process ends.
    pub(crate) fn kept(&self) -> u64 {
        match self {
            Self::Memory(_) => 0,
            Self::Durable(queue) => queue.held(),
        }
    }
}

fn weight(bound: &[Bound<'_>]) -> Weight {
    let mut all = Weight::default();
    for bound in bound {
        all += Weight::of(bound.wire.len(), bound.spans);
    }
    all
}

/// Those of the records.
fn lengths(bound: &[Bound<'_>]) -> Vec<usize> {
    bound.iter().map(|bound| envelope::length(bound.pipeline, bound.wire.len())).collect()
}

impl Room<'_> {
    /// Puts one of those in that it was reserved for, in the same order, and notes what comes before its answer.
    pub(super) fn commit(&mut self, item: Item, queued: &mut Queued) {
        match self {
            Self::Memory(room) => queued.pause = queued.pause.max(room.commit(item)),
            // It is safe when the landing says so.
            Self::Durable(room) => queued.landings.extend(room.commit(item)),
        }
    }
}
