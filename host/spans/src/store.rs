//! Where bytes live: the wire as received, and an arena beside it for what edits and
//! normalisation add.

use bytes::Bytes;

/// A run of bytes: in the wire, or in the arena if the top bit of `at` is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loc {
    pub at: u32,
    pub len: u32,
}

const ARENA: u32 = 1 << 31;

/// Room that an arena has from its first piece on.
const USUAL_ARENA_BYTES: usize = 1000;

impl Default for Loc {
    fn default() -> Self {
        Self::NONE
    }
}

impl Loc {
    /// Nowhere; reads as empty.
    pub const NONE: Self = Self { at: u32::MAX, len: 0 };

    pub fn new(at: usize, len: usize) -> Self {
        Self { at: at as u32, len: len as u32 }
    }

    pub fn is_none(self) -> bool {
        self.at == u32::MAX
    }

    /// Position `offset` within this run.
    #[inline]
    pub fn at(self, offset: usize) -> u32 {
        self.at.wrapping_add(offset as u32)
    }

    /// A run within this run.
    #[inline]
    pub fn part(self, offset: usize, len: usize) -> Self {
        Self { at: self.at(offset), len: len as u32 }
    }

    /// Whether `next` begins where this run ends.
    pub fn touches(self, next: Self) -> bool {
        self.at.checked_add(self.len) == Some(next.at)
    }

    pub fn pack(self) -> u64 {
        u64::from(self.at) << 32 | u64::from(self.len)
    }

    pub fn unpack(packed: u64) -> Self {
        Self { at: (packed >> 32) as u32, len: packed as u32 }
    }
}

/// The bytes of a batch.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub wire: Bytes,
    pub arena: Vec<u8>,
}

impl Store {
    /// What [`Store::append`] writes beyond a text for a moment, at most.
    pub const SLACK: usize = 32;

    #[inline]
    pub fn get(&self, loc: Loc) -> &[u8] {
        let (buf, at): (&[u8], _) =
            if loc.at & ARENA == 0 { (&self.wire, loc.at as usize) } else { (&self.arena, (loc.at & !ARENA) as usize) };
        buf.get(at..at + loc.len as usize).unwrap_or_default()
    }

    /// Whether a run holds these bytes.
    #[inline]
    pub fn has(&self, loc: Loc, bytes: &[u8]) -> bool {
        loc.len as usize == bytes.len() && is_same(self.get(loc), bytes)
    }

    /// The `N` bytes at a position; zeros if there is no such position.
    pub fn array<const N: usize>(&self, at: u32) -> [u8; N] {
        self.chunk(at).copied().unwrap_or([0; N])
    }

    #[inline]
    fn chunk<const N: usize>(&self, at: u32) -> Option<&[u8; N]> {
        self.get(Loc { at, len: N as u32 }).first_chunk()
    }

    /// Appends a text to `out`. Most are short, and what is copied with a fixed length, to be cut
    /// off afterwards, needs no call.
    #[inline]
    pub fn append(&self, text: Loc, out: &mut Vec<u8>) {
        match self.chunk::<{ Self::SLACK }>(text.at) {
            Some(chunk) if text.len as usize <= chunk.len() => {
                let end = out.len() + text.len as usize;
                out.extend_from_slice(chunk);
                out.truncate(end);
            }
            _ => out.extend_from_slice(self.get(text)),
        }
    }

    /// Adds bytes to the arena.
    pub fn push(&mut self, bytes: &[u8]) -> Loc {
        self.push_with(|arena| arena.extend_from_slice(bytes))
    }

    /// Adds bytes that are here already to the arena, one piece after another.
    pub fn push_again(&mut self, pieces: impl Iterator<Item = Loc>) -> Loc {
        let Self { wire, arena } = self;
        let at = arena.len();
        for Loc { at, len } in pieces {
            let from = (at & !ARENA) as usize;
            let piece = from..from + len as usize;
            if at & ARENA == 0 {
                arena.extend_from_slice(wire.get(piece).unwrap_or_default());
            } else if piece.end <= arena.len() {
                arena.extend_from_within(piece);
            }
        }
        Loc { at: at as u32 | ARENA, len: (arena.len() - at) as u32 }
    }

    /// Adds to the arena what `write` appends.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Loc {
        let at = self.arena.len();
        if at == 0 {
            // What plugins add usually, so that it does not grow with each piece.
            self.arena.reserve(USUAL_ARENA_BYTES);
        }
        write(&mut self.arena);
        Loc { at: at as u32 | ARENA, len: (self.arena.len() - at) as u32 }
    }
}

/// Whether two runs of one length are the same. Attribute keys of one length are common, and most differ in their first
/// or last letters: those are compared here, without a call.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    const WORD: usize = size_of::<u64>();
    let ends = |run: &[u8]| {
        let (first, last) = (run.first_chunk::<WORD>()?, run.last_chunk::<WORD>()?);
        Some((u64::from_ne_bytes(*first), u64::from_ne_bytes(*last)))
    };
    match (ends(one), ends(other)) {
        (Some(ours), Some(theirs)) => ours == theirs && (one.len() <= 2 * WORD || one == other),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    /// A difference at every place of runs of every length up to three words.
    #[test]
    fn a_run_has_its_own_bytes_and_no_others() {
        for len in 0..=24_usize {
            let wire: Vec<u8> = (0..len as u8).collect();
            let store = Store { wire: wire.clone().into(), arena: Vec::new() };
            let loc = Loc::new(0, len);
            assert!(store.has(loc, &wire));
            assert!(!store.has(loc, &[wire.as_slice(), b"x"].concat()));
            for at in 0..len {
                let mut other = wire.clone();
                other[at] ^= 0x80;
                assert!(!store.has(loc, &other), "{len} bytes, another at {at}");
            }
        }
    }
}
