//! The queue that is kept on disk: a [`Disk`] in front of an exporter.
//!
//! What enters is requests with the account that they are in; each is in its [`envelope`], and
//! nobody is told that it was taken before the log says that it is safe. What leaves is taken from
//! the log when there is enough for a batch, not before: what waits counts as never sent, also after a
//! crash. A record is acknowledged when all of it is settled; one that the process could not settle
//! before its end, or whose sender gave up, stays in the log and is held.
//!
//! When it is full, [`OnFull`] decides. When the disk fails, requests are refused and their senders
//! keep them. A reservation that is dropped leaves nothing.

mod age;
mod gather;
mod make_room;
mod record;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sluice_log::{AppendError, Outcome, Recovered, Reservation, ReserveError, Ticket};
use tokio::sync::{Mutex as Turn, watch};

use super::trouble::Short;
use super::turns::{Comes, Turns};
use super::{Disk, Figures, Full, Item, NoRoom, OnFull, Settings, Weight, envelope};
use crate::account::{Account, DestinationAccount};

use gather::Gathering;
use record::InHand;
pub(super) use record::Place;

/// A disk that fails would say so for every request.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// A bounded queue on disk with many producers and one taker.
pub struct Durable {
    exporter: String,
    settings: Settings,
    figures: Figures,
    pub(super) disk: Arc<Disk>,
    /// For what was put in before the process began.
    account: Account,
    accounts: Mutex<HashMap<String, Arc<DestinationAccount>>>,
    phase: watch::Sender<Phase>,
    in_hand: InHand,
    gathering: Mutex<Gathering>,
    /// Whoever makes room, one at a time, so that nobody drops more than is needed.
    making_room: Turn<()>,
    told: Mutex<Option<Instant>>,
    /// When the disk last did not take a request.
    failed: Mutex<Option<Instant>>,
    short: Mutex<Option<Short>>,
    /// Who waits for room. Another generation may have other bounds on the same disk, and waits for itself.
    turns: Turns,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Batches are not waited for any more.
    Draining,
    /// Nothing is taken any more; another exporter does, or the next process.
    Leaving,
}

/// Room for some requests. Dropping it gives back what was not used.
pub struct Room {
    durable: Arc<Durable>,
    left: Weight,
    /// In their order; none if the policy is to drop them.
    log: std::vec::IntoIter<Reservation>,
}

/// A request on its way to the disk. Whether it is waited for or not, it arrives or does not.
#[must_use = "a request is safe when the disk has it, not before"]
pub struct Landing {
    durable: Arc<Durable>,
    account: Arc<DestinationAccount>,
    weight: Weight,
    ticket: Ticket,
}

/// The disk has not taken a request. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
#[error("the queue of exporter {exporter} cannot be written")]
pub struct NotKept {
    /// The exporter's component id.
    pub exporter: String,
}

impl Durable {
    /// The queue of the exporter with this id on an open log. What the log holds already is in
    /// `account`.
    pub(crate) fn new(
        exporter: &str,
        settings: Settings,
        figures: Figures,
        disk: &Arc<Disk>,
        account: Account,
    ) -> Arc<Self> {
        figures.size.set(settings.measure(*disk.used()));
        Arc::new(Self {
            exporter: exporter.to_owned(),
            settings,
            figures,
            disk: Arc::clone(disk),
            account,
            accounts: Mutex::default(),
            phase: watch::channel(Phase::Open).0,
            in_hand: InHand::default(),
            gathering: Mutex::default(),
            making_room: Turn::default(),
            told: Mutex::default(),
            failed: Mutex::default(),
            short: Mutex::default(),
            turns: Turns::default(),
        })
    }

