//! The queue in front of an exporter: what has been accepted and not yet settled.
//!
//! Room is reserved first and used later, so that a request goes into all queues or into none
//! (`Rooms`). It is bounded in bytes, and by `queue_size` in its own measure if the configuration gives one; what
//! is being sent counts until its outcome is known, because it is still in memory. When it is full,
//! [`OnFull`] decides. A request that is larger than the whole queue fits only into an empty one.
//!
//! With `storage` the queue is on disk instead ([`Durable`]); [`AnyQueue`] is one of the two.
//!
//! Every span that is put in leaves in exactly one way: delivered, failed or dropped, and each way
//! is written into the account of the pipeline that it came from.

mod any;
mod disk;
mod durable;
mod entry;
mod envelope;
mod full;
pub mod inspect;
mod reservation;
mod rooms;
mod settings;
mod storage;
#[cfg(test)]
mod tests;
mod trouble;
mod turns;
mod verdict;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prometheus::{IntCounter, IntGauge};
use tokio::sync::Notify;

use crate::account::DestinationAccount;

pub use any::{AnyQueue, Room};
pub use disk::Disks;
pub(crate) use disk::{Disk, Lease};
pub use durable::{Durable, Landing, NotKept};
pub(crate) use entry::{Taken, Weight};
pub use full::{Full, NoRoom};
pub use reservation::Reservation;
pub(crate) use rooms::{Bound, Queued, Rooms};
pub use settings::{Batching, OnFull, Settings, Sizer};
pub use storage::{Folder, Storage};
use turns::{Comes, Turns};
use verdict::Arrivals;
pub use verdict::{Arriving, Owed, Pending, Verdict};

/// A request that has passed a chain, for one destination.
pub struct Item {
    /// The request.
    pub wire: Bytes,
    /// How many spans it holds.
    pub spans: u32,
    /// What becomes of them is written here.
    pub account: Arc<DestinationAccount>,
    /// What its sender waits for; none if it is answered already.
    pub owed: Option<Owed>,
}

impl Item {
    fn weight(&self) -> Weight {
        Weight::of(self.wire.len(), self.spans)
    }
}

/// The queue's figures, under the Collector's names.
#[derive(Debug, Clone)]
pub struct Figures {
    /// What is held, in the measure of `queue_size`, or in bytes.
    pub size: IntGauge,
    /// Spans that found no room.
    pub enqueue_failed: IntCounter,
}

/// A bounded queue with many producers and one taker.
pub struct Queue {
    exporter: String,
    settings: Settings,
    figures: Figures,
    state: Mutex<State>,
    /// Something has become ready to be taken, or has to be waited for from now on.
    work: Notify,
    /// Something has left.
    room: Notify,
    /// Who waits for that.
    turns: Turns,
    /// Spans that were given up because the process ends.
    shut_out: AtomicU64,
    /// Used with `wait_for_result` only.
    arriving: Arrivals,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// What `waiting` weighs.
    queued: Weight,
    /// What is reserved, waiting, or being sent.
    used: Weight,
    /// What has found no room, until there is room for so much.
    short: Option<Weight>,
    phase: Phase,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Batches are not waited for any more.
    Draining,
    /// Nothing is taken in any more.
    Closed,
}

struct Waiting {
    item: Item,
    weight: Weight,
    /// How many spans the bytes hold, counted from them when they were put in: they were just
    /// written or read then. When they are sent they have left the processor's caches, and every
    /// span would be a wait for memory.
    counted: u32,
    since: Instant,
}

/// What there is to take.
enum Ready {
    Now(Vec<Waiting>),
    At(Instant),
    Nothing,
}

impl Queue {
    /// An empty queue for the exporter with this id.
    pub fn new(exporter: &str, settings: Settings, figures: Figures) -> Arc<Self> {
        Arc::new(Self {
            exporter: exporter.to_owned(),
            settings,
            figures,
            state: Mutex::default(),
            work: Notify::new(),
            room: Notify::new(),
            turns: Turns::default(),
            shut_out: AtomicU64::new(0),
            arriving: Arrivals::default(),
        })
    }

