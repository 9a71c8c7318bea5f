//! The `file` exporter: every request into a file, as the Collector's does.
//!
//! `format: json` writes one OTLP/JSON request a line; `format: proto` writes the length as four
//! bytes, big-endian, and the request. What cannot be written has failed and is taken back out of
//! the file, so that a full disk leaves no half request in front of the next one.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::sender::{Answer, Refusal, Retry};
use crate::config::section::{NOT_YET, Section};
use crate::queue;

/// The settings of a `file` exporter.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where.
    pub path: PathBuf,
    /// Protobuf instead of JSON.
    pub proto: bool,
    /// Keep what is in the file.
    pub append: bool,
    /// What waits.
    pub queue: queue::Settings,
}

impl Settings {
    /// Reads the settings.
    pub fn read(mut section: Section<'_>) -> Self {
        let path = section.path("path");
        if path.is_none() {
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
    options.write(true);
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
    file: Arc<Mutex<File>>,
    proto: bool,
}

impl Writer {
    /// Opens the file, and empties it unless it is to be kept.
    pub fn open(settings: &Settings) -> Result<Self, String> {
        let mut options = File::options();
        options.create(true).write(true).truncate(!settings.append);
        let mut file = options.open(&settings.path).map_err(|error| cannot_open(settings, &error))?;
        // A pipe has no end to go to.
        let _ = file.seek(SeekFrom::End(0));
        Ok(Self { file: Arc::new(Mutex::new(file)), proto: settings.proto })
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
        let record = self.record(wire)?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let before = file.stream_position();
        file.write_all(&record).inspect_err(|_| {
            if let Ok(before) = before {
                // If this fails as well, the error that is told is the one that matters.
                let _ = file.set_len(before).and_then(|()| file.seek(SeekFrom::Start(before)));
            }
        })
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

    #[test]
    fn a_request_is_its_length_and_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spans");
        Writer::open(&settings(path.clone(), false)).unwrap().write_now(b"abc").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"\0\0\0\x03abc");
        Writer::open(&settings(path.clone(), true)).unwrap().write_now(b"de").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"\0\0\0\x03abc\0\0\0\x02de");
        Writer::open(&settings(path.clone(), false)).unwrap();
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
        let writer = Writer::open(&settings(PathBuf::from("/dev/full"), true)).unwrap();
        assert_eq!(writer.write_now(b"abc").unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
