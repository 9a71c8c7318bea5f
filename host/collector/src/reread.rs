//! Something that is made of files, and made again when one of them has changed: certificates,
//! keys, tokens, passwords.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

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
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: Option<SystemTime>,
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

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |path: &PathBuf| {
        let file = std::fs::metadata(path as &Path).ok()?;
        Some(Stamp { inode: file.ino(), bytes: file.len(), modified: file.modified().ok() })
    };
    files.iter().map(stamp).collect()
}
