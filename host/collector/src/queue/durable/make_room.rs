//! `on_full: drop_oldest`: the oldest records that nobody is sending are dropped, each in its
//! pipeline's account.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sluice_log::Delivery;

use super::super::{Full, Item, NoRoom, Weight, entry, envelope};
use super::{Durable, Room};

/// Space is given back in whole segments, a little after the last record of one has gone.
const GIVING_BACK: Duration = Duration::from_millis(500);

/// Records that nobody has may have to be read first.
const FETCHING: Duration = Duration::from_secs(5);

impl Durable {
    /// Drops the oldest records until there is room for records of these lengths. If that does not
    /// help, because all that is there is being sent, the new ones are to be dropped.
    pub(super) async fn make_room(self: &Arc<Self>, lengths: &[usize], weight: Weight) -> Result<Room, Full> {
        let _turn = self.making_room.lock().await;
        // What was dropped is room only when its segment has gone; so much is dropped before that
        // is waited for.
        let portion = self.disk.log.segment_bytes().max(lengths.iter().sum::<usize>() as u64);
        let mut dropped = 0;
        loop {
            let mut log_room = pin!(self.disk.log.room());
            let _ = log_room.as_mut().enable();
            match self.room(lengths, weight) {
                Err(NoRoom::Full) => {}
                Err(NoRoom::Behind) => {
                    log_room.await;
                    continue;
                }
                result => return result.map_err(|why| self.full(why, weight.spans)),
            }
            let mut more = pin!(self.disk.log.more());
            let _ = more.as_mut().enable();
            let wants_more = dropped < portion;
            if wants_more && let Some(bytes) = self.drop_one() {
                dropped += bytes;
                continue;
            }
            let figures = self.disk.log.figures();
            let can_drop = figures.records > figures.in_flight;
            if !can_drop && dropped == 0 {
                return Ok(self.no_room());
            }
            let patience = if can_drop && wants_more { FETCHING } else { GIVING_BACK };
            tokio::select! {
                () = log_room => {}
                () = more, if can_drop && wants_more => {}
                () = tokio::time::sleep(patience) => {
                    if std::mem::take(&mut dropped) == 0 {
                        return Ok(self.no_room());
                    }
                }
            }
        }
    }

    /// The new ones are to be dropped.
    pub(super) fn no_room(self: &Arc<Self>) -> Room {
        Room { durable: Arc::clone(self), left: Weight::default(), log: Vec::new().into_iter() }
    }

    /// Drops the oldest record that nobody has; says how many bytes it took.
    fn drop_one(&self) -> Option<u64> {
        let delivery = self.disk.log.try_take()?;
        let bytes = delivery.payload().len() as u64;
        let spans = self.discard(delivery, "queue_full");
        self.figures.enqueue_failed.inc_by(spans);
        Some(bytes)
    }

    /// Drops a record for this reason; says how many spans it held.
    pub(super) fn discard(&self, delivery: Delivery, reason: &str) -> u64 {
        let spans = delivery.spans();
        if let Some(envelope::Opened { pipeline, request: wire, .. }) = envelope::open(delivery.payload()) {
            let account = self.account_of(&pipeline);
            let weight = Weight::of(wire.len(), spans);
            // First: who looks for room when something is released has to find that of the log, too.
            delivery.ack();
            self.release(weight);
            entry::dropped(&Item { wire, spans, account, owed: None }, reason);
        } else {
            delivery.ack();
        }
        u64::from(spans)
    }
}
