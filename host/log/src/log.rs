//! The log as its users see it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::futures::Notified;

use crate::disk::{Disk, RealDisk};
use crate::error::{Context, IoFailure, OpenError, ReserveError};
use crate::options::Options;
use crate::recover::{Recovered, recover};
use crate::reserve::Reservation;
use crate::state::{Counts, Shared};
use crate::take::{Delivery, Ready};

/// How much is in the log now.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    /// Records that are in the log and not done; those in flight included.
    pub records: u64,
    /// Their spans.
    pub spans: u64,
    /// Bytes of its segments.
    pub disk_bytes: u64,
    /// Bytes that are reserved or wait to be written.
    pub waiting_bytes: u64,
    /// Records that were taken and are not settled.
    pub in_flight: u64,
    /// What has happened since it was opened.
    pub counts: Counts,
    /// What failed last, unless a write has succeeded since.
    pub failing: Option<IoFailure>,
}

/// A durable log in a directory of its own. See the crate's documentation.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    recovered: Recovered,
    writer: Mutex<Option<JoinHandle<Result<(), IoFailure>>>>,
}

impl Log {
    /// Opens the log in this directory, which is created if need be. It reads all segments, so it
    /// takes as long as the disk needs for that.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        Self::open_on(Arc::new(RealDisk), dir, options)
    }

    /// As [`open`](Self::open), on another disk.
    pub fn open_on(disk: Arc<dyn Disk>, dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let (shared, writer, recovered) = recover(disk, dir.as_ref(), options)?;
        let thread = Builder::new().name("sluice-log".to_owned()).spawn(move || writer.run());
        let thread = thread.context("start a thread for", dir.as_ref())?;
        Ok(Self { shared, recovered, writer: Mutex::new(Some(thread)) })
    }

    /// What was found when it was opened.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Reserves room for a record whose payload has at most this length.
    pub fn reserve(&self, length: usize) -> Result<Reservation, ReserveError> {
        self.shared.reserve(length)
    }

    /// Reserves room for records whose payloads have at most these lengths, or for none of them: they find room
    /// where one record as large as all of them does.
    pub fn reserve_all(&self, lengths: &[usize]) -> Result<Vec<Reservation>, ReserveError> {
        self.shared.reserve_all(lengths)
    }

    /// As [`reserve`](Self::reserve), but waits while the log is full, or the disk behind.
    pub async fn reserve_when_free(&self, length: usize) -> Result<Reservation, ReserveError> {
        self.shared.reserve_when_free(length).await
    }

    /// Takes the oldest record that nobody has; waits for one. Nothing when the log has been
    /// closed. A call that is cancelled has taken nothing.
    pub async fn take(&self) -> Option<Delivery> {
        self.shared.take().await
    }

    /// Takes the oldest record that nobody has, if it is in memory already.
    pub fn try_take(&self) -> Option<Delivery> {
        self.shared.try_take()
    }

    /// As [`try_take`](Self::try_take), if the record was appended longer ago than this.
    pub fn try_take_older(&self, age: Duration) -> Option<Delivery> {
        self.shared.try_take_older(age)
    }

    /// What waits in memory to be taken.
    pub fn ready(&self) -> Ready {
        self.shared.ready()
    }

    /// Ends when more may be taken than before, when a record was put back, or when the log closes.
    /// Enable it, then look, then wait: so nothing is missed.
    pub fn more(&self) -> Notified<'_> {
        self.shared.takers.notified()
    }

    /// Ends when there may be more room than before, or the log closes. To be used as [`more`](Self::more).
    pub fn room(&self) -> Notified<'_> {
        self.shared.room.notified()
    }

    /// How large a segment becomes: so much space is given back at a time.
    pub fn segment_bytes(&self) -> u64 {
        self.shared.options.segment_bytes()
    }

    /// How much is in it.
    pub fn figures(&self) -> Figures {
        let state = self.shared.lock();
        Figures {
            records: state.segments.iter().map(|segment| segment.live_records).sum(),
            spans: state.segments.iter().map(|segment| segment.live_spans).sum(),
            disk_bytes: state.on_disk,
            waiting_bytes: state.promised,
            in_flight: state.in_flight.len() as u64,
            counts: state.counts,
            failing: state.failing.clone(),
        }
    }

    /// Writes what was committed, syncs the cursor and lets go of the directory. What is in flight
    /// is delivered again after the next open. Blocks until the disk is done; closing twice is no error.
    pub fn close(&self) -> Result<(), IoFailure> {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        self.shared.takers.notify_waiters();
        self.shared.room.notify_waiters();
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        match thread.map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Log {
    /// Closes it. Whoever wants to know of an error calls [`close`](Self::close).
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = self.close();
        }
    }
}
