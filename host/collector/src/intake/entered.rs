//! What has become of a request when the queues have it.

use tokio::sync::oneshot;

use super::{Accepted, Refused, unavailable};

/// Small, so that a request that waits for a disk takes little room.
pub(super) enum Entered {
    /// All that is owed for it is done.
    Accepted(Accepted),
    /// It will be told.
    Waits(oneshot::Receiver<Result<Accepted, Refused>>),
}

impl Entered {
    /// Waits until it may be answered.
    pub async fn accepted(self) -> Result<Accepted, Refused> {
        match self {
            Self::Accepted(accepted) => Ok(accepted),
            // Nobody is left to tell it only when the core stops.
            Self::Waits(told) => told.await.unwrap_or_else(|_| Err(unavailable("stopping"))),
        }
    }
}
