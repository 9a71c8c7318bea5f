//! A stretch of the run, and which requests are of it.

use std::time::Instant;

pub struct Stretch {
    pub from: Instant,
    pub to: Instant,
    /// The most memory that was resident.
    pub peak_mib: u64,
}

impl Stretch {
    /// Whether all between these two is in it.
    pub fn holds(&self, began: Instant, ended: Instant) -> bool {
        began >= self.from && ended <= self.to
    }

    /// Whether anything between these two is in it.
    pub fn touches(&self, began: Instant, ended: Instant) -> bool {
        began < self.to && ended > self.from
    }
}
