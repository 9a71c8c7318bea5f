//! Payment cards: 13 to 19 digits that begin like a card (ISO/IEC 7812) and pass the Luhn check,
//! with single spaces or dashes between them or without.

use std::ops::{Range, RangeInclusive};

const CARD_DIGITS: RangeInclusive<usize> = 13..=19;

/// Adds the cards in a text.
pub(super) fn find(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    runs(bytes, |range| run(bytes, range, found));
}

/// The runs of digits and separators that are long enough for a card. Blocks of bytes become masks
/// with a bit a byte; most blocks hold no such run, which a few shifts tell.
pub(super) fn runs(bytes: &[u8], mut found: impl FnMut(Range<usize>)) {
    let least = *CARD_DIGITS.start();
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut last = [0; BLOCK];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    // Bits of the block in hand, above those of the end of the block before it.
    let (mut window, mut done) = (0_u64, 0);
    for (at, block) in (0..).step_by(BLOCK).zip(blocks.iter().chain([&last])) {
        window = window >> BLOCK | bits(block) << CARRIED;
        if at + BLOCK <= done || !has_run(window) {
            continue;
        }
        // Some run ends in this block or goes on behind it.
        let mut probe = at.saturating_sub(CARRIED).max(done);
        while probe < (at + BLOCK).min(bytes.len()) {
            if !bytes.get(probe).is_some_and(|byte| in_card(*byte)) {
                probe += 1;
                continue;
            }
            let len = |part: &mut dyn Iterator<Item = &u8>| part.take_while(|byte| in_card(**byte)).count();
            let from = probe - len(&mut bytes.get(done..probe).unwrap_or_default().iter().rev());
            let to = probe + len(&mut bytes.get(probe..).unwrap_or_default().iter());
            if to - from >= least {
                found(from..to);
                done = to;
            }
            probe = to;
        }
    }
}

/// Bytes looked at together.
const BLOCK: usize = 48;
/// Bits kept of the block before: a run that ends in this one began at most 12 bytes before it, or
/// was found there.
const CARRIED: usize = 64 - BLOCK;

/// Whether 13 bits in a row are set.
fn has_run(window: u64) -> bool {
    let two = window & window >> 1;
    let four = two & two >> 2;
    let eight = four & four >> 4;
    eight & eight >> 5 != 0
}

/// A bit for each byte of a block: whether it can be part of a card.
#[cfg(not(all(target_family = "wasm", target_feature = "simd128")))]
fn bits(block: &[u8; BLOCK]) -> u64 {
    block.iter().rev().fold(0, |bits, byte| bits << 1 | u64::from(in_card(*byte)))
}

/// A bit for each byte of a block: whether it can be part of a card.
#[cfg(all(target_family = "wasm", target_feature = "simd128"))]
fn bits(block: &[u8; BLOCK]) -> u64 {
    use std::arch::wasm32::{i8x16_bitmask, u8x16_eq, u8x16_le, u8x16_splat, u8x16_sub, v128_load, v128_or};
    let lane = |part: &[u8; 16]| {
        // SAFETY: the pointer is that of 16 bytes, and `v128.load` wants no alignment.
        let bytes = unsafe { v128_load(part.as_ptr().cast()) };
        let digit = u8x16_le(u8x16_sub(bytes, u8x16_splat(b'0')), u8x16_splat(9));
        let separator = v128_or(u8x16_eq(bytes, u8x16_splat(b' ')), u8x16_eq(bytes, u8x16_splat(b'-')));
        u64::from(i8x16_bitmask(v128_or(digit, separator)))
    };
    block.as_chunks::<16>().0.iter().rev().fold(0, |bits, part| bits << 16 | lane(part))
}

fn in_card(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b' ' || byte == b'-'
}

/// Looks for cards in a run of digits and separators.
fn run(bytes: &[u8], run: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut from = run.start;
    while from < run.end {
        if !bytes.get(from).is_some_and(u8::is_ascii_digit) {
            from += 1;
            continue;
        }
        let group = group(bytes, from, run.end);
        let digits: Vec<(usize, u8)> = group
            .clone()
            .filter_map(|at| bytes.get(at).filter(|byte| byte.is_ascii_digit()).map(|byte| (at, byte - b'0')))
            .collect();
        if !in_hex(bytes, &group) {
            within(&digits, found);
        }
        from = group.end;
    }
}

/// The longest stretch from `from` without two separators in a row.
fn group(bytes: &[u8], from: usize, end: usize) -> Range<usize> {
    let (mut to, mut at) = (from, from);
    while at < end {
        if bytes.get(at).is_some_and(u8::is_ascii_digit) {
            to = at + 1;
        } else if at > to {
            break;
        }
        at += 1;
    }
    from..to
}

