//! The logs that are open, and what is in each.
//!
//! An exporter that is replaced and the one that replaces it have one log together: what the old
//! one has in hand it finishes, the rest is the new one's. The last one to leave closes the log.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sluice_log::{Group, IoFailure, Log, OpenError, Options, Recovered};
use tokio::sync::Notify;

use super::{Folder, Weight, envelope};

/// How often a folder that another process has is tried again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The fastest level that saves most of what there is to be saved: spans repeat themselves.
const ZSTD_LEVEL: i32 = 1;

/// A log and what its queue needs to know of it beside.
pub(crate) struct Disk {
    pub log: Log,
    options: Opening,
    used: Mutex<Weight>,
    /// Something has left.
    pub room: Notify,
}

/// What a log was opened with that does not change while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Opening {
    fsync: bool,
    zstd: bool,
    max_bytes: u64,
}

/// All logs that the process has open. Cheap to clone.
#[derive(Clone, Default)]
pub struct Disks {
    all: Arc<Mutex<All>>,
}

#[derive(Default)]
struct All {
    open: HashMap<PathBuf, Open>,
    /// Those that were closed again: what they hold is in this process's account already.
    closed: HashSet<PathBuf>,
}

struct Open {
    disk: Arc<Disk>,
    users: usize,
}

/// The right to use a log; the last one that is dropped closes it.
pub(crate) struct Lease {
    disks: Disks,
    dir: PathBuf,
    disk: Arc<Disk>,
    left: bool,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoDisk {
    #[error("{0}")]
    Folder(String),
    #[error(transparent)]
    Log(#[from] OpenError),
    #[error(
        "its queue in {} is open with another `fsync`, `compression` or size; these change when the process is restarted",
        .0.display()
    )]
    OtherOptions(PathBuf),
}

impl std::fmt::Debug for Disks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disks").finish_non_exhaustive()
    }
}

impl Disks {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log of an exporter, and what was found in it if it was not open yet; its groups are those
    /// of records that this process has not counted. Reads all of it
    /// then, and waits for another process as long as the folder's `timeout` says.
    pub(crate) fn lease(
        &self,
        folder: &Folder,
        exporter: &str,
        max_bytes: u64,
    ) -> Result<(Lease, Option<Recovered>), NoDisk> {
        let dir = folder.of(exporter);
        let options = Opening { fsync: folder.fsync, zstd: folder.zstd, max_bytes };
        let mut all = self.all();
        if let Some(open) = all.open.get_mut(&dir) {
            if open.disk.options != options {
                return Err(NoDisk::OtherOptions(dir));
            }
            open.users += 1;
            // Who is draining it leaves the rest to the new one.
            open.disk.room.notify_waiters();
            return Ok((self.lease_of(dir, &open.disk), None));
        }
        folder.prepare().map_err(NoDisk::Folder)?;
        let log = open(folder, &dir, options)?;
        let mut recovered = log.recovered().clone();
        let figures = log.figures();
        let used = Weight { bytes: figures.disk_bytes, requests: recovered.records, spans: recovered.spans };
        // What its records weigh is not known before they are read; an empty log weighs nothing.
        let used = if recovered.records == 0 { Weight::default() } else { used };
        let disk = Arc::new(Disk { log, options, used: Mutex::new(used), room: Notify::new() });
        if all.closed.remove(&dir) {
            recovered.groups.clear();
        }
        all.open.insert(dir.clone(), Open { disk: Arc::clone(&disk), users: 1 });
        Ok((self.lease_of(dir, &disk), Some(recovered)))
    }

    fn lease_of(&self, dir: PathBuf, disk: &Arc<Disk>) -> Lease {
        Lease { disks: self.clone(), dir, disk: Arc::clone(disk), left: false }
    }
}

fn open(folder: &Folder, dir: &PathBuf, opening: Opening) -> Result<Log, OpenError> {
    let until = Instant::now() + folder.timeout;
    let Opening { fsync, zstd, max_bytes } = opening;
    let (zstd_level, group) = (zstd.then_some(ZSTD_LEVEL), Some(envelope::pipeline as Group));
    loop {
        let options = Options { max_bytes, fsync, zstd_level, group, ..Options::default() };
        match Log::open(dir, options) {
            Err(OpenError::InUse { .. }) if Instant::now() < until => std::thread::sleep(LOOK_AGAIN),
            result => return result,
        }
    }
}

impl Disk {
    pub fn used(&self) -> MutexGuard<'_, Weight> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    pub fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// Where it is.
    pub fn dir(&self) -> &PathBuf {
        &self.dir
    }

    /// Whether nobody else has the log.
    pub fn is_last(&self) -> bool {
        self.disks.all().open.get(&self.dir).is_none_or(|open| open.users == 1)
    }

    /// Lets go of the log; closes it if nobody else has it. Blocks until the disk is done.
    ///
    /// # Errors
    /// When what is acknowledged could not be written: some of it will be delivered again. The log tells of it.
    pub fn leave(mut self) -> Result<(), IoFailure> {
        self.go()
    }

    fn go(&mut self) -> Result<(), IoFailure> {
        if std::mem::replace(&mut self.left, true) {
            return Ok(());
        }
        let mut all = self.disks.all();
        let last = all.open.get_mut(&self.dir).is_some_and(|open| {
            open.users -= 1;
            open.users == 0
        });
        if !last {
            return Ok(());
        }
        all.open.remove(&self.dir);
        all.closed.insert(self.dir.clone());
        // Under the lock, so that who opens it next does not find it in use.
        self.disk.log.close().inspect_err(|error| {
            let directory = self.dir.display();
            tracing::error!(event = "queue.closed", %directory, %error, "some of what was delivered will be delivered again");
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // It has told of it.
        let _ = self.go();
    }
}
