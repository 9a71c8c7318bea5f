//! The quarantine: spans that plugins failed on, on disk, as they came to the plugin.
//!
//! What enters is a request's spans and why they are set aside; each becomes a file of its own in
//! `quarantine` in the `state_dir`, which belongs to this user alone (0700). A record is written
//! beside its place, synced and renamed, so that it is there wholly or not at all, and it is there
//! before the request is answered; a request that is refused after all takes its records along.
//! Full, it takes nothing more; what is older than `max_age` is removed. What leaves, leaves by
//! `sluice quarantine replay`.

pub mod command;
mod record;
pub mod replay;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::config::section::Section;
use crate::extension::Sluice;

pub(crate) use record::sha256;
pub use record::{Case, Damaged, Record};

/// Its folder in the `state_dir`.
const FOLDER: &str = "quarantine";

/// The ending of a record's file.
const ENDING: &str = "spans";

/// The ending of a record that is being written.
const UNFINISHED: &str = "tmp";

/// Default of `max_mib`: some 500,000 spans; an edge box has a small disk.
const MAX_MIB: u64 = 256;

/// Default of `max_age`: who looks after a weekend finds them.
const MAX_AGE: Duration = Duration::from_hours(7 * 24);

/// What is too old is looked for at most so many times in its age: the whole folder has to be read for it, which may hold
/// half a million small records, and whoever needs the side thread waits.
const LOOKS: u32 = 256;

/// A full one is counted again at most so often: records may have been removed by hand, and counting reads the whole folder.
const COUNTS: Duration = Duration::from_mins(1);

const MIB: u64 = 1 << 20;

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all records.
    pub max_bytes: u64,
    /// Age of a record.
    pub max_age: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { max_bytes: MAX_MIB * MIB, max_age: MAX_AGE }
    }
}

impl Bounds {
    /// Reads the block `quarantine` of the extension `sluice`.
    pub fn read(mut section: Section<'_>) -> Self {
        let bounds = Self {
            max_bytes: section.u64_or("max_mib", MAX_MIB).saturating_mul(MIB),
            max_age: section.duration_or("max_age", MAX_AGE),
        };
        section.finish();
        bounds
    }
}

/// The quarantine of the process. All methods block.
pub struct Quarantine {
    folder: PathBuf,
    bounds: Bounds,
    bytes: AtomicU64,
    written: AtomicU64,
    /// Before this time, in milliseconds since 1970, no record is too old.
    expires_ms: AtomicU64,
    /// Before this time, in milliseconds since 1970, a full one is not counted again.
    counts_ms: AtomicU64,
}

/// It cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} for the quarantine: {error}", folder.display())]
pub struct OpenError {
    folder: PathBuf,
    error: io::Error,
}

