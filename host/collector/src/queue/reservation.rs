//! Room in a queue in memory that was asked for and is not used yet.

use std::time::Duration;

use super::{Item, Queue, Weight};

/// Room for some items. Dropping it gives back what was not used.
pub struct Reservation<'q> {
    pub(super) queue: &'q Queue,
    pub(super) left: Weight,
    /// Whether `left` is part of what the queue has in use.
    pub(super) held: bool,
}

impl Reservation<'_> {
    /// Puts one of the items in that it was made for. Gives how long its sender's answer is to be held back.
    pub(super) fn commit(&mut self, item: Item) -> Duration {
        let weight = item.weight();
        self.left -= weight;
        self.queue.put(item, weight, self.held)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.held && self.left != Weight::default() {
            self.queue.state().used -= self.left;
            self.queue.room.notify_waiters();
        }
    }
}
