//! Memory in which a write is put together.

use std::io;

use memmap2::{Advice, MmapMut};

use super::{BLOCK, Pieces};

/// A huge page of common machines. To hand a disk one piece of memory takes the system far less than to
/// hand it as many small pages.
const HUGE: usize = 2 << 20;

/// From here on huge pages are asked for; a log that is written little does without.
const LARGE: usize = 256 << 10;

/// Memory that one large write has made larger than this is not kept.
const KEEP: usize = 4 << 20;

/// Memory that begins at a multiple of a block, kept from one write to the next.
#[derive(Debug, Default)]
pub struct Buffer {
    memory: Option<MmapMut>,
}

impl Buffer {
    /// Puts pieces of `length` bytes behind `before`, and zeros behind them up to the end of a block.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn fill(&mut self, before: &[u8], length: usize, pieces: &Pieces<'_>) -> io::Result<&[u8]> {
        let needed = (before.len() + length).next_multiple_of(BLOCK);
        let memory = match self.memory.take().filter(|memory| (needed..=KEEP.max(needed)).contains(&room(memory))) {
            Some(memory) => memory,
            None => map(needed)?,
        };
        let memory = self.memory.insert(memory);
        let start = start(memory);
        let blocks = memory.get_mut(start..start + needed).unwrap_or_default();
        let mut rest = &mut *blocks;
        let mut put = |piece: &[u8]| {
            if let Some((place, behind)) = std::mem::take(&mut rest).split_at_mut_checked(piece.len()) {
                place.copy_from_slice(piece);
                rest = behind;
            }
        };
        put(before);
        pieces(&mut put);
        rest.fill(0);
        Ok(blocks)
    }
}

fn map(needed: usize) -> io::Result<MmapMut> {
    if needed < LARGE {
        return MmapMut::map_anon(needed.next_power_of_two());
    }
    let memory = MmapMut::map_anon(needed.next_multiple_of(HUGE) + HUGE)?;
    // A system that has none gives others.
    let _ = memory.advise(Advice::HugePage);
    Ok(memory)
}

/// Where the part that is used begins.
fn start(memory: &MmapMut) -> usize {
    if memory.len() > HUGE { memory.as_ptr().align_offset(HUGE) } else { 0 }
}

/// How long that part is at most.
fn room(memory: &MmapMut) -> usize {
    if memory.len() > HUGE { memory.len() - HUGE } else { memory.len() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_in_it_before_is_nowhere_in_the_next_write() {
        let mut buffer = Buffer::default();
        for (before, length) in [(0, 10), (5, 4091), (4095, 2), (0, 300_000), (3, 1_000_000), (0, 5_000_000), (7, 1)] {
            let (head, piece) = (vec![1; before], vec![2; length]);
            let blocks = buffer.fill(&head, length, &|give| piece.chunks(1000).for_each(&mut *give)).unwrap();
            assert_eq!(blocks.as_ptr().align_offset(4096), 0);
            assert_eq!(blocks.len(), (before + length).div_ceil(4096) * 4096);
            let expected = [head, piece, vec![0; blocks.len() - before - length]].concat();
            assert!(blocks == expected, "{length} behind {before}");
        }
    }

    #[test]
    fn the_memory_of_a_large_write_is_not_kept() {
        let mut buffer = Buffer::default();
        for length in [20 << 20, 1] {
            buffer.fill(&[], length, &|_| {}).unwrap();
        }
        assert!(room(buffer.memory.as_ref().unwrap()) <= KEEP);
    }
}
