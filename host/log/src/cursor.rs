//! The cursor file: two slots, of which one is always safe.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, File, write_all};
use crate::error::{Context, IoFailure};
use crate::format::{CURSOR, CURSOR_LENGTH, CURSOR_NEW, CursorSlot, SLOT_LENGTH};

/// Writes the cursor. After an error it begins a new file with the next write.
#[derive(Debug)]
pub(crate) struct CursorFile {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    fsync: bool,
    file: Option<Arc<dyn File>>,
    generation: u64,
    /// The slot to write; the other one is safe.
    slot: usize,
    /// The slot was written after the last sync.
    unsynced: bool,
}

impl CursorFile {
    /// Goes on with a file of which this slot of this generation is safe, or with none.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, fsync: bool, found: Option<(u64, usize)>) -> Result<Self, IoFailure> {
        let path = dir.join(CURSOR);
        let file = found.map(|_| disk.open(&path).context("open", &path)).transpose()?;
        if let (true, Some(file)) = (fsync, &file) {
            // The process before this one may have left it unsynced.
            file.sync().context("sync", &path)?;
        }
        let (generation, safe) = found.unwrap_or((0, 1));
        Ok(Self { disk, dir: dir.to_owned(), fsync, file, generation, slot: 1 - safe.min(1), unsynced: false })
    }

    /// Writes what is known. It survives the process, and a power loss only after [`sync`](Self::sync).
    pub fn write(&mut self, slot: &mut CursorSlot) -> Result<(), IoFailure> {
        self.generation += 1;
        slot.generation = self.generation;
        let Some(file) = self.file.clone() else { return self.create(slot) };
        let result = write_all(file.as_ref(), &slot.encode(), (self.slot * SLOT_LENGTH) as u64);
        if !self.fsync {
            // Nobody asks for more than that it survives the process: the other slot is as safe.
            self.slot = 1 - self.slot;
        }
        self.unsynced = self.fsync;
        self.settle(result.context("write", &self.dir.join(CURSOR)))
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> Result<(), IoFailure> {
        let (true, Some(file)) = (self.unsynced, self.file.clone()) else { return Ok(()) };
        self.settle(file.sync().context("sync", &self.dir.join(CURSOR)))?;
        self.unsynced = false;
        self.slot = 1 - self.slot;
        Ok(())
    }

    /// Makes it durable in both slots.
    pub fn write_both(&mut self, slot: &mut CursorSlot) -> Result<(), IoFailure> {
        for _ in 0..2 {
            self.write(slot)?;
            self.sync()?;
        }
        Ok(())
    }

    pub fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// After a failed write or sync nobody knows what is in the file: it is not used again.
    fn settle(&mut self, result: Result<(), IoFailure>) -> Result<(), IoFailure> {
        if result.is_err() {
            self.file = None;
            self.unsynced = false;
        }
        result
    }

    /// A file of full length, so that a full disk does not keep records from being acknowledged.
    fn create(&mut self, slot: &CursorSlot) -> Result<(), IoFailure> {
        let (path, target) = (self.dir.join(CURSOR_NEW), self.dir.join(CURSOR));
        let file = self.disk.create(&path).context("create", &path)?;
        let mut bytes = slot.encode();
        bytes.resize(SLOT_LENGTH, 0);
        let mut both = bytes.clone();
        both.append(&mut bytes);
        debug_assert_eq!(both.len(), CURSOR_LENGTH);
        write_all(file.as_ref(), &both, 0).context("write", &path)?;
        if self.fsync {
            file.sync().context("sync", &path)?;
        }
        self.disk.rename(&path, &target).context("rename to cursor", &path)?;
        if self.fsync {
            self.disk.sync_dir(&self.dir).context("sync", &self.dir)?;
        }
        (self.file, self.slot, self.unsynced) = (Some(file), 0, false);
        Ok(())
    }
}
