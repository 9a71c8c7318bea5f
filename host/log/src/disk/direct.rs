//! A file that is written at its end only, past the page cache.
//!
//! What the log writes is synced at once and read again only after an outage, so a copy of it in the
//! page cache is of no use, and it is dear: making the pages and writing them back costs several
//! times what the log itself does. `O_DIRECT` hands the disk our own memory instead. It wants whole
//! blocks at places that are multiples of a block, so the file ends with zeros up to a block's end;
//! the next write begins with the last block again. That block's records are the same bytes in both
//! writes, so a write that is torn leaves them what they were, as with the page cache.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Buffer, Pieces};

/// What every file system and disk accepts as a block.
pub(crate) const BLOCK: usize = 4096;

/// A file that is being written at its end.
#[derive(Debug)]
pub(super) struct DirectFile {
    /// For all but writing.
    file: File,
    direct: File,
    end: Mutex<End>,
}

/// The end of the file.
#[derive(Debug)]
struct End {
    /// Where the next write begins. The file itself may be longer, by zeros.
    length: u64,
    /// What the file has between the beginning of its last block and `length`.
    tail: Vec<u8>,
    /// Whether the file system has turned out not to want it this way.
    is_refused: bool,
}

impl DirectFile {
    /// Opens a file that is empty. Nothing if the file system has no such writes.
    pub fn open(file: File, path: &Path) -> io::Result<Result<Self, File>> {
        let flags = OFlags::DIRECT.bits() as i32;
        match OpenOptions::new().write(true).custom_flags(flags).open(path) {
            Ok(direct) => {
                let end = End { length: 0, tail: Vec::new(), is_refused: false };
                Ok(Ok(Self { file, direct, end: Mutex::new(end) }))
            }
            Err(error) if is_refusal(&error) => Ok(Err(file)),
            Err(error) => Err(error),
        }
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes at the end; says whether the file system can do it.
    fn append(&self, length: usize, pieces: &Pieces<'_>, offset: u64, buffer: &mut Buffer) -> io::Result<bool> {
        let mut end = self.end();
        if offset != end.length {
            let text = format!("a file that is written at its end ({}) was to be written at {offset}", end.length);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if end.is_refused {
            return Ok(false);
        }
        let held = end.tail.len();
        let blocks = buffer.fill(&end.tail, length, pieces)?;
        match super::write_all_with(blocks, offset - held as u64, |part, at| self.direct.write_at(part, at)) {
            Err(error) if is_refusal(&error) => {
                end.is_refused = true;
                return Ok(false);
            }
            result => result?,
        }
        end.length += length as u64;
        let filled = held + length;
        end.tail.clear();
        end.tail.extend_from_slice(blocks.get(filled - filled % BLOCK..filled).unwrap_or_default());
        Ok(true)
    }
}

impl super::File for DirectFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if self.append(bytes.len(), &|give| give(bytes), offset, &mut Buffer::default())? {
            return Ok(bytes.len());
        }
        let written = self.file.write_at(bytes, offset)?;
        self.end().length += written as u64;
        Ok(written)
    }

    fn write_pieces(&self, length: usize, pieces: &Pieces<'_>, offset: u64, buffer: &mut Buffer) -> io::Result<()> {
        if self.append(length, pieces, offset, buffer)? {
            return Ok(());
        }
        let bytes = buffer.fill(&[], length, pieces)?;
        super::write_all_with(bytes.get(..length).unwrap_or(bytes), offset, |part, at| self.write_at(part, at))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.end().length)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut end = self.end();
        self.file.set_len(length)?;
        let held = length % BLOCK as u64;
        let mut tail = vec![0; held as usize];
        self.file.read_exact_at(&mut tail, length - held)?;
        end.tail = tail;
        end.length = length;
        Ok(())
    }

    /// `fdatasync`: the length is part of it, times are not.
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Drop for DirectFile {
    fn drop(&mut self) {
        // If this fails there are zeros behind the last record, as after a crash.
        let _ = self.file.set_len(self.end().length);
    }
}

fn is_refusal(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::NOTSUP].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
