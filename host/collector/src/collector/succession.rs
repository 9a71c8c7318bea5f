//! How one process follows the other: what the next one tries before it asks the present one to leave,
//! and how a process leaves.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::net::UnixStream;
use tokio::runtime::Handle;

use super::control::save_stores;
use super::preparing;
use super::problems::check;
use super::{Collector, Receiving, Serving, listening};
use crate::config::Loaded;
use crate::exporter;
use crate::generation::Bundle;
use crate::handover::{Door, Ended, Predecessor, Successor};
use crate::receiver::{Listener, Sockets};

/// How long a process that is followed finishes requests: meanwhile new connections wait.
const FINISH_TIME: Duration = Duration::from_secs(5);

/// How long it then waits for upstream to answer for what is on its way out of a queue on disk. What is
/// cut is sent again by the next process.
const SEND_TIME: Duration = Duration::from_secs(1);

/// A process that is followed, and what is held until its sockets are served.
pub(super) struct Succession {
    pid: u32,
    /// When it was asked to leave: nobody has waited for longer.
    since: Instant,
    _listeners: Vec<Listener>,
}

/// Whom this process follows.
pub(super) enum Follows {
    /// Nobody serves.
    Nobody,
    /// Somebody, who has left.
    Somebody(Succession),
    /// Nobody, because a plugin cannot serve; what is wrong is told.
    Unfit,
}

impl Follows {
    /// Follows the process that has the same `state_dir`. Whatever can be tried of a start is tried first,
    /// while it serves.
    ///
    /// # Errors
    /// When this process could not start; the other one serves on then.
    pub(super) async fn whom(loaded: &Loaded, bundle: Bundle, sockets: &mut Sockets) -> anyhow::Result<Self> {
        let state_dir =
            loaded.config.state_dir().context("`--take-over` needs `state_dir` of the extension `sluice`")?;
        let Some((predecessor, passed)) = Predecessor::find(state_dir).await? else { return Ok(Self::Nobody) };
        let pid = predecessor.pid;
        let config = loaded.config.clone();
        if !preparing::aside(true, move || check(&config, bundle)).await?? {
            return Ok(Self::Unfit);
        }
        for component in loaded.config.used_exporters() {
            exporter::check(&component.id, &component.settings, &Handle::current())?;
        }
        sockets.give(passed).context("cannot use the sockets of the running process")?;
        let listeners = listening::try_all(&loaded.config, sockets)?;
        tracing::info!(event = "handover", predecessor = pid, outcome = "asked");
        let since = Instant::now();
        if predecessor.leave().await? == Ended::Died {
            tracing::warn!(event = "handover", predecessor = pid, "the process has died while it left");
        }
        Ok(Self::Somebody(Succession { pid, since, _listeners: listeners }))
    }
}

impl Succession {
    /// Tells that this process serves.
    pub(super) fn serves(self) {
        let longest_wait_ms = self.since.elapsed().as_millis() as u64;
        tracing::info!(event = "handover", predecessor = self.pid, outcome = "taken_over", longest_wait_ms);
    }
}

impl Collector {
    /// Closes the sockets of another process that nobody has taken.
    pub(super) fn close_unclaimed(&mut self) {
        for address in self.sockets.unclaimed() {
            tracing::warn!(
                event = "socket.unused",
                %address,
                "closed: no endpoint of the configuration is at this address; if a supervisor has passed it, who connects waits in vain"
            );
        }
    }

    /// The door for who is to follow this process.
    pub(super) fn door(&self) -> Option<Door> {
        let opened = Door::open(self.config.state_dir()?);
        opened.inspect_err(|error| tracing::warn!(event = "handover", %error, "nobody can take over")).ok()
    }

    /// Gives copies of all sockets to who has knocked.
    pub(super) async fn offer(&self, stream: UnixStream, door: &mut Option<Door>) {
        if let Some(door) = door {
            door.offer(stream, &self.sockets.all()).await;
        }
    }

    /// Who was not given all sockets that there are now has to come again.
    pub(super) fn compare(&self, door: &mut Option<Door>) {
        if let Some(door) = door {
            door.keep_only_if_same(&self.sockets.all());
        }
    }

    /// Drains: receivers stop accepting and finish what is on its way, then exporters deliver what
    /// is queued. Who follows gets what is on disk as soon as nothing is being written there, and is told
    /// so. Returns how many spans were not delivered at the deadline.
    pub async fn drain(self, deadline: Instant, mut successor: Option<Successor>) -> u64 {
        if let Some(successor) = &mut successor {
            successor.leaving().await;
        }
        let Self { receivers, mut exporters, mut leaving, cores, mut servers, workshop, .. } = self;
        let within = |time: Duration| deadline.min(Instant::now() + time);
        let finish = if successor.is_some() { within(FINISH_TIME) } else { deadline };
        for Receiving { id, running, .. } in receivers {
            let ports = running.map(|running| running.close(&id.to_string()));
            leaving.receiver(ports.unwrap_or_default(), finish);
        }
        leaving.receivers_ended(finish).await;
        if let Some(successor) = successor {
            let durable = exporters.extract_if(|_, serving| serving.exporter.is_durable());
            let durable = durable.map(|(id, Serving { exporter, .. })| (id, exporter)).collect();
            tokio::join!(leaving.hand_over(durable, within(SEND_TIME)), std::mem::take(&mut servers).end());
            save_stores(&workshop.sandbox).await;
            successor.released().await;
        }
        for (id, Serving { exporter, .. }) in exporters {
            leaving.exporter(id, exporter, deadline);
        }
        let lost = leaving.exporters_drained(deadline).await;
        cores.stop().await;
        // Who asks is told until the end.
        servers.end().await;
        lost
    }
}
