//! Compiled code on disk.
//!
//! Native code is trusted as the process itself is, so the folder must belong to this user alone
//! (0700), and code is loaded from nowhere else. An entry's name is the component's SHA-256 and a
//! hash of the engine's settings; it begins with a SHA-256 of the component's and of what follows, so that a damaged
//! entry is noticed and compiled anew.

use std::fs::{self, DirBuilder, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempDir};
use wasmtime::Engine;

const DIGEST_BYTES: usize = 32;
/// What a group or others could do, and what of it lets them put in entries.
const NOT_OURS: u32 = 0o077;
const NOT_OURS_TO_WRITE: u32 = 0o022;

/// No place for compiled code.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be made or looked at.
    #[error("cannot use {} for compiled code: {error}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is somebody else's.
    #[error("{} belongs to another user, or others may write there: give it to this user with mode 0700, or name another folder", .0.display())]
    NotPrivate(PathBuf),
}

/// The folder of compiled code.
pub(crate) struct Cache {
    folder: PathBuf,
    engine: u64,
    /// Removes the folder with the process, if it is a temporary one.
    _temporary: Option<TempDir>,
}

impl Cache {
    /// Opens or makes the folder; without one, a temporary folder serves this process alone.
    pub(crate) fn open(folder: Option<PathBuf>, engine: &Engine) -> Result<Self, CacheError> {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine = hasher.finish();
        let Some(folder) = folder else {
            let temporary = TempDir::with_prefix("sluice-")
                .map_err(|error| CacheError::Io { folder: std::env::temp_dir(), error })?;
            return Ok(Self { folder: temporary.path().to_owned(), engine, _temporary: Some(temporary) });
        };
        let io = |error| CacheError::Io { folder: folder.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io)?;
        let found = fs::metadata(&folder).map_err(io)?;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(CacheError::NotPrivate(folder));
        }
        let mode = found.permissions().mode();
        if mode & NOT_OURS_TO_WRITE != 0 {
            // Whatever is in there may be anybody's.
            tracing::warn!(event = "cache", folder = %folder.display(), "others could write here: the compiled code in it is removed");
            discard(&folder).map_err(io)?;
        }
        if mode & NOT_OURS != 0 {
            fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(io)?;
        }
        Ok(Self { folder, engine, _temporary: None })
    }

    /// Where a component's code belongs.
    fn entry(&self, component: &str) -> PathBuf {
        self.folder.join(format!("{component}-{:016x}.cwasm", self.engine))
    }

    /// A file in the folder that nobody else sees yet.
    pub(crate) fn scratch(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.folder)
    }

    /// The code of a component, if it is there and undamaged.
    pub(crate) fn get(&self, component: &str) -> Option<Vec<u8>> {
        let path = self.entry(component);
        let mut entry = fs::read(&path).ok()?;
        let owner = fs::metadata(&path).ok()?.uid();
        let code = entry.split_off(DIGEST_BYTES.min(entry.len()));
        if owner != rustix::process::geteuid().as_raw() || seal(component, &code).as_slice() != entry.as_slice() {
            tracing::warn!(event = "cache", entry = %path.display(), "a damaged or foreign entry is compiled anew");
            return None;
        }
        Some(code)
    }

    /// Keeps the code of a component. A full or read-only disk costs the cache, not the plugin.
    pub(crate) fn put(&self, component: &str, code: &[u8]) {
        if let Err(error) = self.write(component, code) {
            tracing::warn!(event = "cache", folder = %self.folder.display(), %error, "compiled code is not kept");
        }
    }

    fn write(&self, component: &str, code: &[u8]) -> io::Result<()> {
        let mut file = self.scratch()?;
        file.write_all(&seal(component, code))?;
        file.write_all(code)?;
        file.persist(self.entry(component))?;
        Ok(())
    }
}

/// What an entry begins with. It depends on the component, too, so that an entry under another's
/// name is noticed.
fn seal(component: &str, code: &[u8]) -> [u8; DIGEST_BYTES] {
    Sha256::new().chain_update(component).chain_update(code).finalize().into()
}

fn discard(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "cwasm") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
