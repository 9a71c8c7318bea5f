//! The `file` exporter: every request into a file, as the Collector's does.
//!
//! `format: json` writes one OTLP/JSON request a line; `format: proto` writes the length as four
//! bytes, big-endian, and the request. What cannot be written has failed and is taken back out of
//! the file, so that a full disk leaves no half request in front of the next one.

mod outputs;

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use outputs::Output;

use super::sender::{Answer, Refusal, Retry};
use crate::config::section::{NOT_YET, Section};
use crate::queue;

pub use outputs::Outputs;
pub(crate) use outputs::one_path;

/// The settings of a `file` exporter.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where.
    pub path: PathBuf,
    /// Protobuf instead of JSON.
    pub proto: bool,
    /// Keep what is in the file when the process first opens it.
    pub append: bool,
    /// What waits.
    pub queue: queue::Settings,
}

impl Settings {
    /// Reads the settings.
    pub fn read(mut section: Section<'_>) -> Self {
        let path = section.path("path");
        if path.is_none() && !section.says("path") {
            section.error("path", "a `path` is needed");
        }
        let settings = Self {
            path: path.unwrap_or_default(),
            proto: section.one_of("format", &["json", "proto"], "json") == "proto",
            append: section.bool_or("append", false),
            queue: queue::Settings::read_in_memory(&mut section, queue::Settings::one_by_one()),
        };
        for key in ["rotation", "compression", "group_by", "encoding", "create_directory", "directory_permissions"] {
            section.unsupported(key, NOT_YET);
        }
        section.unsupported("flush_interval", "every request is written at once");
        section.finish();
        settings
    }
}

/// Tries whether the file can be opened, and leaves everything as it was.
///
/// # Errors
/// When a start could not open it.
pub(super) fn check(settings: &Settings) -> Result<(), String> {
    let path = &settings.path;
    // Who reads a pipe would take this for its end.
    if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return Ok(());
    }
    let mut options = File::options();
    // As it is opened to be written: some files may only be appended to.
    options.append(true);
    let opened = match options.open(path) {
        // Only what nobody else has made may be taken away again.
        Err(error) if error.kind() == io::ErrorKind::NotFound => options.create_new(true).open(path).map(|_| {
            // An empty file that cannot be removed does no harm.
            let _ = fs::remove_file(path);
        }),
        opened => opened.map(drop),
    };
    match opened {
        // A link to what is not there yet, or somebody has been quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        opened => opened.map_err(|error| cannot_open(settings, &error)),
    }
}

fn cannot_open(settings: &Settings, error: &io::Error) -> String {
    format!("cannot open {}: {error}", settings.path.display())
}

/// Writes requests into one file.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    output: Arc<Output>,
    proto: bool,
}

impl Writer {
    /// Opens the file, which others of the process may write to.
    pub fn open(settings: &Settings, outputs: &Outputs) -> Result<Self, String> {
        let output = outputs.open(&settings.path, settings.append).map_err(|error| cannot_open(settings, &error))?;
        Ok(Self { output: Arc::new(output), proto: settings.proto })
    }

    /// Writes one request.
    pub async fn write(&self, chunks: &[Bytes]) -> Answer {
        let (writer, wire) = (self.clone(), chunks.concat());
        let written = tokio::task::spawn_blocking(move || writer.write_now(&wire)).await;
        match written.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => Answer::Taken { rejected: 0, message: String::new() },
            Err(error) => Answer::Refused(Refusal {
                reason: "write".to_owned(),
                message: error.to_string(),
                retry: Retry::Never,
                maybe_taken: false,
            }),
        }
    }

    fn write_now(&self, wire: &[u8]) -> io::Result<()> {
        self.output.append(&self.record(wire)?)
    }

    fn record(&self, wire: &[u8]) -> io::Result<Vec<u8>> {
        if self.proto {
            let length = u32::try_from(wire.len()).map_err(io::Error::other)?;
            return Ok([length.to_be_bytes().as_slice(), wire].concat());
        }
        let mut line = sluice_spans::json::to_json(wire).map_err(io::Error::other)?;
        line.push('\n');
        Ok(line.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn settings(path: PathBuf, append: bool) -> Settings {
        Settings { path, proto: true, append, queue: queue::Settings::one_by_one() }
    }

    /// As another process does.
    fn open(settings: &Settings) -> Writer {
        Writer::open(settings, &Outputs::default()).unwrap()
    }

    #[test]
    fn a_request_is_its_length_and_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spans");
        open(&settings(path.clone(), false)).write_now(b"abc").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"\0\0\0\x03abc");
        open(&settings(path.clone(), true)).write_now(b"de").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"\0\0\0\x03abc\0\0\0\x02de");
        open(&settings(path.clone(), false));
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_file_is_tried_and_nothing_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let tried = |name: &str| check(&settings(path(name), false));
        assert_eq!(tried("new"), Ok(()));
        assert!(!path("new").exists());
        fs::write(path("old"), b"abc").unwrap();
        assert_eq!(tried("old"), Ok(()));
        assert_eq!(fs::read(path("old")).unwrap(), b"abc");
        std::os::unix::fs::symlink(path("new"), path("link")).unwrap();
        assert_eq!(tried("link"), Ok(()));
        for wrong in ["none/new", "", "old/new"] {
            let told = format!("cannot open {}: ", path(wrong).display());
            assert!(tried(wrong).unwrap_err().starts_with(&told), "{:?}", tried(wrong));
        }
    }

    #[test]
    fn a_pipe_is_not_opened_to_try_it() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        // Opening it lasts until somebody reads, and nobody does.
        std::thread::spawn(move || tell.send(check(&settings(path, false))));
        assert_eq!(told.recv_timeout(std::time::Duration::from_secs(30)).unwrap(), Ok(()));
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let writer = open(&settings(PathBuf::from("/dev/full"), true));
        assert_eq!(writer.write_now(b"abc").unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