    /// Whether senders are answered when the outcome is known.
    pub(crate) fn waits(&self) -> bool {
        self.settings.wait_for_result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn full(&self, spans: u64, why: NoRoom) -> Full {
        self.figures.enqueue_failed.inc_by(spans);
        Full { exporter: self.exporter.clone(), why }
    }

    /// Reserves room for so much. With `on_full: block` it waits for it, with the dropping
    /// policies there is always room.
    async fn reserve(&self, weight: Weight) -> Result<Reservation<'_>, Full> {
        let turn = match self.settings.on_full {
            OnFull::Block => Some(self.turns.next().await),
            _ => None,
        };
        loop {
            // From when this is made no room is missed, whether it is polled or not.
            let room = self.room.notified();
            match self.try_reserve(weight, Comes::AfterItsTurn) {
                Err(NoRoom::Full) if let Some(turn) = &turn => {
                    turn.is_short();
                    room.await;
                }
                result => return result.map_err(|why| self.full(weight.spans, why)),
            }
        }
    }

    /// Reserves room, or what the policy has instead of it, if that can be had now.
    fn try_reserve(&self, weight: Weight, comes: Comes) -> Result<Reservation<'_>, NoRoom> {
        let mut state = self.state();
        if state.phase == Phase::Closed {
            return Err(NoRoom::Closed);
        }
        if self.turns.has_to_wait(comes) {
            return Err(NoRoom::Full);
        }
        let held = self.settings.fits(state.used, weight);
        if held {
            state.used += weight;
        } else if !self.settings.on_full.drops() {
            state.short = Some(weight);
            return Err(NoRoom::Full);
        }
        // The dropping policies make room, or do without, when an item is put in.
        Ok(Reservation { queue: self, left: weight, held })
    }

    /// Gives how long its sender's answer is to be held back.
    fn put(&self, mut item: Item, weight: Weight, held: bool) -> Duration {
        item.account.passed(u64::from(item.spans));
        let counted = entry::count(&item.wire);
        let mut dropped = Vec::new();
        let mut state = self.state();
        if state.phase == Phase::Closed {
            if held {
                state.used -= weight;
            }
            drop(state);
            self.shut_out.fetch_add(weight.spans, Ordering::Relaxed);
            self.figures.enqueue_failed.inc_by(weight.spans);
            entry::failed(&mut item, "shutdown");
            return Duration::ZERO;
        }
        if !held {
            while self.settings.on_full == OnFull::DropOldest && !self.settings.fits(state.used, weight) {
                let Some(oldest) = state.waiting.pop_front() else { break };
                state.queued -= oldest.weight;
                state.used -= oldest.weight;
                dropped.push(oldest.item);
                self.figures.size.sub(self.settings.measure(oldest.weight));
            }
            if !self.settings.fits(state.used, weight) {
                drop(state);
                self.count_dropped(dropped.into_iter().chain([item]));
                return Duration::ZERO;
            }
            state.used += weight;
        }
        let was_ready = self.settings.is_ready(state.queued);
        let was_empty = state.waiting.is_empty();
        state.queued += weight;
        state.waiting.push_back(Waiting { item, weight, counted, since: Instant::now() });
        // The taker waits for two things: the first item, to know until when, and enough of them.
        let wakes = was_empty || (!was_ready && self.settings.is_ready(state.queued));
        let pause = self.settings.pause(state.used);
        drop(state);
        self.figures.size.add(self.settings.measure(weight));
        if wakes {
            self.work.notify_one();
        }
        self.count_dropped(dropped.into_iter());
        pause
    }

    fn count_dropped(&self, items: impl Iterator<Item = Item>) {
        for item in items {
            self.figures.enqueue_failed.inc_by(u64::from(item.spans));
            entry::dropped(&item, "queue_full");
        }
    }

    /// Takes the next batch: one request, or as many as the settings want together. Waits until
    /// there is one. There must be one taker only.
    pub(crate) async fn take(self: &Arc<Self>) -> Vec<Taken> {
        loop {
            let mut work = pin!(self.work.notified());
            let ready = {
                let mut state = self.state();
                // Registered before the lock is let go, so that nothing put in is missed.
                let _ = work.as_mut().enable();
                self.ready(&mut state, Instant::now())
            };
            match ready {
                Ready::Now(waiting) => return self.fit(waiting),
                Ready::At(when) => drop(tokio::time::timeout_at(when.into(), work).await),
                Ready::Nothing => work.await,
            }
        }
    }

    fn ready(&self, state: &mut State, now: Instant) -> Ready {
        let Some(first) = state.waiting.front() else { return Ready::Nothing };
        if let Some(batching) = &self.settings.batch {
            let until = first.since + batching.flush_timeout;
            // Nobody else could come into a batch for which all senders wait already.
            let all_wait = self.settings.wait_for_result && self.arriving.is_over();
            if state.phase == Phase::Open && !all_wait && !self.settings.is_ready(state.queued) && now < until {
                return Ready::At(until);
            }
        }
        let (mut batch, mut total) = (Vec::new(), Weight::default());
        while let Some(next) = state.waiting.front() {
            if !batch.is_empty() && !self.settings.go_together(total, next.weight) {
                break;
            }
            total += next.weight;
            batch.extend(state.waiting.pop_front());
        }
        state.queued -= total;
        Ready::Now(batch)
    }

    /// Cuts a request that is too large to be sent; what is over waits at the front.
    fn fit(self: &Arc<Self>, waiting: Vec<Waiting>) -> Vec<Taken> {
        let mut batch: Vec<_> = waiting.into_iter().collect();
        if let [one] = batch.as_slice()
            && self.settings.is_oversize(one.weight)
            && let Some(one) = batch.pop()
        {
            let mut parts = entry::cut(one, &self.settings).into_iter();
            batch.extend(parts.next());
            let mut state = self.state();
            // Who has closed it meanwhile did not see them, and nobody takes any more.
            if state.phase == Phase::Closed {
                drop(state);
                self.shut_out_all(parts);
            } else {
                for part in parts.rev() {
                    state.queued += part.weight;
                    state.waiting.push_front(part);
                }
            }
        }
        batch.into_iter().map(|waiting| Taken::new(Arc::clone(self), waiting)).collect()
    }

    fn release(&self, weight: Weight) {
        self.state().used -= weight;
        self.figures.size.sub(self.settings.measure(weight));
        self.room.notify_waiters();
    }

    /// Lets batches go out without waiting for more, and waits until nothing is held.
    pub(crate) async fn drained(&self) {
        self.state().phase = Phase::Draining;
        self.work.notify_one();
        loop {
            let mut room = pin!(self.room.notified());
            {
                let state = self.state();
                let _ = room.as_mut().enable();
                if state.used == Weight::default() {
                    return;
                }
            }
            room.await;
        }
    }

    /// Closes the queue: what waits has failed, and nothing is taken in any more.
    pub(crate) fn close(self: &Arc<Self>) {
        let waiting = {
            let mut state = self.state();
            state.phase = Phase::Closed;
            state.queued = Weight::default();
            std::mem::take(&mut state.waiting)
        };
        self.shut_out_all(waiting);
        self.room.notify_waiters();
    }

    fn shut_out_all(self: &Arc<Self>, waiting: impl IntoIterator<Item = Waiting>) {
        for waiting in waiting {
            Taken::new(Arc::clone(self), waiting).shut_out();
        }
    }

    /// Spans that were given up because the process ends.
    pub(crate) fn shut_out(&self) -> u64 {
        self.shut_out.load(Ordering::Relaxed)
    }

    /// What the queue has in use: reserved, waiting or being sent.
    #[cfg(test)]
    fn used(&self) -> Weight {
        self.state().used
    }
}
