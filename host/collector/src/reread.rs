//! Something that is made of files, and made again when one of them has changed: certificates,
//! keys, tokens, passwords. And how it is seen that a file has changed.

use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use sluice_state::open_regular;

type Make<T> = dyn Fn() -> Result<T, String> + Send + Sync;

/// Cheap to ask: it looks at the state of the files and reads them only when that has changed.
pub struct Reread<T> {
    files: Vec<PathBuf>,
    make: Box<Make<T>>,
    made: Mutex<Made<T>>,
}

struct Made<T> {
    stamps: Vec<Option<Stamp>>,
    value: Arc<T>,
}

/// Tells whether a file is still the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Device and inode.
    place: (u64, u64),
    bytes: u64,
    modified: Option<SystemTime>,
    /// Seconds and nanoseconds of the last change of what is in it or known of it: who copies a file may give it
    /// the `modified` of another.
    changed: (i64, i64),
}

impl Stamp {
    /// That of the file at the end of all links; none if no file is there. A pipe or a device has none either:
    /// it changes whenever it is read.
    pub fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        Some(Self {
            place: (file.dev(), file.ino()),
            bytes: file.len(),
            modified: file.modified().ok(),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

impl<T> Reread<T> {
    /// Makes it for the first time.
    ///
    /// # Errors
    /// What `make` says.
    pub fn new(
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        // A file that changes between is read again, not missed.
        let stamps = stamps(&files);
        let value = Arc::new(make()?);
        Ok(Self { files, make: Box::new(make), made: Mutex::new(Made { stamps, value }) })
    }

    /// What the files make now. If that is nothing, what they made before.
    pub fn get(&self) -> Arc<T> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.files);
        if stamps != made.stamps {
            made.stamps = stamps;
            let files = &self.files;
            match (self.make)() {
                Ok(value) => {
                    made.value = Arc::new(value);
                    tracing::info!(event = "credentials.reload", ?files, "read again");
                }
                Err(reason) => {
                    tracing::warn!(event = "credentials.reload", ?files, reason, "what was read before stays in use");
                }
            }
        }
        Arc::clone(&made.value)
    }
}

/// What is in such a file: a regular one, so that nobody waits for a pipe's writer.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes).map(|_| bytes)
}

/// [`read`], of text.
///
/// # Errors
/// When it cannot be read or is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    io::read_to_string(open_regular(path)?)
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|path| Stamp::of(path)).collect()
}
