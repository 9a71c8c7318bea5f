//! What has become of a request when the queues have it.

use std::time::Duration;

use tokio::sync::oneshot;

use super::{Refused, unavailable};

/// Small, so that a request that waits for a disk takes little room.
pub(super) enum Entered {
    /// All that is owed for it is done; its answer is held back for so long.
    Done(Duration),
    /// It will be told.
    Waits(oneshot::Receiver<Result<String, Refused>>),
}

impl Entered {
    /// Waits until it may be answered. Gives what upstream warns of.
    pub async fn warning(self) -> Result<String, Refused> {
        match self {
            Self::Done(pause) => {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                Ok(String::new())
            }
            // Nobody is left to tell it only when the core stops.
            Self::Waits(told) => told.await.unwrap_or_else(|_| Err(unavailable("stopping"))),
        }
    }
}
