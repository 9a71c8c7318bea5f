//! Versions of the plugin in `tests/guests/versions`, made by replacing a block of bytes in it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use memchr::memmem;
use sha2::{Digest as _, Sha256};

/// What the block begins with; deed, mark and version of fixed lengths follow.
const BLOCK: &[u8] = b"sluice-soak deed=stamp mark=00000000 version=000";
const DEED: usize = 17;
const MARK: usize = 28;
const VERSION: usize = 45;

/// What a version does beside marking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Nothing.
    Stamp,
    /// It traps in every call.
    Traps,
    /// It comes back from no call.
    Spins,
    /// It does not come back from a call after the self-test.
    Later,
}

impl Deed {
    fn as_bytes(self) -> &'static [u8; 5] {
        match self {
            Self::Stamp => b"stamp",
            Self::Traps => b"traps",
            Self::Spins => b"spins",
            Self::Later => b"later",
        }
    }
}

/// A version.
#[derive(Clone)]
pub(super) struct Version {
    /// What it leaves on spans.
    pub(super) mark: String,
    /// The number that it calls itself.
    pub(super) number: u32,
    /// The sha256 of its file, in hex.
    pub(super) digest: String,
    /// Its file.
    pub(super) file: Vec<u8>,
}

impl Version {
    /// What it says of itself.
    pub(super) fn called(&self) -> String {
        called(self.number)
    }
}

fn called(number: u32) -> String {
    format!("{number:03}")
}

/// The plugin as it was built.
pub(super) struct Template {
    file: Vec<u8>,
    at: usize,
    made: u32,
}

impl Template {
    /// Reads it.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let missing = || format!("{} is not there: run `cargo xtask soak swaps`, which builds it", path.display());
        let file = std::fs::read(path).with_context(missing)?;
        let mut places = memmem::find_iter(&file, BLOCK);
        let at = places.next().with_context(|| format!("{} has no block to replace", path.display()))?;
        ensure!(places.next().is_none(), "{} has its block twice", path.display());
        Ok(Self { at, made: 0, file })
    }

    /// Makes another version, with another mark than all before; version strings come again after 1,000.
    pub(super) fn make(&mut self, deed: Deed) -> Result<Version> {
        self.make_of(deed, (self.made + 1) % 1000)
    }

    /// Makes another version that calls itself so.
    pub(super) fn make_of(&mut self, deed: Deed, number: u32) -> Result<Version> {
        self.made += 1;
        let (mark, mut file) = (format!("{:08x}", self.made), self.file.clone());
        let said = called(number);
        for (at, bytes) in [(DEED, &deed.as_bytes()[..]), (MARK, mark.as_bytes()), (VERSION, said.as_bytes())] {
            let place = file.get_mut(self.at + at..).and_then(|rest| rest.get_mut(..bytes.len()));
            place.context("a block that is cut off")?.copy_from_slice(bytes);
        }
        let digest = format!("{:x}", Sha256::digest(&file));
        Ok(Version { mark, number, digest, file })
    }
}
