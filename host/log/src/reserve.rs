//! Room is reserved first and used later, so that a request goes into all queues or into none.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::compress::compress;
use crate::error::{AppendError, ReserveError};
use crate::format::{DATA_START, MAX_PLAIN_HEAD, RECORD_HEADER};
use crate::options::OnFull;
use crate::payload::Payload;
use crate::state::{Pending, Shared, State};

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log, and on disk if `fsync` is on.
    Appended {
        /// Its sequence.
        sequence: u64,
    },
    /// The policy dropped it; it is counted.
    Dropped,
}

/// Room for one record. Dropping it gives the room back.
#[derive(Debug)]
pub struct Reservation {
    shared: Arc<Shared>,
    /// The record's bytes, its header included.
    framed: u64,
    /// What of `promised` is held.
    charge: u64,
}

fn framed(length: u64) -> u64 {
    RECORD_HEADER as u64 + length
}

/// Whether so much fits: the record, and the header of a segment that may have to be begun for it.
fn fits(state: &State, framed: u64, max: u64) -> bool {
    state.on_disk + state.promised + framed + DATA_START <= max
}

impl Shared {
    /// Reserves room for a record with a payload of this length.
    pub(crate) fn reserve(self: &Arc<Self>, length: usize) -> Result<Reservation, ReserveError> {
        let framed = framed(length as u64);
        let charged = self.promise(framed)?;
        Ok(self.reservation(framed, charged))
    }

    /// Reserves room for records with payloads of these lengths, or for none of them.
    pub(crate) fn reserve_all(self: &Arc<Self>, lengths: &[usize]) -> Result<Vec<Reservation>, ReserveError> {
        if lengths.is_empty() {
            return Ok(Vec::new());
        }
        let framed = lengths.iter().map(|&length| framed(length as u64));
        let charged = self.promise(framed.clone().sum())?;
        Ok(framed.map(|framed| self.reservation(framed, charged)).collect())
    }

    fn reservation(self: &Arc<Self>, framed: u64, charged: bool) -> Reservation {
        Reservation { shared: self.clone(), framed, charge: if charged { framed } else { 0 } }
    }

    /// Promises so many bytes. Says whether they are charged; otherwise they may be dropped for want of room.
    fn promise(&self, framed: u64) -> Result<bool, ReserveError> {
        let length = framed - RECORD_HEADER as u64;
        let max = self.options.max_bytes;
        if framed + 2 * DATA_START > max || length > u64::from(u32::MAX) {
            let most = (max - 2 * DATA_START - RECORD_HEADER as u64).min(u64::from(u32::MAX));
            return Err(ReserveError::TooLarge { dir: self.dir.clone(), length, max: most });
        }
        let mut state = self.lock();
        if state.closing {
            return Err(ReserveError::Closed { dir: self.dir.clone() });
        }
        if state.promised > 0 && state.promised + framed > self.options.max_waiting_bytes {
            return Err(ReserveError::Behind { dir: self.dir.clone(), waiting: state.promised });
        }
        let fits = fits(&state, framed, max);
        if !fits && state.want_space() && state.rouse(Instant::now()) {
            self.work.notify_one();
        }
        let charged = match self.options.on_full {
            _ if fits => true,
            OnFull::Refuse => {
                let used = state.on_disk + state.promised;
                return Err(ReserveError::Full { dir: self.dir.clone(), used, max });
            }
            // The writer makes the room.
            OnFull::DropOldest => true,
            OnFull::DropNewest => false,
        };
        if charged {
            state.promised += framed;
        }
        Ok(charged)
    }

    /// As [`reserve`](Self::reserve), but waits for room.
    pub(crate) async fn reserve_when_free(self: &Arc<Self>, length: usize) -> Result<Reservation, ReserveError> {
        loop {
            let mut room = pin!(self.room.notified());
            // Registered before looking, so that no room is missed.
            room.as_mut().enable();
            match self.reserve(length) {
                Err(ReserveError::Full { .. } | ReserveError::Behind { .. }) => room.await,
                result => return result,
            }
        }
    }
}

impl Reservation {
    /// Hands the record to the writer. It is in the log when the ticket says so, not before. A
    /// ticket that is dropped changes nothing.
    pub fn commit(self, payload: Payload, spans: u32) -> Ticket {
        let (needed, reserved) = (framed(payload.len() as u64), self.framed);
        if needed > reserved {
            let header = RECORD_HEADER as u64;
            return Ticket::settled(Err(AppendError::LargerThanReserved {
                length: needed - header,
                reserved: reserved - header,
            }));
        }
        let [head, rest] = payload.parts();
        let level = self.shared.options.zstd_level.filter(|_| head.len() <= MAX_PLAIN_HEAD);
        let stored = level.and_then(|level| compress(rest, level));
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if state.closing {
            drop(state);
            return Ticket::settled(Err(AppendError::Closed));
        }
        let mut charge = self.charge;
        if charge == 0 {
            if !fits(&state, reserved, shared.options.max_bytes) {
                state.counts.dropped_newest_spans += u64::from(spans);
                return Ticket::settled(Ok(Outcome::Dropped));
            }
            charge = reserved;
            state.promised += charge;
        }
        // From here on the writer gives it back.
        let mut this = self;
        this.charge = 0;
        let (sender, receiver) = oneshot::channel();
        state.pending_bytes += needed;
        state.pending.push(Pending { payload, stored, spans, charge, since: Instant::now(), sender });
        let due = state.sync_due(&shared.options);
        let wake = due.is_some_and(|due| state.rouse(due));
        drop(state);
        if wake {
            shared.work.notify_one();
        }
        Ticket(Inner::Waiting(receiver))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.charge > 0 {
            self.shared.lock().promised -= self.charge;
            self.shared.room.notify_waiters();
        }
    }
}

/// Becomes ready when the record is safe, or cannot be made so.
#[derive(Debug)]
#[must_use = "a record is in the log only when its ticket says so"]
pub struct Ticket(Inner);

#[derive(Debug)]
enum Inner {
    Settled(Option<Result<Outcome, AppendError>>),
    Waiting(oneshot::Receiver<Result<Outcome, AppendError>>),
}

impl Ticket {
    fn settled(result: Result<Outcome, AppendError>) -> Self {
        Self(Inner::Settled(Some(result)))
    }

    /// Waits on a thread that runs no tasks.
    pub fn wait(self) -> Result<Outcome, AppendError> {
        match self.0 {
            Inner::Settled(result) => result.unwrap_or(Err(AppendError::Closed)),
            Inner::Waiting(receiver) => receiver.blocking_recv().unwrap_or(Err(AppendError::Closed)),
        }
    }
}

impl Future for Ticket {
    type Output = Result<Outcome, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Inner::Settled(result) => Poll::Ready(result.take().unwrap_or(Err(AppendError::Closed))),
            Inner::Waiting(receiver) => {
                Pin::new(receiver).poll(context).map(|result| result.unwrap_or(Err(AppendError::Closed)))
            }
        }
    }
}
