//! The table files of a process: loaded once, loaded again when they have changed.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{BadTable, Format, LiveTable, Table};
use crate::open_regular;

/// A table file, and how it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The file.
    pub file: PathBuf,
    /// How it is written.
    pub format: Format,
    /// The column by which its rows are known.
    pub key: String,
    /// Memory that it may need, and the size that it may have.
    pub most_bytes: usize,
}

/// Why a table file does not serve.
#[derive(Debug, thiserror::Error)]
pub enum NotLoaded {
    /// It cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is no table.
    #[error("{}: {error}", file.display())]
    Bad {
        /// The file.
        file: PathBuf,
        /// Why.
        error: BadTable,
    },
}

/// A table file that was looked at.
#[derive(Debug)]
pub struct Loaded {
    /// The plugin whose table it is.
    pub plugin: String,
    /// The table's name.
    pub name: String,
    /// What serves now.
    pub table: Arc<Table>,
    /// `None` if the file has not changed. Why what serves is not what is in the file, if so.
    pub outcome: Option<Result<(), NotLoaded>>,
}

/// The table files of a process, by plugin. A table lives as long as somebody holds it.
#[derive(Debug, Default)]
pub struct Tables {
    files: Mutex<Vec<Known>>,
}

#[derive(Debug)]
struct Known {
    plugin: String,
    name: String,
    spec: Spec,
    live: Weak<LiveTable>,
    /// The file when it was last tried; nothing if it could not be opened.
    seen: Option<Stamp>,
}

/// By what a change of a file is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        let modified = (file.mtime(), file.mtime_nsec());
        Self { device: file.dev(), inode: file.ino(), bytes: file.len(), modified }
    }
}

impl Tables {
    /// The table of a plugin: the one that serves already, or the file, loaded.
    ///
    /// # Errors
    /// When the file cannot be read or is no table.
    pub fn open(&self, plugin: &str, name: &str, spec: &Spec) -> Result<Arc<LiveTable>, NotLoaded> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&Known| known.plugin == plugin && known.name == name && known.spec == *spec;
        if let Some(live) = files.iter().find(same).and_then(|known| known.live.upgrade()) {
            return Ok(live);
        }
        let (file, stamp) = open(spec)?;
        let live = Arc::new(LiveTable::new(load(spec, file)?));
        files.retain(|known| known.live.strong_count() > 0);
        let (plugin, name) = (plugin.to_owned(), name.to_owned());
        files.push(Known { plugin, name, spec: spec.clone(), live: Arc::downgrade(&live), seen: Some(stamp) });
        Ok(live)
    }

    /// Loads again what has changed; tells of every table. A file that cannot be loaded leaves the
    /// table as it is, and is tried again when it has changed once more.
    pub fn refresh(&self) -> Vec<Loaded> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|known| known.live.strong_count() > 0);
        files.iter_mut().filter_map(Known::refresh).collect()
    }
}

impl Known {
    fn refresh(&mut self) -> Option<Loaded> {
        let live = self.live.upgrade()?;
        let outcome = self.reload(&live);
        Some(Loaded { plugin: self.plugin.clone(), name: self.name.clone(), table: live.now(), outcome })
    }

    fn reload(&mut self, live: &LiveTable) -> Option<Result<(), NotLoaded>> {
        let before = self.seen;
        let opened = open(&self.spec);
        self.seen = opened.as_ref().ok().map(|(_, stamp)| *stamp);
        if self.seen == before {
            return None;
        }
        let file = match opened {
            Ok((file, _)) => file,
            Err(error) => return Some(Err(error)),
        };
        let bad = |error| NotLoaded::Bad { file: self.spec.file.clone(), error };
        Some(load(&self.spec, file).and_then(|table| live.replace(table).map_err(bad)))
    }
}

fn open(spec: &Spec) -> Result<(File, Stamp), NotLoaded> {
    let failed = |error| NotLoaded::Read { file: spec.file.clone(), error };
    let file = open_regular(&spec.file).map_err(failed)?;
    let stamp = Stamp::of(&file.metadata().map_err(failed)?);
    Ok((file, stamp))
}

fn load(spec: &Spec, file: File) -> Result<Table, NotLoaded> {
    // One byte more than may be, so that a file that is too large does not look like one that ends.
    let mut input = file.take((spec.most_bytes as u64).saturating_add(1));
    let table = Table::read(spec.format, &mut input, &spec.key, spec.most_bytes);
    let table = if input.limit() == 0 { Err(BadTable::TooLarge(spec.most_bytes)) } else { table };
    table.map_err(|error| NotLoaded::Bad { file: spec.file.clone(), error })
}
