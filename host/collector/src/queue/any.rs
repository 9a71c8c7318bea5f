//! A queue of either kind, as receivers and exporters see it.

use std::sync::Arc;

use super::durable::{self, Durable, Landing};
use super::{Full, Item, Queue, Reservation, Taken};

/// A queue in memory or on disk.
#[derive(Clone)]
pub enum AnyQueue {
    /// What is in it ends with the process.
    Memory(Arc<Queue>),
    /// What is in it outlives the process.
    Durable(Arc<Durable>),
}

/// Room for one request. Dropping it gives the room back.
pub enum Room<'q> {
    /// In memory.
    Memory(Reservation<'q>),
    /// On disk.
    Durable(durable::Room),
}

impl AnyQueue {
    /// Reserves room for a request of this pipeline. With `on_full: block` it waits for it, with
    /// the dropping policies there is always room.
    ///
    /// # Errors
    /// When there is no room, or the queue has closed.
    pub async fn reserve(&self, pipeline: &str, bytes: usize, spans: u32) -> Result<Room<'_>, Full> {
        match self {
            Self::Memory(queue) => queue.reserve(bytes, spans).await.map(Room::Memory),
            Self::Durable(queue) => queue.reserve(pipeline, bytes, spans).await.map(Room::Durable),
        }
    }

    /// Reserves room if there is some now. It is no failure if there is none.
    pub(crate) fn try_reserve(&self, pipeline: &str, bytes: usize, spans: u32) -> Option<Room<'_>> {
        match self {
            Self::Memory(queue) => queue.try_reserve(bytes, spans).map(Room::Memory),
            Self::Durable(queue) => queue.try_reserve_for(pipeline, bytes, spans).map(Room::Durable),
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

impl Room<'_> {
    /// Puts the request in. On disk it is safe when the landing says so.
    pub fn commit(self, item: Item) -> Option<Landing> {
        match self {
            Self::Memory(room) => {
                room.commit(item);
                None
            }
            Self::Durable(room) => room.commit(item),
        }
    }
}
