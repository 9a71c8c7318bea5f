//! Something that is made of files, and made again when one of them has changed.

use std::sync::{Arc, Mutex, PoisonError};

use super::pem::{Pem, Stamp};

/// Cheap to ask: it looks at the files' state and reads them only when that has changed.
pub(super) struct Current<T> {
    files: Vec<Pem>,
    make: Box<dyn Fn() -> Result<T, String> + Send + Sync>,
    made: Mutex<Made<T>>,
}

struct Made<T> {
    stamps: Vec<Option<Stamp>>,
    value: Arc<T>,
}

impl<T> Current<T> {
    /// Makes it for the first time.
    pub fn new(
        files: Vec<Pem>,
        make: impl Fn() -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        // A file that changes between is read again, not missed.
        let stamps = stamps(&files);
        let value = Arc::new(make()?);
        Ok(Self { files, make: Box::new(make), made: Mutex::new(Made { stamps, value }) })
    }

    /// What the files make now; what they made before, if they make nothing.
    pub fn get(&self) -> Arc<T> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.files);
        if stamps != made.stamps {
            made.stamps = stamps;
            match (self.make)() {
                Ok(value) => {
                    made.value = Arc::new(value);
                    tracing::info!(event = "tls.reload", files = ?self.files, "certificates are read again");
                }
                Err(reason) => {
                    tracing::warn!(event = "tls.reload", reason, "the certificates before stay in use");
                }
            }
        }
        Arc::clone(&made.value)
    }
}

fn stamps(files: &[Pem]) -> Vec<Option<Stamp>> {
    files.iter().map(Pem::stamp).collect()
}
