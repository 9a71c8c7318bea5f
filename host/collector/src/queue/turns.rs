//! Who waits for room in a queue, in the order in which they came.
//!
//! While the first of them finds no room, who comes finds none either, however little it needs: otherwise what needs
//! much would wait for as long as others come. Once it has found room, whoever comes looks for itself, so that
//! those that have waited do not hold up a queue that has room again until each of them has had its turn.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard};

/// Those that wait for room.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Whether the first of them has looked and found none.
    is_short: AtomicBool,
    /// Whoever locks it gets it in the order in which they asked.
    turn: Mutex<()>,
}

/// Its holder is the first of them. Dropping it lets the next one be that.
pub(super) struct Turn<'t> {
    is_short: &'t AtomicBool,
    _turn: MutexGuard<'t, ()>,
}

/// Whether somebody has waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comes {
    /// Not yet: who waits already comes first.
    First,
    /// Its turn has come, in this queue or in another one: what waits for several queues would otherwise never have
    /// room in all.
    AfterItsTurn,
}

impl Turns {
    /// Whether someone who comes like this has to wait, whatever room there is.
    pub(super) fn has_to_wait(&self, comes: Comes) -> bool {
        comes == Comes::First && self.is_short.load(Ordering::Relaxed)
    }

    /// Waits until all that came before have gone on, with room or without.
    pub(super) async fn next(&self) -> Turn<'_> {
        Turn { _turn: self.turn.lock().await, is_short: &self.is_short }
    }
}

impl Turn<'_> {
    /// Its holder has found no room, and waits for it.
    pub(super) fn is_short(&self) {
        self.is_short.store(true, Ordering::Relaxed);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Before the next one has its turn.
        self.is_short.store(false, Ordering::Relaxed);
    }
}
