//! What is in the queue: its weight, and the outcome that it is owed.

use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::durable::Place;
use super::{Item, Owed, Queue, Settings, Verdict, Waiting};
use crate::account::Delivery;

/// How much of the queue something takes, in every measure there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub bytes: u64,
    pub requests: u64,
    pub spans: u64,
}

impl Weight {
    pub fn of(bytes: usize, spans: u32) -> Self {
        Self { bytes: bytes as u64, requests: 1, spans: u64::from(spans) }
    }
}

impl Weight {
    /// Takes away what has left. What was there before the process began may have been weighed
    /// otherwise: with the last request everything has left.
    pub(super) fn give_back(&mut self, other: Self) {
        *self = Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            requests: self.requests.saturating_sub(other.requests),
            spans: self.spans.saturating_sub(other.spans),
        };
        if self.requests == 0 {
            *self = Self::default();
        }
    }
}

impl AddAssign for Weight {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.requests += other.requests;
        self.spans += other.spans;
    }
}

impl SubAssign for Weight {
    fn sub_assign(&mut self, other: Self) {
        self.bytes -= other.bytes;
        self.requests -= other.requests;
        self.spans -= other.spans;
    }
}

/// Cuts a request into parts that may be sent. Each weighs its share, so that the queue is empty
/// only when all of them have gone; the last one gives back what is left of the room.
pub(super) fn cut(waiting: Waiting, settings: &Settings) -> Vec<Waiting> {
    let Waiting { mut item, weight, since, .. } = waiting;
    let wires = sluice_spans::split_encoded(
        std::mem::take(&mut item.wire),
        settings.max_send_bytes(),
        settings.max_send_spans(),
    );
    let last = wires.len().saturating_sub(1);
    let (mut left, mut room) = (item.spans, weight);
    let part = |(index, wire): (usize, Bytes)| {
        // Whatever the split did, the parts hold what the request was taken in for.
        let counted = count(&wire);
        let spans = if index == last { left } else { counted.min(left) };
        left -= spans;
        let share = Weight { bytes: room.bytes.min(wire.len() as u64), requests: 0, spans: u64::from(spans) };
        let weight = if index == last { room } else { share };
        room -= weight;
        let owed = item.owed.as_ref().map(Owed::part);
        Waiting { item: Item { wire, spans, account: Arc::clone(&item.account), owed }, weight, counted, since }
    };
    let parts = wires.into_iter().enumerate().map(part).collect();
    if let Some(owed) = &mut item.owed {
        // The parts owe it now.
        owed.give(Verdict::TAKEN);
    }
    parts
}

/// Counts the spans of bytes. What is no request holds none, so the account does not add up and
/// says so.
pub(super) fn count(wire: &[u8]) -> u32 {
    sluice_spans::count_spans(wire).unwrap_or(0)
}

/// Something taken from the queue, on its way. Whoever has it says what became of it; a task that
/// dies with it has failed it. What was taken from a log and is not settled stays there.
pub(crate) struct Taken {
    item: Item,
    counted: u32,
    home: Home,
    settled: bool,
}

/// Where it was taken from.
enum Home {
    Memory(Arc<Queue>, Weight),
    Disk(Place),
}

impl Taken {
    pub(super) fn new(queue: Arc<Queue>, waiting: Waiting) -> Self {
        let Waiting { item, weight, counted, .. } = waiting;
        Self { item, counted, home: Home::Memory(queue, weight), settled: false }
    }

    pub(super) fn of_record(item: Item, counted: u32, place: Place) -> Self {
        Self { item, counted, home: Home::Disk(place), settled: false }
    }

    /// The request.
    pub fn wire(&self) -> &Bytes {
        &self.item.wire
    }

    /// How many spans were put in with it.
    pub fn spans(&self) -> u32 {
        self.item.spans
    }

    /// Tells the sender that waits, if there is one, what it would not be told else: a warning, or
    /// that the outcome is final. Nothing is settled by it.
    pub fn tell(&mut self, verdict: impl FnOnce() -> Verdict) {
        if let Some(owed) = &mut self.item.owed {
            owed.give(verdict());
        }
    }

    /// Upstream has taken it but for `rejected` spans; `by` is which one if there are several, `again`
    /// says that it may have had it before. Returns how many it took: they are counted from the bytes
    /// that were sent.
    pub fn delivered(mut self, rejected: u64, by: Option<&str>, again: bool) -> u64 {
        self.settled = true;
        let sent = u64::from(self.counted);
        let rejected = rejected.min(sent);
        let account = &self.item.account;
        let again = again || matches!(&self.home, Home::Disk(place) if place.may_be_again());
        account.delivered(&Delivery { held: self.item.spans, delivered: sent - rejected, rejected, by, again });
        if let Some(owed) = &mut self.item.owed {
            owed.give(Verdict::TAKEN);
        }
        sent - rejected
    }

    /// It will never be delivered.
    pub fn failed(mut self, reason: &str) {
        self.settled = true;
        failed(&mut self.item, reason);
    }

    /// The process ends, or another exporter takes over, before it could be delivered. Returns how
    /// many spans have failed by that.
    pub fn shut_out(mut self) -> u64 {
        match &self.home {
            Home::Disk(place) => {
                place.give_back();
                self.settled = true;
                0
            }
            Home::Memory(queue, _) => {
                let spans = u64::from(self.item.spans);
                queue.shut_out.fetch_add(spans, Ordering::Relaxed);
                self.failed("shutdown");
                spans
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        match &self.home {
            Home::Memory(queue, weight) => {
                if !self.settled {
                    failed(&mut self.item, "internal");
                }
                queue.release(*weight);
            }
            Home::Disk(place) if !self.settled => place.lost(&mut self.item),
            // It is acknowledged when nobody has a part of it any more.
            Home::Disk(_) => {}
        }
    }
}

pub(super) fn failed(item: &mut Item, reason: &str) {
    if let Some(owed) = &mut item.owed {
        owed.give(Verdict::unavailable(format!("not delivered: {reason}")));
    }
    item.account.failed(reason, u64::from(item.spans));
}

pub(super) fn dropped(item: &Item, reason: &str) {
    item.account.dropped(reason, u64::from(item.spans));
}