/// Whether letters beside the digits make them part of a hexadecimal number: a hash, an id.
fn in_hex(bytes: &[u8], range: &Range<usize>) -> bool {
    let letter_or_digit = |byte: &&u8| byte.is_ascii_alphanumeric();
    let before = bytes.get(..range.start).unwrap_or_default().iter().rev().take_while(letter_or_digit);
    let after = bytes.get(range.end..).unwrap_or_default().iter().take_while(letter_or_digit);
    let (mut letters, mut hex) = (false, true);
    for byte in before.chain(after) {
        letters |= byte.is_ascii_alphabetic();
        hex &= byte.is_ascii_hexdigit();
    }
    letters && hex
}

/// The cards among digits that stand together. Digits of one card end where a separator stands or
/// the digits end, so that a number is not found within a longer one.
fn within(digits: &[(usize, u8)], found: &mut Vec<Range<usize>>) {
    let separated = |i: usize| match (i.checked_sub(1).and_then(|i| digits.get(i)), digits.get(i)) {
        (Some((before, _)), Some((at, _))) => at - before > 1,
        _ => true,
    };
    let mut i = 0;
    while i < digits.len() {
        let longest = CARD_DIGITS.rev().find(|len| {
            let Some(card) = digits.get(i..i + len) else { return false };
            separated(i) && separated(i + len) && issued(card) && luhn(card)
        });
        match (longest, digits.get(i)) {
            (Some(len), Some((from, _))) => {
                let to = digits.get(i + len - 1).map_or(*from, |(to, _)| to + 1);
                found.push(*from..to);
                i += len;
            }
            _ => i += 1,
        }
    }
}

/// Whether a number begins like one that payment schemes issue: 3 to 6, and of 2 the ranges of Mir
/// and Mastercard (2200 to 2720). It keeps times in nanoseconds, of which one in ten passes the
/// Luhn check, from being masked.
fn issued(digits: &[(usize, u8)]) -> bool {
    let prefix = digits.iter().take(4).fold(0, |prefix, (_, digit)| prefix * 10 + u32::from(*digit));
    (3000..7000).contains(&prefix) || (2200..=2720).contains(&prefix)
}

/// ISO/IEC 7812-1 annex B: from the right, every second digit doubled, digits of the products
/// summed, divisible by ten. All zeros are no card.
fn luhn(digits: &[(usize, u8)]) -> bool {
    let sum = digits.iter().rev().enumerate().fold(0_u32, |sum, (i, (_, digit))| {
        let digit = u32::from(*digit);
        sum + match i % 2 {
            0 => digit,
            _ if digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        }
    });
    sum > 0 && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    fn find(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        super::find(text.as_bytes(), &mut found);
        found.into_iter().map(|range| text.get(range).unwrap().to_owned()).collect()
    }

    /// Test numbers that the card schemes and payment services publish.
    #[test]
    fn published_test_cards_are_found() {
        for card in [
            "4111111111111111",
            "5555555555554444",
            "378282246310005",
            "6011111111111117",
            "30569309025904",
            "3530111333300000",
            "4222222222222",
            "4111 1111 1111 1111",
            "5105-1051-0510-5100",
            "6304000000000000018",
        ] {
            for text in [
                card.to_owned(),
                format!("card={card}"),
                format!("pay with {card}, please"),
                format!("x{{\"n\":\"{card}\"}}"),
                format!("Visa{card}"),
                format!("card_{card}_x"),
            ] {
                assert_eq!(find(&text), [card], "in {text:?}");
            }
        }
    }

    #[test]
    fn cards_among_other_numbers_are_found() {
        let text = "order 17 4111111111111111 5555555555554444 20251121";
        assert_eq!(find(text), ["4111111111111111", "5555555555554444"]);
    }

    #[test]
    fn what_is_no_card_is_left_alone() {
        for text in [
            "4111111111111112",
            "1234567890123",
            "0000000000000000",
            "4111111111111111a",
            "deadbeef4111111111111111",
            "41111111111111111111111",
            "4111  1111  1111  1111",
            "1763701200000000000",
        ] {
            assert_eq!(find(text), Vec::<String>::new(), "in {text:?}");
        }
    }

    #[test]
    fn a_card_is_found_at_every_offset() {
        for before in 0..40 {
            let text = format!("{}:4111111111111111", "x".repeat(before));
            assert_eq!(find(&text), ["4111111111111111"], "after {before}");
        }
    }
}
