//! A store in a file.
//!
//! The file is the whole store: what it begins with, the time, its entries, a SHA-256 of all that. It
//! is written beside its place, synced, and renamed over it, so that there is always a whole one. A
//! file that is damaged is not read in part: the store begins empty.
//!
//! Times are those of the store's own clock, which goes on from where the file says, by as much as
//! the wall clock has gone on since.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::shard::{Entry, Shard};
use super::value::Value;
use super::{PoisonError, Store};

const MAGIC: &[u8] = b"sluice store 1\n";

/// Size of the digest at the end.
const DIGEST: usize = 32;

/// What an entry begins with.
const NUMBER: u8 = 1;
const TEXT: u8 = 2;
const BUCKET: u8 = 3;

/// Why a store begins empty although there is a file.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is not as it was written.
    #[error("it is damaged")]
    Damaged,
}

impl Store {
    /// Writes the store into a file. Only its owner may read it.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let bytes = self.to_bytes(unix_nanos());
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let aside = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        // The new name is safe when its folder is.
        File::open(folder)?.sync_all()
    }

    /// The store in a file; `None` if there is no file.
    pub(super) fn read(path: &Path, limit_bytes: usize) -> Result<Option<Self>, NotRead> {
        match fs::read(path) {
            Ok(bytes) => Self::from_bytes(&bytes, unix_nanos(), limit_bytes).map(Some).ok_or(NotRead::Damaged),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn to_bytes(&self, unix_nanos: u64) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(unix_nanos.to_le_bytes());
        let now = self.now();
        bytes.extend(now.to_le_bytes());
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.each(now, |key, entry| push(&mut bytes, key, &entry));
        }
        let digest = Sha256::digest(&bytes);
        bytes.extend(digest);
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8], unix_nanos: u64, limit_bytes: usize) -> Option<Self> {
        let (bytes, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
        if Sha256::digest(bytes).as_slice() != digest {
            return None;
        }
        let mut rest = Rest(bytes.strip_prefix(MAGIC)?);
        let (saved, at) = (rest.u64()?, rest.u64()?);
        let now = at.saturating_add(unix_nanos.saturating_sub(saved));
        let store = Self::going_on_from(Duration::from_nanos(now), limit_bytes);
        while !rest.0.is_empty() {
            let kind = rest.u8()?;
            let key = rest.bytes()?;
            let entry = match kind {
                NUMBER => {
                    let (expires, kind, bits) = (rest.u64()?, rest.u8()?, rest.u64()?);
                    Entry::Value { value: Value::Number { kind, bits }, expires }
                }
                TEXT => {
                    let (expires, kind) = (rest.u64()?, rest.u8()?);
                    Entry::Value { value: Value::Text { kind, bytes: rest.bytes()?.into() }, expires }
                }
                BUCKET => Entry::Bucket { tokens: f64::from_bits(rest.u64()?), at: rest.u64()?, full: rest.u64()? },
                _ => return None,
            };
            if !entry.is_over(now) {
                store.reclaim(Shard::cost(key, &entry));
                store.shard(key).fill(key, entry);
            }
        }
        Some(store)
    }
}

fn push(bytes: &mut Vec<u8>, key: &[u8], entry: &Entry) {
    let (kind, numbers) = match entry {
        Entry::Value { value: Value::Number { .. }, expires } => (NUMBER, vec![*expires]),
        Entry::Value { value: Value::Text { .. }, expires } => (TEXT, vec![*expires]),
        Entry::Bucket { tokens, at, full } => (BUCKET, vec![tokens.to_bits(), *at, *full]),
    };
    bytes.push(kind);
    push_bytes(bytes, key);
    for number in numbers {
        bytes.extend(number.to_le_bytes());
    }
    if let Entry::Value { value, .. } = entry {
        bytes.push(value.kind());
        match value {
            Value::Number { bits, .. } => bytes.extend(bits.to_le_bytes()),
            Value::Text { bytes: text, .. } => push_bytes(bytes, text),
        }
    }
}

fn push_bytes(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text);
}

/// What is left to be read.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn take(&mut self, bytes: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = self.u64()?;
        self.take(usize::try_from(length).ok()?)
    }
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
