//! Checksums: crc32c, by whichever code is the fastest for so many bytes.

use crc_fast::{CrcAlgorithm, Digest};

/// From so many bytes on, folding with carry-less multiplication takes less time than the processor's own
/// instruction for a crc32c, which is what a short piece is better off with.
const LONG: usize = 256;

/// Goes on with a checksum over more bytes. One begins with 0, or with a number that makes it another checksum.
pub(crate) fn append(crc: u32, bytes: &[u8]) -> u32 {
    if bytes.len() < LONG {
        return crc32c::crc32c_append(crc, bytes);
    }
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!crc));
    digest.update(bytes);
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_pieces_make_the_same_checksum_as_the_standard_says() {
        // RFC 3720, B.4, and the check value of the catalogue of checksums.
        let falling: Vec<u8> = (0..32).rev().collect();
        for (bytes, crc) in [(&[0; 32][..], 0x8a91_36aa), (&[0xff; 32], 0x62a8_ab43), (&falling, 0x113f_db5c)] {
            assert_eq!(append(0, bytes), crc);
        }
        assert_eq!(append(0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_long_piece_has_the_checksum_of_its_short_ones() {
        let bytes: Vec<u8> = (0..5000_u32).map(|index| ((index * 31) >> 3) as u8).collect();
        for begin in [0, 1, 0xdead_beef, u32::MAX] {
            for length in [0, 1, 255, 256, 257, 1000, 4096, 5000] {
                let (piece, _) = bytes.split_at(length);
                let short = piece.chunks(100).fold(begin, append);
                assert_eq!(append(begin, piece), short, "{length} bytes, begun with {begin}");
            }
        }
    }
}
