//! The account goes on where an earlier process has ended.
//!
//! It is kept in a file, `account.json`: written aside and renamed into place, at most each second while
//! it changes and in the end. What was in hand then is not carried on: a queue on disk says itself what it
//! holds, and a request that was not answered is its sender's.
//!
//! A process that was killed has written no end. What it had in memory is lost and was counted nowhere,
//! so the account begins from zero then, and says so; only if every queue is on disk does it go on, without
//! what was counted after the file was written.
//!
//! A process has the file for itself. One that starts while another still ends gets what that one has
//! counted when it has ended: figures are added, so it makes no difference when.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{Account, Cell};

const FILE: &str = "account.json";
const LOCK: &str = "account.lock";
/// It tells what a process found in it that cannot read it.
const VERSION: u32 = 1;

/// A kill costs so much of the account where it goes on at all.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// The file, as it is read and written.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    version: u32,
    /// Whether the process that wrote it had ended.
    ended: bool,
    /// Whether all its queues were on disk.
    durable: bool,
    /// When the account began, in Unix time.
    since_unix_s: u64,
    cells: Vec<Cell>,
}

/// Keeps the account of a process. All of it blocks.
pub struct Keeper {
    account: Account,
    dir: PathBuf,
    /// None as long as another process has it.
    lock: Option<File>,
    written: Option<(Instant, String)>,
    /// An error is told once, not each second; so is that another process has the file.
    told: bool,
}

/// Why an account begins from zero.
#[derive(Debug, thiserror::Error)]
enum FromZero {
    #[error("{}: {error}", .path.display())]
    Unreadable { path: PathBuf, error: String },
    #[error("the last process was killed, and what its queues held in memory is lost and not counted")]
    Killed,
    #[error("there is no account of an earlier process")]
    First,
}

impl Keeper {
    /// Keeps the account in a folder, if there is one. Nothing happens before [`Keeper::turn`].
    pub fn new(account: &Account, dir: Option<&Path>) -> Option<Self> {
        let Some(dir) = dir else {
            let reason = "it is not kept: there is neither a `state_dir` nor a queue on disk";
            tracing::info!(event = "account.begun", from = "zero", reason);
            return None;
        };
        let (account, dir) = (account.clone(), dir.to_owned());
        Some(Self { account, dir, lock: None, written: None, told: false })
    }

    /// Takes over what an earlier process has left, when that is to be had, and writes what has
    /// changed. To be called now and then; `durable` says whether all queues are on disk.
    pub fn turn(&mut self, durable: bool) {
        let turn = self.take_over().and_then(|()| self.write(false, durable));
        self.tell(&turn);
    }

    /// Writes the account for the last time. `cut` says that some of it was not seen to its end.
    pub fn end(mut self, cut: bool, durable: bool) {
        (self.written, self.told) = (None, false);
        let end = self.take_over().and_then(|()| self.write(!cut, durable));
        self.tell(&end);
        if let Some(lock) = self.lock {
            // A child that is just being started has it open for a moment longer.
            let _ = flock(&lock, FlockOperation::Unlock);
        }
    }

    fn tell(&mut self, result: &io::Result<()>) {
        let told = std::mem::replace(&mut self.told, result.is_err());
        let Err(error) = result else { return };
        if told {
            return;
        }
        let file = self.dir.join(FILE);
        if error.kind() == io::ErrorKind::WouldBlock {
            tracing::info!(event = "account.kept", file = %file.display(), %error);
        } else {
            tracing::error!(event = "account.kept", file = %file.display(), %error, "the account will not outlive the process");
        }
    }

    fn take_over(&mut self) -> io::Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(self.dir.join(LOCK))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let why = "another process has it; what that one counts is added when it has ended";
                return Err(io::Error::new(io::ErrorKind::WouldBlock, why));
            }
            other => other?,
        }
        self.lock = Some(lock);
        match self.read() {
            Ok(Content { ended, since_unix_s, cells, .. }) => {
                self.account.carry_on(&cells, UNIX_EPOCH + Duration::from_secs(since_unix_s));
                tracing::info!(event = "account.begun", from = "kept", ended);
            }
            Err(reason @ FromZero::Unreadable { .. }) => {
                tracing::error!(event = "account.begun", from = "zero", %reason);
            }
            Err(reason @ FromZero::Killed) => tracing::warn!(event = "account.begun", from = "zero", %reason),
            Err(reason @ FromZero::First) => tracing::info!(event = "account.begun", from = "zero", %reason),
        }
        Ok(())
    }

    fn read(&self) -> Result<Content, FromZero> {
        let path = self.dir.join(FILE);
        let unreadable = |error: String| FromZero::Unreadable { path: path.clone(), error };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FromZero::First),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        let content: Content = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        if content.version != VERSION {
            return Err(unreadable(format!("it has version {}, known is {VERSION}", content.version)));
        }
        if content.ended || content.durable { Ok(content) } else { Err(FromZero::Killed) }
    }

    fn write(&mut self, ended: bool, durable: bool) -> io::Result<()> {
        let due = self.written.as_ref().is_none_or(|(at, _)| at.elapsed() >= WRITE_EVERY);
        if !(ended || due) {
            return Ok(());
        }
        let (cells, since) = self.account.cells();
        let since_unix_s = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let text = serde_json::to_string(&Content { version: VERSION, ended, durable, since_unix_s, cells })?;
        if self.written.as_ref().is_some_and(|(_, written)| *written == text) {
            return Ok(());
        }
        let aside = self.dir.join(format!("{FILE}.new"));
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&aside)?;
        file.write_all(text.as_bytes())?;
        if ended {
            // A power loss may take what is written each second, but not this.
            file.sync_all()?;
        }
        fs::rename(aside, self.dir.join(FILE))?;
        self.written = Some((Instant::now(), text));
        Ok(())
    }
}
