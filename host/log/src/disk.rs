//! The few things that the log asks of a file system.
//!
//! The log touches files only through [`Disk`] and [`File`], so that a test can put a disk there
//! that forgets what was not synced, or one that fails. [`RealDisk`] is the one that ships.
//!
//! What the log relies on: after [`File::sync`] has returned `Ok`, the file's content and length
//! survive a power loss; after [`Disk::sync_dir`], so do the directory's entries. Nothing else is
//! assumed, the order of writes that were not synced least of all.

mod buffer;
mod direct;
mod real;

use std::any::Any;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use buffer::Buffer;
pub(crate) use direct::BLOCK;
pub use real::RealDisk;

/// Keeps a directory locked until it is dropped.
pub type DiskLock = Box<dyn Any + Send>;

/// A directory's operations.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Creates a directory and its parents, unless they are there; private to the user.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Locks this file, creating it, against every other process and against this one. An error of
    /// the kind [`io::ErrorKind::WouldBlock`] says that it is locked already.
    fn lock(&self, path: &Path) -> io::Result<DiskLock>;
    /// Creates an empty file, or empties the one that is there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Creates a file as [`Disk::create`] does. It is only written at its end, and everything in it is
    /// synced. When the process is killed, zeros may follow what was written, up to a block's end.
    fn create_log(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.create(path)
    }
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// The names of what is in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Gives a file another name in the same directory, replacing what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// Gives what is to be written, piece by piece. What is computed for a piece is computed when it is given, right
/// before it is copied to where the disk takes it, so that its bytes come into the processor's caches once.
pub type Pieces<'p> = dyn Fn(&mut dyn FnMut(&[u8])) + 'p;

/// An open file. Every position is explicit; there is no cursor.
pub trait File: Debug + Send + Sync {
    /// Writes at a position, growing the file if need be. May write less than it was given.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Writes pieces of `length` bytes together, one behind the other, growing the file if need be. They are
    /// put together in `buffer`.
    fn write_pieces(&self, length: usize, pieces: &Pieces<'_>, offset: u64, buffer: &mut Buffer) -> io::Result<()> {
        let bytes = buffer.fill(&[], length, pieces)?;
        write_all_with(bytes.get(..length).unwrap_or(bytes), offset, |part, at| self.write_at(part, at))
    }
    /// Reads at a position. May read less than there is room for; 0 is the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The file's length.
    fn len(&self) -> io::Result<u64>;
    /// Whether there is nothing in it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts the file off at this length.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
}

/// Writes all of it, as many calls as it takes.
pub(crate) fn write_all(file: &dyn File, bytes: &[u8], offset: u64) -> io::Result<()> {
    write_all_with(bytes, offset, |part, at| file.write_at(part, at))
}

fn write_all_with(
    mut bytes: &[u8],
    mut offset: u64,
    mut write_at: impl FnMut(&[u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends, and says how much there was.
pub(crate) fn read_full(file: &dyn File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
