//! Whether a queue takes requests, for those who ask before they send any.
//!
//! A queue is in trouble from when it has found no room for a request until there is room for one of that
//! size, and while its disk fails. One whose policy drops always has room.

use std::sync::Arc;
use std::time::Duration;

use super::{AnyQueue, Durable, NoRoom, OnFull, Queue, Weight};

/// Nobody sends to a process that is not ready, and only a request shows whether the disk has
/// recovered: after so long without one the next may try.
const DISK_FAILS_FOR: Duration = Duration::from_secs(5);

/// Why a queue takes no requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("its queue is full")]
    Full,
    #[error("its queue cannot be written")]
    Disk,
}

/// What found no room last: the lengths of its records, and what it weighs.
pub(super) type Short = (Vec<usize>, Weight);

impl AnyQueue {
    /// Why it takes no requests, if it takes none.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Memory(queue) => queue.is_short().then_some(Trouble::Full),
            Self::Durable(queue) => queue.trouble(),
        }
    }
}

impl Queue {
    fn is_short(&self) -> bool {
        let mut state = self.state();
        let used = state.used;
        state.short = state.short.filter(|weight| !self.settings.fits(used, *weight));
        state.short.is_some()
    }
}

impl Durable {
    fn trouble(self: &Arc<Self>) -> Option<Trouble> {
        let failed = self.last_failure().is_some_and(|at| at.elapsed() < DISK_FAILS_FOR);
        if failed && self.disk.log.figures().failing.is_some() {
            return Some(Trouble::Disk);
        }
        self.is_short().then_some(Trouble::Full)
    }

    fn is_short(self: &Arc<Self>) -> bool {
        let Some((lengths, weight)) = self.short() else { return false };
        // The room is given back at once.
        let is_short = matches!(self.room(&lengths, weight), Err(NoRoom::Full | NoRoom::Behind));
        if !is_short {
            self.set_short(None);
        }
        is_short
    }
}

impl OnFull {
    /// Whether a request that finds no room is dropped, so that there is always room.
    pub(super) fn drops(self) -> bool {
        matches!(self, Self::DropNewest | Self::DropOldest)
    }
}
