//! The real disk, with faults on demand.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sluice_log::disk::{Disk, DiskLock, File, RealDisk};

/// An operation that may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Write,
    Read,
    Truncate,
    Sync,
    SyncDir,
    Remove,
}

type Rule = Box<dyn FnMut(Operation, &Path, u64) -> Option<i32> + Send>;

#[derive(Default)]
struct Faults {
    rule: Option<Rule>,
    most_per_write: Option<usize>,
    synced: Vec<PathBuf>,
}

#[derive(Clone, Default)]
pub(crate) struct FaultyDisk(Arc<Mutex<Faults>>);

impl std::fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultyDisk")
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    path: PathBuf,
    file: Arc<dyn File>,
}

impl FaultyDisk {
    /// From now on this decides which operations fail, and with which error number. It gets the
    /// file and the position.
    pub fn fail(&self, rule: impl FnMut(Operation, &Path, u64) -> Option<i32> + Send + 'static) {
        self.0.lock().unwrap().rule = Some(Box::new(rule));
    }

    /// From now on nothing fails.
    pub fn heal(&self) {
        let mut faults = self.0.lock().unwrap();
        (faults.rule, faults.most_per_write) = (None, None);
    }

    pub fn write_at_most(&self, bytes: usize) {
        self.0.lock().unwrap().most_per_write = Some(bytes);
    }

    /// The files that were synced since the last call, failed syncs included.
    pub fn synced(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0.lock().unwrap().synced)
    }

    fn check(&self, operation: Operation, path: &Path, at: u64) -> io::Result<()> {
        let mut faults = self.0.lock().unwrap();
        if operation == Operation::Sync {
            faults.synced.push(path.to_owned());
        }
        match faults.rule.as_mut().and_then(|rule| rule(operation, path, at)) {
            Some(error) => Err(io::Error::from_raw_os_error(error)),
            None => Ok(()),
        }
    }

    fn wrap(&self, path: &Path, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultyFile { disk: self.clone(), path: path.to_owned(), file })
    }
}

impl Disk for FaultyDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<DiskLock> {
        RealDisk.lock(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.check(Operation::Create, path, 0)?;
        Ok(self.wrap(path, RealDisk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(path, RealDisk.open(path)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(Operation::Remove, path, 0)?;
        RealDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.check(Operation::SyncDir, dir, 0)?;
        RealDisk.sync_dir(dir)
    }
}

impl File for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.disk.check(Operation::Write, &self.path, offset)?;
        let most = self.disk.0.lock().unwrap().most_per_write.unwrap_or(bytes.len());
        self.file.write_at(&bytes[..most.min(bytes.len())], offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.check(Operation::Read, &self.path, offset)?;
        self.file.read_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.check(Operation::Truncate, &self.path, length)?;
        self.file.truncate(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.check(Operation::Sync, &self.path, 0)?;
        self.file.sync()
    }
}
