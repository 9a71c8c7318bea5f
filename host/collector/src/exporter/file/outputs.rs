//! The files that the process writes to, whichever generations of its configuration it is that do.
//!
//! A generation opens a file while the one before still drains into it. So all of them append, one at a time, and
//! a file is emptied only when the process opens it for the first time. Another process, which this one follows or
//! which follows it, appends as well.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf, absolute};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::OFlags;

/// The files that the process has opened. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Outputs(Arc<Mutex<HashMap<PathBuf, Turn>>>);

/// Held by who writes to a file.
type Turn = Arc<Mutex<()>>;

/// A file to append to.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    turn: Turn,
}

impl Outputs {
    /// Opens a file. What is in it goes if it is not to be kept and the process has not opened it before: then
    /// it was not delivered there by this process.
    pub(super) fn open(&self, path: &Path, keep: bool) -> io::Result<Output> {
        let file = open(path)?;
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = match opened.entry(one_path(path)) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => {
                // Pipes and devices hold nothing.
                if !keep && file.metadata()?.is_file() {
                    file.set_len(0)?;
                }
                new.insert(Turn::default()).clone()
            }
        };
        Ok(Output { file, turn })
    }
}

/// Opens a file to append to it. A pipe is refused unless somebody reads it: opening it would wait for that, and the
/// process with it.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let opened = options.create(true).append(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => io::Error::new(ErrorKind::NotConnected, "nobody reads this pipe: start its reader first"),
        _ => error,
    })?;
    // What is written to it waits for its reader all the same.
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(file)
}

/// A file's path of all that it may have, as far as its folder is there.
pub(crate) fn one_path(path: &Path) -> PathBuf {
    // A name alone has no parent that could be asked for.
    let in_its_folder = || Some(absolute(path).ok()?.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(in_its_folder).unwrap_or_else(|| path.to_owned())
}

impl Output {
    /// Appends a record, or nothing of it.
    pub fn append(&self, record: &[u8]) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.file.metadata()?.len();
        let mut rest = record;
        while !rest.is_empty() {
            let error = match (&self.file).write(rest) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            // If this fails as well, the error that is told is the one that matters.
            let _ = self.take_back(before, record.len() - rest.len());
            return Err(error);
        }
        Ok(())
    }

    /// Takes the beginning of a record out of the file. If another process has written meanwhile, which waits for no
    /// turn, it stays: what that has written may be behind it.
    fn take_back(&self, before: u64, written: usize) -> io::Result<()> {
        let is_alone = self.file.metadata()?.len() == before + written as u64;
        if is_alone && written > 0 { self.file.set_len(before) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn who_opens_a_file_after_another_goes_on_in_it_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spans");
        // The same file by another name, and as it may be written in the next configuration.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for keep in [true, false] {
            fs::write(&path, "before ").unwrap();
            let outputs = Outputs::default();
            let old = outputs.open(&path, keep).unwrap();
            old.append(b"old ").unwrap();
            let new = outputs.open(&link, false).unwrap();
            for (output, record) in [(&new, "new "), (&old, "drained "), (&new, "new ")] {
                output.append(record.as_bytes()).unwrap();
            }
            let expected = if keep { "before old new drained new " } else { "old new drained new " };
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
    }

    #[test]
    fn a_pipe_is_refused_until_somebody_reads_it_and_takes_what_is_written_then() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let nobody_reads = path.clone();
        // On a thread of its own: opening it would last until somebody reads.
        std::thread::spawn(move || tell.send(Outputs::default().open(&nobody_reads, true).map(drop)));
        let refused = told.recv_timeout(std::time::Duration::from_secs(30)).unwrap().unwrap_err();
        assert_eq!(refused.to_string(), "nobody reads this pipe: start its reader first");

        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read(path).unwrap()
        });
        let output = std::iter::repeat_with(|| Outputs::default().open(&path, true)).find_map(Result::ok).unwrap();
        // More than a pipe holds: what is written waits for the reader.
        let record = vec![7; 1 << 20];
        output.append(&record).unwrap();
        drop(output);
        assert!(reader.join().unwrap() == record);
    }

    #[test]
    fn a_file_that_is_not_there_yet_is_one_however_its_path_is_written() {
        let there = std::env::current_dir().unwrap().canonicalize().unwrap().join("no-such-file");
        for path in ["no-such-file", "./no-such-file", "src/../no-such-file"] {
            assert_eq!(one_path(path.as_ref()), there, "{path}");
        }
        assert_eq!(one_path("no-such-folder/file".as_ref()), Path::new("no-such-folder/file"));
    }

    #[test]
    fn a_file_that_the_process_opens_again_is_not_emptied_and_that_of_another_process_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spans");
        let outputs = Outputs::default();
        outputs.open(&path, false).unwrap().append(b"a").unwrap();
        outputs.open(&path, false).unwrap().append(b"b").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "ab");
        Outputs::default().open(&path, false).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn half_a_record_is_taken_back_unless_another_process_has_written_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spans");
        let (ours, theirs) = (Outputs::default(), Outputs::default());
        let (ours, theirs) = (ours.open(&path, true).unwrap(), theirs.open(&path, true).unwrap());
        ours.append(b"whole half").unwrap();
        ours.take_back(6, 4).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole ");
        ours.append(b"half").unwrap();
        theirs.append(b"theirs").unwrap();
        ours.take_back(6, 4).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole halftheirs");
    }
}