    /// Counts what an earlier process has left in the log, and tells of it.
    pub(crate) fn restore(&self, dir: &Path, recovered: &Recovered) {
        for (pipeline, spans) in &recovered.groups {
            self.account_of(&String::from_utf8_lossy(pipeline)).restored(*spans);
        }
        let Recovered { records, spans, lost, damaged_ranges, damaged_segments, torn_bytes, cursor_damaged, .. } =
            recovered;
        tracing::info!(
            event = "queue.opened",
            component = self.exporter,
            directory = %dir.display(),
            records,
            spans,
            torn_bytes
        );
        if lost.records > 0 || *damaged_segments > 0 || *cursor_damaged {
            tracing::error!(
                event = "queue.damaged",
                component = self.exporter,
                directory = %dir.display(),
                lost_records = lost.records,
                lost_spans = lost.spans,
                damaged_ranges,
                damaged_segments,
                cursor_damaged,
                "a part of the queue cannot be read; `sluice queue inspect` tells more"
            );
        }
    }

    /// The account of what this pipeline puts in.
    fn account_of(&self, pipeline: &str) -> Arc<DestinationAccount> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = accounts.get(pipeline) {
            return Arc::clone(known);
        }
        let account = self.account.destination(pipeline, &self.exporter);
        accounts.insert(pipeline.to_owned(), Arc::clone(&account));
        account
    }

    /// Reserves room for records of these lengths. With `on_full: block` it waits for it, with
    /// the dropping policies there is always room.
    pub(super) async fn reserve(self: &Arc<Self>, lengths: &[usize], weight: Weight) -> Result<Room, Full> {
        match self.try_reserve(lengths, weight, Comes::AfterItsTurn) {
            Ok(room) if !self.turns.has_to_wait(Comes::First) => return Ok(room),
            // Waiting changes nothing.
            Err(why @ (NoRoom::TooLarge | NoRoom::Closed)) => return Err(self.full(why, weight.spans)),
            _ => {}
        }
        let turn = self.turns.next().await;
        loop {
            let mut room = pin!(self.disk.room.notified());
            let mut log_room = pin!(self.disk.log.room());
            // Before looking, so that no room is missed.
            let _ = (room.as_mut().enable(), log_room.as_mut().enable());
            let why = match self.try_reserve(lengths, weight, Comes::AfterItsTurn) {
                Ok(room) => return Ok(room),
                Err(why) => why,
            };
            if matches!(why, NoRoom::Full | NoRoom::Behind) && !self.settings.on_full.drops() {
                self.set_short(Some((lengths.into(), weight)));
            }
            match (why, self.settings.on_full) {
                (NoRoom::Full, OnFull::DropOldest) => {
                    drop(turn);
                    return self.make_room(lengths, weight).await;
                }
                // A disk that is behind will catch up; nothing has to be dropped for that.
                (NoRoom::Full | NoRoom::Behind, OnFull::Block)
                | (NoRoom::Behind, OnFull::DropNewest | OnFull::DropOldest) => {}
                _ => return Err(self.full(why, weight.spans)),
            }
            turn.is_short();
            tokio::select! {
                () = room => {}
                () = log_room => {}
            }
        }
    }

    /// Reserves room, or what the policy has instead of it, if that can be had now.
    pub(super) fn try_reserve(
        self: &Arc<Self>,
        lengths: &[usize],
        weight: Weight,
        comes: Comes,
    ) -> Result<Room, NoRoom> {
        if self.turns.has_to_wait(comes) {
            return Err(NoRoom::Behind);
        }
        match self.room(lengths, weight) {
            Err(NoRoom::Full) if self.settings.on_full == OnFull::DropNewest => Ok(self.no_room()),
            result => result,
        }
    }

    fn full(&self, why: NoRoom, spans: u64) -> Full {
        self.figures.enqueue_failed.inc_by(spans);
        Full { exporter: self.exporter.clone(), why }
    }

    /// Room for records of these lengths, if there is any now.
    pub(super) fn room(self: &Arc<Self>, lengths: &[usize], weight: Weight) -> Result<Room, NoRoom> {
        let mut used = self.disk.used();
        if !self.settings.fits_beside_bytes(*used, weight) {
            return Err(NoRoom::Full);
        }
        let log = self.disk.log.reserve_all(lengths).map_err(|error| match error {
            ReserveError::Full { .. } => NoRoom::Full,
            ReserveError::Behind { .. } => NoRoom::Behind,
            ReserveError::TooLarge { .. } => NoRoom::TooLarge,
            ReserveError::Closed { .. } => NoRoom::Closed,
        })?;
        *used += weight;
        self.figures.size.set(self.settings.measure(*used));
        Ok(Room { durable: Arc::clone(self), left: weight, log: log.into_iter() })
    }

    fn release(&self, weight: Weight) {
        let mut used = self.disk.used();
        used.give_back(weight);
        self.figures.size.set(self.settings.measure(*used));
        drop(used);
        self.disk.room.notify_waiters();
    }

    /// Lets batches go out without waiting for more, and waits until nothing is held. If `last`
    /// says that another exporter has the log, that one sees to it: then only what is in hand is
    /// waited for.
    pub(super) async fn drained(&self, last: impl Fn() -> bool) {
        self.phase.send_replace(Phase::Draining);
        loop {
            let mut room = pin!(self.disk.room.notified());
            let _ = room.as_mut().enable();
            if !last() {
                break;
            }
            if self.disk.used().requests == 0 {
                return;
            }
            room.await;
        }
        self.close();
        self.in_hand.none().await;
    }

    /// Takes nothing more. What is held stays in the log.
    pub(crate) fn close(&self) {
        self.phase.send_replace(Phase::Leaving);
        // What is over from a request that was cut, and was to be sent next, is held as well.
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner).give_up();
    }

    /// Spans in the log that are not settled.
    pub(super) fn held(&self) -> u64 {
        self.disk.used().spans
    }

    /// When the disk last did not take a request.
    pub(super) fn last_failure(&self) -> Option<Instant> {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has found no room, until there is room for so much.
    pub(super) fn short(&self) -> Option<Short> {
        self.short.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_short(&self, short: Option<Short>) {
        *self.short.lock().unwrap_or_else(PoisonError::into_inner) = short;
    }

    fn tell(&self, error: &AppendError) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *told = Some(Instant::now());
            tracing::error!(event = "queue.disk", component = self.exporter, %error, "requests are refused");
        }
    }
}

