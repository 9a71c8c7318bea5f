//! The bytes of one request as the pieces that they are in, none of which is copied.
//!
//! A rope goes out as one piece of data: HTTP/2 cuts it into full frames, and a frame is one write
//! however many pieces it spans. Pieces sent one by one would each end in a frame that is not full.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Pieces that are read one after the other.
#[derive(Debug, Clone, Default)]
pub(in crate::exporter) struct Rope {
    /// None of them is empty.
    pieces: VecDeque<Bytes>,
    /// What they hold together: it is asked for several times a frame.
    bytes: usize,
}

impl Rope {
    /// A rope of these pieces.
    pub fn new(pieces: &[Bytes]) -> Self {
        let pieces: VecDeque<Bytes> = pieces.iter().filter(|piece| !piece.is_empty()).cloned().collect();
        Self { bytes: pieces.iter().map(Bytes::len).sum(), pieces }
    }
}

impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], Bytes::as_ref)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(&self.pieces);
        pairs.map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, count: usize) {
        let mut left = count.min(self.bytes);
        self.bytes -= left;
        while let Some(front) = self.pieces.front_mut()
            && left > 0
        {
            let step = left.min(front.len());
            front.advance(step);
            left -= step;
            if front.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The empty piece must not look like the end.
    fn rope() -> Rope {
        Rope::new(&["one ", "", "two ", "three"].map(|piece| Bytes::from_static(piece.as_bytes())))
    }

    #[test]
    fn a_rope_reads_as_its_pieces_one_after_the_other_whatever_the_steps() {
        for step in 1..=13 {
            let (mut rope, mut read) = (rope(), Vec::new());
            while rope.has_remaining() {
                let step = step.min(rope.remaining());
                let mut slices = [IoSlice::new(&[]); 3];
                let filled = rope.chunks_vectored(&mut slices);
                let shown: Vec<u8> = slices.iter().take(filled).flat_map(|slice| slice.iter().copied()).collect();
                assert_eq!(shown.len(), rope.remaining());
                assert!(shown.starts_with(rope.chunk()) && !rope.chunk().is_empty());
                read.extend(shown.into_iter().take(step));
                rope.advance(step);
            }
            assert_eq!(read, b"one two three", "in steps of {step}");
        }
    }

    #[test]
    fn a_rope_shows_no_more_pieces_than_there_is_room_for() {
        let rope = rope();
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(rope.chunks_vectored(&mut slices), 2);
        assert_eq!(slices.map(|slice| slice.to_vec()), [b"one ".to_vec(), b"two ".to_vec()]);
    }
}