/// Why spans were not set aside.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// There is no room.
    #[error(
        "the quarantine is full: replay or remove records, or raise `quarantine: {{ max_mib }}` of the extension `sluice`"
    )]
    Full,
    /// The disk refuses.
    #[error("cannot write {}: {error}", path.display())]
    Io {
        /// The record's file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A record that belongs to a request which has not been accepted yet. Dropped, it is removed.
pub struct Kept {
    quarantine: Arc<Quarantine>,
    path: PathBuf,
    bytes: u64,
    spans: u32,
    accepted: bool,
}

impl Kept {
    /// The request was accepted: the record stays. Gives the number of its spans.
    pub fn accepted(mut self) -> u32 {
        self.accepted = true;
        self.spans
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.accepted {
            self.quarantine.remove(&self.path, self.bytes);
        }
    }
}

impl Quarantine {
    /// The quarantine of a process with these settings; `None` if it has no `state_dir`.
    ///
    /// # Errors
    /// When its folder cannot be made, or belongs to somebody else.
    pub fn open(settings: &Sluice) -> Result<Option<Arc<Self>>, OpenError> {
        let Some(state_dir) = &settings.state_dir else { return Ok(None) };
        let folder = folder_in(state_dir);
        let zero = AtomicU64::default;
        let (bounds, counts_ms) = (settings.quarantine, zero());
        let quarantine = Self { bounds, bytes: zero(), written: zero(), expires_ms: zero(), counts_ms, folder };
        quarantine.begin().map_err(|error| OpenError { folder: quarantine.folder.clone(), error })?;
        Ok(Some(Arc::new(quarantine)))
    }

    fn begin(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        fs::set_permissions(&self.folder, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if has_ending(&path, UNFINISHED) {
                fs::remove_file(&path)?;
            }
        }
        self.count()?;
        self.expire(SystemTime::now());
        Ok(())
    }

    /// Counts the bytes of all records. What is being written meanwhile is not counted until the next time.
    fn count(&self) -> io::Result<()> {
        let mut bytes = 0;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if has_ending(&entry.path(), ENDING) {
                // It may have gone since.
                bytes += entry.metadata().map_or(0, |metadata| metadata.len());
            }
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Sets spans aside, synced to disk.
    ///
    /// # Errors
    /// When there is no room, or the disk refuses.
    pub fn keep(self: &Arc<Self>, case: &Case, wire: &[u8]) -> Result<Kept, NotKept> {
        let now = SystemTime::now();
        self.expire(now);
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:013}-{:x}-{number:x}", millis(now), std::process::id());
        let bytes = record::encode(&id, now, case, wire);
        let size = bytes.len() as u64;
        let has_room = self.reserve(size) || self.is_counted_anew(now) && self.reserve(size);
        if !has_room {
            return Err(NotKept::Full);
        }
        let path = path_in(&self.folder, &id);
        self.write(&path, &bytes).map_err(|error| {
            self.free(size);
            NotKept::Io { path: path.clone(), error }
        })?;
        Ok(Kept { quarantine: Arc::clone(self), path, bytes: size, spans: case.spans, accepted: false })
    }

    /// Whether there was room for a record of this size, which is taken then.
    fn reserve(&self, size: u64) -> bool {
        let with = |bytes: u64| bytes.checked_add(size).filter(|bytes| *bytes <= self.bounds.max_bytes);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).is_ok()
    }

    fn free(&self, size: u64) {
        // What was counted anew may not have counted it.
        let without = |bytes: u64| Some(bytes.saturating_sub(size));
        let _ = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, without);
    }

    /// Whether what is there was counted once more, as it is not too often.
    fn is_counted_anew(&self, now: SystemTime) -> bool {
        let (now, waits) = (millis(now), u64::try_from(COUNTS.as_millis()).unwrap_or(u64::MAX));
        let due = |next: u64| (now >= next).then(|| now.saturating_add(waits));
        let is_due = self.counts_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok();
        is_due && self.count().is_ok()
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let aside = path.with_extension(UNFINISHED);
        let mut file = File::options().write(true).create_new(true).open(&aside)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&aside, path));
        if written.is_err() {
            // It is removed at the next start at the latest.
            let _ = fs::remove_file(&aside);
        }
        written?;
        File::open(&self.folder)?.sync_all()
    }

    fn remove(&self, path: &Path, bytes: u64) {
        match fs::remove_file(path) {
            Ok(()) => self.free(bytes),
            // By hand, meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.free(bytes),
            Err(error) => tracing::error!(event = "quarantine", record = %path.display(), %error, "cannot be removed"),
        }
    }

    /// Removes what is too old, if there may be anything.
    fn expire(&self, now: SystemTime) {
        if millis(now) < self.expires_ms.load(Ordering::Relaxed) {
            return;
        }
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut oldest = now;
        for entry in entries.flatten() {
            let path = entry.path();
            let Some(written) = has_ending(&path, ENDING).then(|| written_at(&path)).flatten() else { continue };
            if now.duration_since(written).is_ok_and(|age| age > self.bounds.max_age) {
                tracing::warn!(event = "quarantine", record = %path.display(), "removed: it is older than `max_age`");
                self.remove(&path, entry.metadata().map_or(0, |metadata| metadata.len()));
            } else {
                oldest = oldest.min(written);
            }
        }
        let after =
            |time, wait: Duration| millis(time).saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let next = after(oldest, self.bounds.max_age).max(after(now, self.bounds.max_age / LOOKS));
        self.expires_ms.store(next, Ordering::Relaxed);
    }
}

/// Milliseconds since 1970.
fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The folder of the quarantine in a `state_dir`.
pub fn folder_in(state_dir: &Path) -> PathBuf {
    state_dir.join(FOLDER)
}

/// The file of a record.
fn path_in(folder: &Path, id: &str) -> PathBuf {
    folder.join(id).with_extension(ENDING)
}

/// Whether this may be the name of a record: it never leads out of the folder.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// The names of all records in a folder, oldest first; none if there is no folder yet.
fn ids(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()).filter(|id| is_id(id));
        if has_ending(&path, ENDING) {
            ids.extend(id.map(str::to_owned));
        }
    }
    ids.sort();
    Ok(ids)
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

/// When a record was written, by its name.
fn written_at(path: &Path) -> Option<SystemTime> {
    let millis = path.file_stem()?.to_str()?.split('-').next()?.parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}
