//! Who waits for room in a queue, in the order in which they came.
//!
//! Who comes finds no room before those that wait already, however little it needs: otherwise what needs much
//! would wait for as long as others come.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, MutexGuard};

/// Those that wait for room.
#[derive(Debug, Default)]
pub(super) struct Turns {
    waiting: AtomicUsize,
    /// Whoever locks it gets it in the order in which they asked.
    turn: Mutex<()>,
}

/// Its holder is the first of them. Dropping it lets the next one be that.
pub(super) struct Turn<'l> {
    _turn: MutexGuard<'l, ()>,
    _waits: Waits<'l>,
}

/// Counts its holder as one that waits.
struct Waits<'l>(&'l Turns);

/// Whether somebody has waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comes {
    /// Not yet: those that wait come first.
    First,
    /// Its turn has come, in this queue or in another one: what waits for several queues would otherwise never have
    /// room in all.
    AfterItsTurn,
}

impl Turns {
    /// Whether someone who comes like this has to wait.
    pub(super) fn has_to_wait(&self, comes: Comes) -> bool {
        comes == Comes::First && self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Waits until all that came before have gone on, with room or without.
    pub(super) async fn next(&self) -> Turn<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waits = Waits(self);
        Turn { _turn: self.turn.lock().await, _waits: waits }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