impl Room {
    /// Puts the next request in. None if it is settled already: dropped by the policy.
    pub(super) fn commit(&mut self, item: Item) -> Option<Landing> {
        item.account.passed(u64::from(item.spans));
        let Some(log) = self.log.next() else {
            self.durable.figures.enqueue_failed.inc_by(u64::from(item.spans));
            item.account.dropped("queue_full", u64::from(item.spans));
            return None;
        };
        let weight = item.weight();
        self.left -= weight;
        let ticket = log.commit(envelope::seal(item.account.pipeline(), item.wire), item.spans);
        Some(Landing { durable: Arc::clone(&self.durable), account: item.account, weight, ticket })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.left != Weight::default() {
            self.durable.release(self.left);
        }
    }
}

impl Landing {
    /// Waits until the disk has it.
    ///
    /// # Errors
    /// When the disk has not taken it.
    pub async fn landed(self) -> Result<(), NotKept> {
        let Self { durable, account, weight, ticket } = self;
        let error = match ticket.await {
            Ok(Outcome::Appended { .. }) => return Ok(()),
            // The log itself drops nothing here: it refuses, and this queue's policy decides.
            Ok(Outcome::Dropped) => AppendError::Closed,
            Err(error) => error,
        };
        account.not_kept(weight.spans);
        durable.release(weight);
        durable.figures.enqueue_failed.inc_by(weight.spans);
        durable.tell(&error);
        Err(NotKept { exporter: durable.exporter.clone() })
    }
}
