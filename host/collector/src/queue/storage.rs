//! Where a queue is kept, if not in memory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Id;
use crate::config::section::Mark;

/// A folder for queues, one folder below it for each exporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where.
    pub directory: PathBuf,
    /// Whether it may be created.
    pub create: bool,
    /// The permissions that it is created with.
    pub permissions: u32,
    /// How long to wait for a process that has it.
    pub timeout: Duration,
    /// Whether a request is on disk before its sender is answered.
    pub fsync: bool,
    /// Whether requests are compressed with zstd.
    pub zstd: bool,
}

/// `sending_queue.storage`.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The extension that it names.
    pub extension: Id,
    /// For messages.
    pub mark: Mark,
    /// What the extension says; none until references are resolved.
    pub folder: Option<Folder>,
}

/// Equal when they say the same, wherever that is written.
impl PartialEq for Storage {
    fn eq(&self, other: &Self) -> bool {
        (&self.extension, &self.folder) == (&other.extension, &other.folder)
    }
}

impl Eq for Storage {}

impl Folder {
    /// The folder of an exporter's log: `exporter_` and its id, in which everything but letters,
    /// digits, `-` and `_` is written as `%` and its byte in hexadecimal.
    pub fn of(&self, exporter: &str) -> PathBuf {
        let mut name = "exporter_".to_owned();
        for byte in exporter.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                name.push(char::from(byte));
            } else {
                // Writing into a string does not fail.
                let _ = write!(name, "%{byte:02X}");
            }
        }
        self.directory.join(name)
    }

    /// Sees to it that the folder is there.
    ///
    /// # Errors
    /// What cannot be done, with the place and what to do.
    pub fn prepare(&self) -> Result<(), String> {
        let directory = &self.directory;
        let failed = |error: std::io::Error| format!("cannot create {}: {error}", directory.display());
        if directory.is_dir() {
            return Ok(());
        }
        if !self.create {
            return Err(format!("{} is no directory: create it, or set `create_directory: true`", directory.display()));
        }
        create(directory, self.permissions).map_err(failed)
    }
}

fn create(directory: &Path, permissions: u32) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(permissions).create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_exporters_share_a_folder() {
        let folder = Folder {
            directory: "/q".into(),
            create: true,
            permissions: 0o750,
            timeout: Duration::ZERO,
            fsync: true,
            zstd: false,
        };
        let ids = ["otlp", "otlp/a", "otlp_a", "otlp%2Fa", "otlp/../x", "otlp/ä"];
        let expected = ["otlp", "otlp%2Fa", "otlp_a", "otlp%252Fa", "otlp%2F%2E%2E%2Fx", "otlp%2F%C3%A4"];
        for (id, name) in ids.into_iter().zip(expected) {
            assert_eq!(folder.of(id), PathBuf::from(format!("/q/exporter_{name}")));
        }
    }
}
