//! What has become of a request when the queues have it.

use tokio::sync::oneshot;

use super::{Refused, unavailable};

/// Small, so that a request that waits for a disk takes little room.
pub(super) enum Entered {
    /// All that is owed for it is done.
    Done,
    /// It will be told.
    Waits(oneshot::Receiver<Result<String, Refused>>),
}

impl Entered {
    /// Waits until it may be answered. Gives what upstream warns of.
    pub async fn warning(self) -> Result<String, Refused> {
        match self {
            Self::Done => Ok(String::new()),
            // Nobody is left to tell it only when the core stops.
            Self::Waits(told) => told.await.unwrap_or_else(|_| Err(unavailable("stopping"))),
        }
    }
}
