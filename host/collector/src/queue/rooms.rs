//! Room for a request in all queues that it goes to, or in none.
//!
//! What enters is what pipelines have left of a request, each part of it bound for a queue; what leaves
//! is room for all of them. All that goes into one queue finds room there together, so that an empty queue
//! takes it however large it is. Nothing is held while one of the queues has no room: requests that held room in
//! one and waited for another would wait for each other, or fill a queue for those that need no other.

#[cfg(test)]
mod tests;

use std::ptr;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{AnyQueue, Comes, Full, Item, Landing, Owed, Pending, Room};
use crate::account::DestinationAccount;

/// What a pipeline has left of a request, on its way into a queue.
#[derive(Clone, Copy)]
pub(crate) struct Bound<'r> {
    pub queue: &'r AnyQueue,
    /// What becomes of it is written here.
    pub account: &'r Arc<DestinationAccount>,
    pub pipeline: &'r str,
    pub wire: &'r Bytes,
    /// How many spans it holds.
    pub spans: u32,
}

/// Room for all of them, queue by queue. Dropping it gives the room back.
pub(crate) struct Rooms<'b, 'r>(Vec<(Room<'r>, &'b [Bound<'r>])>);

/// What is owed for a request before it may be answered.
#[derive(Default)]
pub(crate) struct Queued {
    pub landings: Vec<Landing>,
    pub results: Vec<Pending>,
    /// How long the answer is held back if nothing else is owed.
    pub pause: Duration,
}

/// What of a request goes into one queue.
#[derive(Clone, Copy)]
struct Group<'b, 'r> {
    queue: &'r AnyQueue,
    bound: &'b [Bound<'r>],
}

impl<'b, 'r> Rooms<'b, 'r> {
    /// Reserves room for the parts of one request. Waits for it where the policy says so.
    ///
    /// # Errors
    /// When one of the queues has no room, or has closed.
    pub async fn reserve(bound: &'b mut [Bound<'r>]) -> Result<Self, Full> {
        bound.sort_by_key(|bound| bound.queue.address());
        let mut awaited: Option<Group<'b, 'r>> = None;
        loop {
            let mut rooms = Vec::new();
            if let Some(Group { queue, bound }) = awaited {
                rooms.push((queue.reserve(bound).await?, bound));
            }
            let comes = awaited.map_or(Comes::First, |_| Comes::AfterItsTurn);
            let is_other = |group: &Group<'_, '_>| awaited.is_none_or(|had| !ptr::eq(had.bound, group.bound));
            let full = groups(bound).filter(is_other).find(|Group { queue, bound }| {
                let room = queue.try_reserve(bound, comes);
                let is_full = room.is_none();
                rooms.extend(room.map(|room| (room, *bound)));
                is_full
            });
            if full.is_none() {
                return Ok(Self(rooms));
            }
            awaited = full;
        }
    }

    /// Reserves room for the parts of several requests if there is some for all of them now. Each finds it by
    /// itself: what an empty queue takes although it is larger than the queue is one request.
    pub fn try_each(bound: &'b [Bound<'r>]) -> Option<Self> {
        let each = bound.iter().map(|one| {
            let alone = slice::from_ref(one);
            Some((one.queue.try_reserve(alone, Comes::First)?, alone))
        });
        each.collect::<Option<_>>().map(Self)
    }

    /// Puts them in. Returns those that are on their way to a disk, and the results that are waited for.
    pub fn commit(self) -> Queued {
        let mut queued = Queued::default();
        for (mut room, bound) in self.0 {
            for &Bound { queue, account, wire, spans, .. } in bound {
                let (owed, result) = queue.waiting().map(|_| Owed::new()).unzip();
                let item = Item { wire: wire.clone(), spans, account: Arc::clone(account), owed };
                room.commit(item, &mut queued);
                queued.results.extend(result);
            }
        }
        queued
    }
}

/// Those that go into the same queue stand beside each other.
fn groups<'b, 'r>(bound: &'b [Bound<'r>]) -> impl Iterator<Item = Group<'b, 'r>> {
    let groups = bound.chunk_by(|one, other| one.queue.address() == other.queue.address());
    groups.filter_map(|bound| Some(Group { queue: bound.first()?.queue, bound }))
}
