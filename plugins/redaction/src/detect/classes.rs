//! Classes of bytes, found for many bytes at once.
//!
//! A text is read in blocks of 48 bytes. Of each wanted set of classes the caller sees a window: a
//! bit for each byte of the block, above those of the last 16 bytes of the block before it. Most
//! blocks hold nothing of interest, which a few shifts tell.

/// `0` to `9`.
pub const DIGIT: u8 = 1;
/// What stands between the digits of a card: space, `-`, `+`, and `%`, which begins an encoded space.
pub const SEPARATOR: u8 = 1 << 1;
/// The first of the four characters that three digits in a row are in base64.
pub const FIRST: u8 = 1 << 2;
/// The second.
pub const SECOND: u8 = 1 << 3 | 1 << 4;
/// ASCII letters.
pub const LETTER: u8 = 1 << 5 | 1 << 6;

/// Bytes looked at together.
pub const BLOCK: usize = 48;
/// Bytes of the block before that are in the window, too.
pub const CARRIED: usize = 64 - BLOCK;

/// A class is a set of low halves of a byte and a set of high halves.
const LOW: [u8; 16] = {
    let mut table = [0; 16];
    let mut low = 0;
    while low < 16 {
        let mut classes = 0;
        if low <= 9 {
            classes |= DIGIT;
        }
        if low == 0x0 || low == 0x5 || low == 0xb || low == 0xd {
            classes |= SEPARATOR;
        }
        if low >= 0xd {
            classes |= FIRST;
        }
        if low == 0x4 {
            classes |= 1 << 3;
        }
        if low == 0xa {
            classes |= 1 << 4;
        }
        if low >= 1 {
            classes |= 1 << 5;
        }
        if low <= 0xa {
            classes |= 1 << 6;
        }
        #[expect(clippy::indexing_slicing, reason = "a constant: the index is checked when it is compiled")]
        {
            table[low] = classes;
        }
        low += 1;
    }
    table
};
const HIGH: [u8; 16] = {
    let mut table = [0; 16];
    table[2] = SEPARATOR;
    table[3] = DIGIT;
    table[4] = FIRST | 1 << 3 | 1 << 5;
    table[5] = 1 << 3 | 1 << 6;
    table[6] = 1 << 4 | 1 << 5;
    table[7] = 1 << 4 | 1 << 6;
    table
};

/// Calls `look` with each block: where its window begins (less than zero for the first, whose window
/// begins before the text), and a window for each set of classes.
#[inline]
pub fn windows<const N: usize>(bytes: &[u8], sets: [u8; N], mut look: impl FnMut(isize, [u64; N])) {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut last = [0; BLOCK];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let mut windows = [0_u64; N];
    for (at, block) in (0_isize..).step_by(BLOCK).zip(blocks.iter().chain([&last])) {
        for (window, bits) in windows.iter_mut().zip(bits(block, sets)) {
            *window = *window >> BLOCK | bits << CARRIED;
        }
        look(at - CARRIED as isize, windows);
    }
}

/// For each set of classes, a bit for each byte of a block.
#[cfg(not(all(target_family = "wasm", target_feature = "simd128")))]
#[inline]
fn bits<const N: usize>(block: &[u8; BLOCK], sets: [u8; N]) -> [u64; N] {
    const CLASSES: [u8; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            #[expect(clippy::indexing_slicing, reason = "a constant: the index is checked when it is compiled")]
            {
                table[byte] = LOW[byte & 15] & HIGH[byte >> 4];
            }
            byte += 1;
        }
        table
    };
    let mut bits = [0; N];
    for byte in block.iter().rev() {
        let classes = CLASSES.get(usize::from(*byte)).copied().unwrap_or_default();
        for (bits, set) in bits.iter_mut().zip(sets) {
            *bits = *bits << 1 | u64::from(classes & set != 0);
        }
    }
    bits
}

/// For each set of classes, a bit for each byte of a block.
#[cfg(all(target_family = "wasm", target_feature = "simd128"))]
#[inline]
fn bits<const N: usize>(block: &[u8; BLOCK], sets: [u8; N]) -> [u64; N] {
    use std::arch::wasm32::{i8x16_bitmask, i8x16_eq, i8x16_swizzle, u8x16_shr, u8x16_splat, v128_and, v128_load};
    // SAFETY: the pointers are those of 16 bytes, and `v128.load` wants no alignment.
    let (low, high) = unsafe { (v128_load(LOW.as_ptr().cast()), v128_load(HIGH.as_ptr().cast())) };
    let mut bits = [0; N];
    for part in block.as_chunks::<16>().0.iter().rev() {
        // SAFETY: the pointer is that of 16 bytes, and `v128.load` wants no alignment.
        let bytes = unsafe { v128_load(part.as_ptr().cast()) };
        let by_low = i8x16_swizzle(low, v128_and(bytes, u8x16_splat(15)));
        let by_high = i8x16_swizzle(high, u8x16_shr(bytes, 4));
        let classes = v128_and(by_low, by_high);
        for (bits, set) in bits.iter_mut().zip(sets) {
            let not_in_set = i8x16_eq(v128_and(classes, u8x16_splat(set)), u8x16_splat(0));
            *bits = *bits << 16 | u64::from(!i8x16_bitmask(not_in_set));
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_in_its_classes_wherever_it_stands() {
        let is = |byte: u8, set: u8| match set {
            DIGIT => byte.is_ascii_digit(),
            SEPARATOR => b" -+%".contains(&byte),
            FIRST => b"MNO".contains(&byte),
            SECOND => b"DTjz".contains(&byte),
            _ => byte.is_ascii_alphabetic(),
        };
        for byte in 0..=255_u8 {
            for place in [0, 1, 47, 48, 63, 64, 95, 100] {
                let mut text = vec![b'\n'; place];
                text.push(byte);
                let sets = [DIGIT, SEPARATOR, FIRST, SECOND, LETTER];
                let mut seen = [false; 5];
                windows(&text, sets, |from, windows| {
                    let at = place as isize - from;
                    for (seen, window) in seen.iter_mut().zip(windows) {
                        *seen |= (0..64).contains(&at) && window >> at & 1 == 1;
                        assert!(window == 0 || window == 1 << at, "only this byte is in any class");
                    }
                });
                assert_eq!(seen, sets.map(|set| is(byte, set)), "{byte:#x} at {place}");
            }
        }
    }
}
