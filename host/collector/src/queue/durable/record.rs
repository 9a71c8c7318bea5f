//! A record that was taken, in one part or in several.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sluice_log::Delivery;
use tokio::sync::Notify;

use super::super::{Item, Weight, entry};
use super::Durable;

/// How many records were taken and are not settled.
#[derive(Default)]
pub(super) struct InHand {
    records: AtomicUsize,
    none: Notify,
}

impl InHand {
    fn settle(&self) {
        if self.records.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.none.notify_waiters();
        }
    }

    /// Ends when there are none.
    pub async fn none(&self) {
        loop {
            let mut none = pin!(self.none.notified());
            // Before looking, so that it is not missed.
            let _ = none.as_mut().enable();
            if self.records.load(Ordering::Acquire) == 0 {
                return;
            }
            none.await;
        }
    }
}

/// A record in hand. When nothing of it is in hand any more it is acknowledged, or goes back into
/// the log if a part was given back.
pub(super) struct Record {
    durable: Arc<Durable>,
    delivery: Option<Delivery>,
    weight: Weight,
    back: AtomicBool,
    /// Its spans may have been delivered before this process began.
    again: bool,
}

impl Record {
    pub fn new(durable: &Arc<Durable>, delivery: Delivery, weight: Weight) -> Arc<Self> {
        durable.in_hand.records.fetch_add(1, Ordering::AcqRel);
        let again = delivery.earlier() > 0;
        Arc::new(Self {
            durable: Arc::clone(durable),
            delivery: Some(delivery),
            weight,
            back: AtomicBool::new(false),
            again,
        })
    }

    /// It stays in the log.
    pub fn give_back(&self) {
        self.back.store(true, Ordering::Relaxed);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // One that is dropped without an acknowledgement is taken again.
        if let Some(delivery) = self.delivery.take().filter(|_| !self.back.load(Ordering::Relaxed)) {
            delivery.ack();
            self.durable.release(self.weight);
        }
        self.durable.in_hand.settle();
    }
}

/// The place of something taken: a record, or a part of one.
pub(in super::super) struct Place(pub(super) Arc<Record>);

impl Place {
    /// Whether upstream may have had it from an earlier process.
    pub fn may_be_again(&self) -> bool {
        self.0.again
    }

    /// It could not be settled: it stays in the log.
    pub fn give_back(&self) {
        self.0.give_back();
    }

    /// The task that had it has died. What kills a task would do so again.
    pub fn lost(&self, item: &mut Item) {
        if std::thread::panicking() {
            entry::failed(item, "internal");
        } else {
            self.give_back();
        }
    }
}
