//! Gathers batches out of the log.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::super::{Item, Taken, Waiting, Weight, entry, envelope};
use super::record::{Place, Record};
use super::{Durable, Phase};

/// What was taken from the log and has not gone out.
#[derive(Default)]
pub(super) struct Gathering {
    batch: Vec<Part>,
    total: Weight,
    /// Goes out before anything else: the next record, which had no room in the batch, or the rest
    /// of one that was cut.
    next: VecDeque<Part>,
    /// Since when the log has had something for a batch.
    since: Option<Instant>,
}

struct Part {
    item: Item,
    weight: Weight,
    counted: u32,
    record: Arc<Record>,
}

impl Gathering {
    pub fn give_up(&mut self) {
        for part in self.batch.drain(..).chain(self.next.drain(..)) {
            part.record.give_back();
        }
        self.total = Weight::default();
    }

    fn take(&mut self) -> Vec<Taken> {
        (self.total, self.since) = (Weight::default(), None);
        let taken = |part: Part| Taken::of_record(part.item, part.counted, Place(part.record));
        self.batch.drain(..).map(taken).collect()
    }
}

/// What there is to do.
enum Due {
    Send(Vec<Taken>),
    WaitUntil(Instant),
    Wait,
}

impl Durable {
    /// Takes the next batch. Waits until there is one. There must be one taker only.
    pub(in super::super) async fn take(self: &Arc<Self>) -> Vec<Taken> {
        let mut phase = self.phase.subscribe();
        loop {
            let mut more = pin!(self.disk.log.more());
            // Registered before looking, so that nothing put in is missed.
            let _ = more.as_mut().enable();
            phase.mark_unchanged();
            let until = match self.due() {
                Due::Send(batch) => return batch,
                Due::WaitUntil(until) => Some(until),
                Due::Wait => None,
            };
            let timer = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = more => {}
                () = timer => {}
                // It changes as long as there is `self`.
                _ = phase.changed() => {}
            }
        }
    }

    fn due(self: &Arc<Self>) -> Due {
        let mut gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at under the lock: whoever leaves empties what was gathered after this.
        let phase = *self.phase.borrow();
        if phase == Phase::Leaving {
            return Due::Wait;
        }
        if gathering.batch.is_empty() && gathering.next.is_empty() && phase == Phase::Open {
            let ready = self.disk.log.ready();
            if ready.records == 0 {
                gathering.since = None;
                return Due::Wait;
            }
            let weight = Weight { bytes: ready.bytes, requests: ready.records, spans: ready.spans };
            if let Some(batching) = self.settings.batch.filter(|_| !self.settings.is_ready(weight)) {
                let until = *gathering.since.get_or_insert_with(Instant::now) + batching.flush_timeout;
                if Instant::now() < until {
                    return Due::WaitUntil(until);
                }
            }
        }
        let whole = self.gather(&mut gathering);
        // The log lets go of a few records at a time; the others come at once.
        if whole || (!gathering.batch.is_empty() && self.disk.log.ready().records == 0) {
            return Due::Send(gathering.take());
        }
        Due::Wait
    }

    /// Fills the batch; says whether it is full.
    fn gather(self: &Arc<Self>, gathering: &mut Gathering) -> bool {
        loop {
            let part = match gathering.next.pop_front() {
                Some(part) => part,
                None => match self.next() {
                    Some(part) => part,
                    None => return false,
                },
            };
            if !gathering.batch.is_empty() && !self.settings.go_together(gathering.total, part.weight) {
                gathering.next.push_front(part);
                return true;
            }
            if gathering.batch.is_empty() && self.settings.is_oversize(part.weight) {
                let mut parts = self.cut(part);
                gathering.batch.extend(parts.pop_front());
                parts.append(&mut gathering.next);
                gathering.next = parts;
                return true;
            }
            gathering.total += part.weight;
            gathering.batch.push(part);
            if self.settings.is_ready(gathering.total) {
                return true;
            }
        }
    }

    /// The oldest record that nobody has.
    fn next(self: &Arc<Self>) -> Option<Part> {
        loop {
            let delivery = self.disk.log.try_take()?;
            let spans = delivery.spans();
            let opened = envelope::open(delivery.payload())
                .map(|opened| (self.account_of(&opened.pipeline), opened.spans, opened.request));
            let Some((account, counted, wire)) = opened else {
                // The checksum is right and the content is not ours: it can never be sent.
                let weight = Weight::of(delivery.payload().len(), spans);
                tracing::error!(event = "queue.unreadable", component = self.exporter, spans);
                drop(Record::new(self, delivery, weight));
                continue;
            };
            let weight = Weight::of(wire.len(), spans);
            let item = Item { wire, spans, account, owed: None };
            return Some(Part { item, weight, counted, record: Record::new(self, delivery, weight) });
        }
    }

    /// Cuts a request that is too large to be sent.
    fn cut(&self, part: Part) -> VecDeque<Part> {
        let Part { item, weight, counted, record } = part;
        let waiting = Waiting { item, weight, counted, since: Instant::now() };
        let part = |Waiting { item, weight, counted, .. }| Part { item, weight, counted, record: Arc::clone(&record) };
        entry::cut(waiting, &self.settings).into_iter().map(part).collect()
    }
}
