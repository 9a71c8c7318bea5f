//! The life of a port: serving, finishing, the end.

use std::time::Instant;

use tokio::sync::watch;

/// How far a receiver's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are accepted.
    Serve,
    /// What is in flight is finished; nothing new is begun.
    Finish,
    /// Connections are cut.
    Cut,
}

/// The life of what was begun on one port: it ends when all holders of the other side have gone.
pub(crate) struct Life {
    phase: watch::Sender<Phase>,
}

/// A port that is no longer wanted and the connections that came through it.
pub struct Closing {
    receiver: String,
    protocol: &'static str,
    life: Life,
}

impl Life {
    /// A life, and what its connections look at.
    pub(super) fn new() -> (Self, watch::Receiver<Phase>) {
        let (phase, changes) = watch::channel(Phase::Serve);
        (Self { phase }, changes)
    }

    /// Has connections look at what else has changed.
    pub(super) fn tell(&self) {
        self.phase.send_modify(|_| {});
    }

    /// From now on nothing new is begun.
    pub(super) fn finish(self, receiver: &str, protocol: &'static str) -> Closing {
        self.phase.send_replace(Phase::Finish);
        Closing { receiver: receiver.to_owned(), protocol, life: self }
    }
}

impl Closing {
    /// Waits until all connections have ended, and cuts at the deadline those that have not.
    pub async fn end(self, deadline: Instant) {
        let Self { receiver, protocol, life } = self;
        let finished = tokio::time::timeout_at(deadline.into(), life.phase.closed()).await.is_ok();
        life.phase.send_replace(Phase::Cut);
        tracing::info!(event = "receiver.closed", receiver, protocol, finished);
    }
}
