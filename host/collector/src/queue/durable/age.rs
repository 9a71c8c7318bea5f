//! Drops what has waited for too long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Durable, LOG_EVERY, Phase};

/// How often records are looked at for their age, unless `max_age` is short.
const LOOK: Duration = Duration::from_secs(1);
/// Nobody asks for more than this.
const LEAST_LOOK: Duration = Duration::from_millis(10);

impl Durable {
    /// Drops records that are older than this and not on their way, until the queue is left.
    pub(crate) async fn drop_old(self: Arc<Self>, max_age: Duration) {
        let look = (max_age / 10).clamp(LEAST_LOOK, LOOK);
        let (mut told, mut untold) = (None::<Instant>, 0);
        loop {
            let dropped = self.drop_older(max_age);
            untold += dropped;
            if untold > 0 && told.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
                tracing::warn!(
                    event = "queue.expired",
                    component = self.exporter,
                    spans = untold,
                    "dropped: `max_age`"
                );
                (told, untold) = (Some(Instant::now()), 0);
            }
            // The log lets go of a few at a time; the others come at once.
            let pause = if dropped > 0 { LEAST_LOOK } else { look };
            if tokio::time::timeout(pause, self.left()).await.is_ok() {
                return;
            }
        }
    }

    fn drop_older(&self, max_age: Duration) -> u64 {
        let old = std::iter::from_fn(|| self.disk.log.try_take_older(max_age));
        old.map(|delivery| self.discard(delivery, "max_age")).sum()
    }

    async fn left(&self) {
        // It does not end as long as there is `self`.
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Leaving).await;
    }
}
