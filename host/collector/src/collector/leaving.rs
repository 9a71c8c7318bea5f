//! What no generation has any more, and what still has to be done for it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::chain::PluginMetrics;
use crate::config::Id;
use crate::exporter::{Exporter, Undelivered};
use crate::generation::Served;
use crate::receiver::Closing;

/// How long after their deadline all may take to cut what they have and to say what they have not
/// delivered.
const SETTLE_TIME: Duration = Duration::from_secs(2);

/// Has plugins, and versions of them, that `next` does not have show nothing any more. They may live on for a while: with
/// requests that are under way, or as who stands by.
pub(super) fn retire_plugins(
    metrics: &PluginMetrics,
    before: &HashMap<String, Served>,
    next: &HashMap<String, Served>,
) {
    for (id, served) in before {
        let now = next.get(id);
        if now.is_some_and(|now| Arc::ptr_eq(&now.guard, &served.guard)) {
            continue;
        }
        served.guard.retire();
        // The same code under another configuration goes on being shown.
        let digest = served.prepared.digest();
        if now.is_none_or(|now| now.prepared.digest() != digest) {
            metrics.retire(id, &served.prepared.description().version, digest);
        }
        if now.is_none() {
            metrics.leaves(id);
        }
    }
}

/// Ports whose connections finish and exporters that deliver what they hold.
#[derive(Default)]
pub(super) struct Leaving {
    receivers: JoinSet<()>,
    exporters: JoinSet<u64>,
    /// Exporters with a queue on disk among them.
    durable: Vec<Weak<Exporter>>,
}

impl Leaving {
    /// Forgets those that have ended. What they could not deliver was told when they ended.
    pub(super) fn reap(&mut self) {
        while self.receivers.try_join_next().is_some() {}
        while self.exporters.try_join_next().is_some() {}
        self.durable.retain(|exporter| exporter.strong_count() > 0);
    }

    /// Sees ports of a receiver to their end.
    pub(super) fn receiver(&mut self, ports: Vec<Closing>, deadline: Instant) {
        for port in ports {
            self.receivers.spawn(port.end(deadline));
        }
    }

    /// Sees an exporter to its end.
    pub(super) fn exporter(&mut self, id: Id, exporter: Arc<Exporter>, deadline: Instant) {
        if exporter.is_durable() {
            self.durable.push(Arc::downgrade(&exporter));
        }
        self.exporters.spawn(async move {
            let Undelivered { spans: undelivered, held } = exporter.drain(deadline).await;
            tracing::info!(event = "exporter.closed", component = %id, undelivered, held);
            undelivered
        });
    }

    /// Leaves these exporters' queues on disk to another process, and those of exporters that left
    /// earlier. Waits for what is being sent from them, until the deadline.
    pub(super) async fn hand_over(&mut self, exporters: Vec<(Id, Arc<Exporter>)>, deadline: Instant) {
        let mut all = JoinSet::new();
        for exporter in self.durable.drain(..).filter_map(|exporter| exporter.upgrade()) {
            // What it has not delivered is told where it was begun to be seen to its end.
            all.spawn(async move {
                let _ = exporter.hand_over(deadline).await;
            });
        }
        for (id, exporter) in exporters {
            all.spawn(async move {
                let Undelivered { held, .. } = exporter.hand_over(deadline).await;
                tracing::info!(event = "exporter.closed", component = %id, undelivered = 0, held);
            });
        }
        let handed_over = async { while all.join_next().await.is_some() {} };
        // Who follows waits for the lock of a queue that takes longer.
        let _ = tokio::time::timeout_at((deadline + SETTLE_TIME).into(), handed_over).await;
    }

    /// Waits until no receiver has anything in flight, until the deadline.
    pub(super) async fn receivers_ended(&mut self, deadline: Instant) {
        let ended = async { while self.receivers.join_next().await.is_some() {} };
        // Who left earlier may have a later deadline, if that was shortened; it ends with the rest.
        let _ = tokio::time::timeout_at((deadline + SETTLE_TIME).into(), ended).await;
    }

    /// Waits until no exporter holds anything, until the deadline. Returns how many spans were not
    /// delivered.
    pub(super) async fn exporters_drained(&mut self, deadline: Instant) -> u64 {
        let mut lost = 0u64;
        let drained = async {
            while let Some(undelivered) = self.exporters.join_next().await {
                lost = lost.saturating_add(undelivered.unwrap_or(u64::MAX));
            }
        };
        let all = tokio::time::timeout_at((deadline + SETTLE_TIME).into(), drained).await;
        if all.is_err() { u64::MAX } else { lost }
    }
}
