//! The writer thread: the only one that touches files while the log is open.
//!
//! A round: write and sync what waits, and tell the senders; fetch records for the takers; write
//! the cursor; remove segments that are done. A disk that fails fails the records of that write; the
//! thread goes on, and the next records go into a new file.

mod append;
mod fetch;
mod retire;
mod wait;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::cursor::CursorFile;
use crate::disk::{Buffer, Disk, DiskLock, File};
use crate::error::IoFailure;
use crate::format::Mark;
use crate::state::Shared;

pub(crate) use fetch::Fetcher;

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Active {
    pub file: Arc<dyn File>,
    pub number: u64,
    pub salt: u64,
    /// Up to here it is whole; the rest, if any, is of a write that failed.
    pub length: u64,
}

pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub disk: Arc<dyn Disk>,
    pub active: Option<Active>,
    /// In which writes are put together.
    pub buffer: Buffer,
    /// The next record.
    pub next: Mark,
    pub next_segment: u64,
    /// The time of the last record: time in the log never goes back.
    pub last_unix_nano: u64,
    pub cursor: CursorFile,
    pub fetcher: Fetcher,
    pub last_cursor_write: Instant,
    pub last_cursor_sync: Instant,
    /// After the cursor, or a read, failed: not before this.
    pub retry_at: Option<Instant>,
    /// Files that are not needed any more.
    pub unneeded: Vec<PathBuf>,
    /// Held as long as the thread lives.
    pub lock: DiskLock,
}

impl Writer {
    /// Runs until the log is closed, and says whether all of it is safe then.
    pub fn run(mut self) -> Result<(), IoFailure> {
        loop {
            let round = self.wait();
            self.append(round.pending);
            self.fetch();
            self.settle(round.closing);
            if round.closing && self.shared.lock().pending.is_empty() {
                break;
            }
        }
        self.shared.takers.notify_waiters();
        self.shared.room.notify_waiters();
        let mut slot = self.snapshot();
        slot.fit();
        {
            // Nothing more is handed out, so that it is known exactly what was.
            let state = self.shared.lock();
            slot.handed_to = state.taken_to.max(state.marked_before);
        }
        let result = self.cursor.write_both(&mut slot);
        drop(self.lock);
        result
    }

    /// Remembers why something did not work, for whoever asks how the log is.
    pub(crate) fn failed(&self, failure: IoFailure) {
        self.shared.lock().failing = Some(failure);
    }
}
