//! Keeps damaged bytes for a human to look at.

use std::path::Path;

use crate::disk::{Disk, write_all};
use crate::error::{Context, IoFailure};
use crate::format::{QUARANTINE, segment_name};
use crate::scan::read_tolerant;
use crate::survey::Damage;

const MAGIC: &[u8; 8] = b"SLUICEQU";
const HEADER: u64 = 40;
const PART: u64 = 256 << 10;

/// Appends a damaged range to the quarantine, unless that would make it larger than this.
pub(crate) fn quarantine(
    disk: &dyn Disk,
    dir: &Path,
    damage: &Damage,
    unix_nano: u64,
    max_bytes: u64,
) -> Result<(), IoFailure> {
    let path = dir.join(QUARANTINE);
    let exists = disk.list(dir).context("list", dir)?.iter().any(|name| name == QUARANTINE);
    let into = if exists { disk.open(&path) } else { disk.create(&path) }.context("open", &path)?;
    let mut at = into.len().context("read the length of", &path)?;
    if at + HEADER + (damage.to - damage.from) > max_bytes {
        return Ok(());
    }
    let source = dir.join(segment_name(damage.segment));
    let from = disk.open(&source).context("open", &source)?;
    let mut header = MAGIC.to_vec();
    for field in [damage.segment, damage.from, damage.to - damage.from, unix_nano] {
        header.extend_from_slice(&field.to_le_bytes());
    }
    write_all(into.as_ref(), &header, at).context("write", &path)?;
    at += HEADER;
    let mut offset = damage.from;
    while offset < damage.to {
        let mut part = vec![0; PART.min(damage.to - offset) as usize];
        let read = read_tolerant(from.as_ref(), &mut part, offset).context("read", &source)?;
        if read == 0 {
            break;
        }
        part.truncate(read);
        write_all(into.as_ref(), &part, at).context("write", &path)?;
        (offset, at) = (offset + read as u64, at + read as u64);
    }
    into.sync().context("sync", &path)
}
