//! What can go wrong, in words that name the file and the fix.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file operation failed.
///
/// It can be cloned, because every sender whose record was in the same write gets it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot {action} {}: {source}; {}", path.display(), self.fix())]
pub struct IoFailure {
    /// What was tried.
    pub action: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: Arc<io::Error>,
}

impl IoFailure {
    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source: Arc::new(source) }
    }

    /// Whether the file system had no room: the file is as good as before.
    pub(crate) fn is_no_space(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// What the operator can do about it.
    pub fn fix(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free space on this file system, or give the queue a smaller size"
            }
            io::ErrorKind::PermissionDenied => "let the user of this process write to the directory",
            io::ErrorKind::ReadOnlyFilesystem => "mount the file system for writing",
            io::ErrorKind::NotFound => "do not move or remove files of the queue while it is in use",
            io::ErrorKind::NotADirectory => "name a directory",
            _ if self.source.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
                "raise the limit of open files"
            }
            _ => "check the disk and the kernel's log",
        }
    }
}

/// Attaches what was tried, and on what, to an error.
pub(crate) trait Context<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, IoFailure>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T, IoFailure> {
        self.map_err(|source| IoFailure::new(action, path, source))
    }
}

/// The log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody else has it.
    #[error("{} is in use by another process; stop that one, or give each its own directory", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A file is from a later version of this program.
    #[error("{} has format version {found}, this program knows {known}; use the newer program, or move the file away", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
        /// The newest version that can be read here.
        known: u16,
    },
    /// An option makes no sense.
    #[error("{0}")]
    Options(&'static str),
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] IoFailure),
}

/// There is no room for a record now. Nothing was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// The quota is used up.
    #[error("the queue in {} is full: {used} of {max} bytes are in use", dir.display())]
    Full {
        /// The directory.
        dir: PathBuf,
        /// Bytes on disk and reserved.
        used: u64,
        /// The quota.
        max: u64,
    },
    /// More waits to be written than may be in memory.
    #[error("the disk of the queue in {} does not keep up: {waiting} bytes wait to be written", dir.display())]
    Behind {
        /// The directory.
        dir: PathBuf,
        /// Bytes reserved or waiting.
        waiting: u64,
    },
    /// It would not fit into an empty log either.
    #[error("a record of {length} bytes is larger than the queue in {}, which may hold {max} bytes", dir.display())]
    TooLarge {
        /// The directory.
        dir: PathBuf,
        /// The record's length.
        length: u64,
        /// What fits.
        max: u64,
    },
    /// The log has been closed.
    #[error("the queue in {} is closed", dir.display())]
    Closed {
        /// The directory.
        dir: PathBuf,
    },
}

/// A record is not in the log, although room was reserved for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The disk refused. The log goes on with the next records, in a new file if need be.
    #[error(transparent)]
    Io(#[from] IoFailure),
    /// The log was closed before the record was written.
    #[error("the queue was closed before the record was written")]
    Closed,
    /// The record is larger than what was reserved.
    #[error("a record of {length} bytes was put into a reservation of {reserved} bytes")]
    LargerThanReserved {
        /// The record's length.
        length: u64,
        /// The reservation's.
        reserved: u64,
    },
}
