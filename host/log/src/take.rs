//! Records are taken in order, and acknowledged in any.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::payload::Payload;
use crate::state::{Entry, Shared};

/// Records that wait in memory to be taken: all there are, or as many as are read ahead.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// How many.
    pub records: u64,
    /// Their spans.
    pub spans: u64,
    /// The bytes of their payloads.
    pub bytes: u64,
}

/// A record that is in flight. Dropping it without [`ack`](Self::ack) puts it back, to be taken again.
#[derive(Debug)]
pub struct Delivery {
    shared: Arc<Shared>,
    sequence: u64,
    entry: Entry,
    settled: bool,
}

impl Shared {
    /// What waits to be taken.
    pub(crate) fn ready(&self) -> Ready {
        let state = self.lock();
        Ready { records: state.ready.len() as u64, spans: state.ready_spans, bytes: state.ready_bytes }
    }

    /// The oldest record that nobody has.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Delivery> {
        self.try_take_if(|_| true)
    }

    /// The oldest record that nobody has, if it is older than this.
    pub(crate) fn try_take_older(self: &Arc<Self>, age: Duration) -> Option<Delivery> {
        let now = self.options.clock.now_unix_nano();
        self.try_take_if(|entry| u128::from(now.saturating_sub(entry.unix_nano)) > age.as_nanos())
    }

    fn try_take_if(self: &Arc<Self>, wanted: impl FnOnce(&Entry) -> bool) -> Option<Delivery> {
        let mut state = self.lock();
        let (&oldest, entry) = state.ready.first_key_value()?;
        if state.closing || oldest >= state.marked_to || !wanted(entry) {
            return None;
        }
        let entry = state.withdraw(oldest)?;
        state.in_flight.insert(oldest, entry.spans);
        state.taken_to = state.taken_to.max(oldest + 1);
        let wake = (state.mark_is_due() || self.wants_fetch(&state)) && state.rouse(Instant::now());
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Some(Delivery { shared: self.clone(), sequence: oldest, entry, settled: false })
    }

    /// Waits for a record. Nothing when the log has been closed.
    pub(crate) async fn take(self: &Arc<Self>) -> Option<Delivery> {
        loop {
            let mut more = pin!(self.takers.notified());
            // Registered before looking, so that no record is missed.
            more.as_mut().enable();
            if let Some(delivery) = self.try_take() {
                return Some(delivery);
            }
            if self.lock().closing {
                return None;
            }
            more.await;
        }
    }
}

impl Delivery {
    /// The record's sequence: one more than that of the record before.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The payload, as it was appended.
    pub fn payload(&self) -> &Payload {
        &self.entry.payload
    }

    /// How many spans it was said to hold.
    pub fn spans(&self) -> u32 {
        self.entry.spans
    }

    /// When it was appended, as Unix time in nanoseconds.
    pub fn unix_nano(&self) -> u64 {
        self.entry.unix_nano
    }

    /// How often it was handed out before and not acknowledged. All hand-outs before the log was
    /// opened count as one. After a crash that one may be wrong for up to 256 records, which were about
    /// to be handed out. It is never missing after a crash of the process, and after a power loss
    /// only for what was handed out within `ack_interval`.
    pub fn earlier(&self) -> u32 {
        self.entry.earlier
    }

    /// It is settled and never comes back, unless the process ends before the cursor is written.
    pub fn ack(mut self) {
        self.settled = true;
        let mut state = self.shared.lock();
        state.in_flight.remove(&self.sequence);
        state.counts.acked_spans += u64::from(self.entry.spans);
        // If the cursor is out of date already, the writer knows when to write it.
        let is_news = !state.cursor_dirty;
        state.done(self.sequence, self.entry.spans);
        let wake = is_news && state.rouse(Instant::now() + self.shared.options.sync_interval);
        drop(state);
        if wake {
            self.shared.work.notify_one();
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let mut entry = std::mem::take(&mut self.entry);
        entry.earlier = entry.earlier.saturating_add(1);
        let mut state = self.shared.lock();
        state.in_flight.remove(&self.sequence);
        state.offer(self.sequence, entry);
        drop(state);
        self.shared.takers.notify_one();
    }
}
