//! Payment cards: 13 to 19 digits that begin like a card (ISO/IEC 7812) and pass the Luhn check,
//! without separators or in the groups that cards are printed in, with dashes or spaces between them
//! (percent-encoded ones, too); and digits without separators within base64.

use std::ops::{Range, RangeInclusive};

mod base64;

use super::classes::{BLOCK, DIGIT, FIRST, SECOND, SEPARATOR, windows};

const CARD_DIGITS: RangeInclusive<usize> = 13..=19;

/// Adds the cards in a text.
pub(super) fn find(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    let mut encoded = Vec::new();
    suspects(bytes, |suspect| match suspect {
        Suspect::Digits(range) => run(bytes, range, found),
        Suspect::Encoded(at) => encoded.push(at),
    });
    base64::find(bytes, &encoded, found);
}

/// Where a card could be.
pub(super) enum Suspect {
    /// Digits and separators, long enough for a card.
    Digits(Range<usize>),
    /// What nine digits in a row are in base64, and where it begins.
    Encoded(usize),
}

/// Adds the places where cards could be.
pub(super) fn candidates(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    suspects(bytes, |suspect| {
        found.push(match suspect {
            Suspect::Digits(range) => range,
            Suspect::Encoded(at) => at..at + 1,
        });
    });
}

fn suspects(bytes: &[u8], mut suspect: impl FnMut(Suspect)) {
    let (mut done, mut next) = (0, 0);
    windows(bytes, [DIGIT | SEPARATOR, FIRST, SECOND], |from, [in_card, first, second]| {
        if has_run(in_card) {
            // Some run ends in this window or goes on behind it.
            let end = (from + 64).cast_unsigned().min(bytes.len());
            let mut probe = from.max(0).cast_unsigned().max(done);
            while probe < end {
                if !bytes.get(probe).is_some_and(|byte| is_in_card(*byte)) {
                    probe += 1;
                    continue;
                }
                let len = |part: &mut dyn Iterator<Item = &u8>| part.take_while(|byte| is_in_card(**byte)).count();
                let from = probe - len(&mut bytes.get(done..probe).unwrap_or_default().iter().rev());
                let to = probe + len(&mut bytes.get(probe..).unwrap_or_default().iter());
                if to - from >= *CARD_DIGITS.start() {
                    suspect(Suspect::Digits(from..to));
                    done = to;
                }
                probe = to;
            }
        }
        let four = first & second >> 1;
        let mut three = four & four >> 4 & four >> 8;
        while three != 0 {
            // A window that begins before the text has no bits there.
            let at = (from + three.trailing_zeros().cast_signed() as isize).cast_unsigned();
            if at >= next {
                suspect(Suspect::Encoded(at));
                next = at + 1;
            }
            three &= three - 1;
        }
    });
}

// A run is found in the window in which its thirteenth byte stands, so twelve bytes of the block
// before must be in it.
const _: () = assert!(64 - BLOCK >= 12);

/// Whether 13 bits in a row are set.
fn has_run(window: u64) -> bool {
    let two = window & window >> 1;
    let four = two & two >> 2;
    let eight = four & four >> 4;
    eight & eight >> 5 != 0
}

fn is_in_card(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b' ' | b'-' | b'+' | b'%')
}

/// A space, percent-encoded.
const ENCODED_SPACE: &[u8] = b"%20";

/// How many bytes the separator at a place has.
fn separator(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b' ' | b'-' | b'+' => Some(1),
        b'%' => bytes.get(at..)?.starts_with(ENCODED_SPACE).then_some(ENCODED_SPACE.len()),
        _ => None,
    }
}

/// Looks for cards in a run of digits and separators.
pub(super) fn run(bytes: &[u8], run: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut from = run.start;
    while from < run.end {
        match bytes.get(from) {
            Some(byte) if byte.is_ascii_digit() => {}
            // The two digits after it are no part of a number.
            Some(b'%') if is_escape(bytes, from) => {
                from += 3;
                continue;
            }
            _ => {
                from += 1;
                continue;
            }
        }
        let digits = group(bytes, from, run.end);
        let end = digits.last().map_or(from, |(at, _)| *at) + 1;
        if !in_hex(bytes, &(from..end)) {
            within(bytes, &digits, found);
        }
        from = end;
    }
}

fn is_escape(bytes: &[u8], at: usize) -> bool {
    bytes.get(at) == Some(&b'%')
        && bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// The digits from `from` on, until two separators in a row.
fn group(bytes: &[u8], from: usize, end: usize) -> Vec<(usize, u8)> {
    let (mut digits, mut at) = (Vec::new(), from);
    while at < end {
        match (bytes.get(at), separator(bytes, at)) {
            (Some(byte), _) if byte.is_ascii_digit() => {
                digits.push((at, byte - b'0'));
                at += 1;
            }
            (_, Some(len)) if bytes.get(at + len).is_some_and(u8::is_ascii_digit) => at += len,
            _ => break,
        }
    }
    digits
}

/// Whether letters beside the digits make them part of a hexadecimal number: a hash, an id.
fn in_hex(bytes: &[u8], range: &Range<usize>) -> bool {
    let letter_or_digit = |byte: &&u8| byte.is_ascii_alphanumeric();
    let before = bytes.get(..range.start).unwrap_or_default();
    let mut start = before.len() - before.iter().rev().take_while(letter_or_digit).count();
    if start.checked_sub(1).is_some_and(|at| is_escape(bytes, at)) {
        start += 2;
    }
    let before = before.get(start..).unwrap_or_default().iter();
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
fn within(bytes: &[u8], digits: &[(usize, u8)], found: &mut Vec<Range<usize>>) {
    let separated = |i: usize| match (i.checked_sub(1).and_then(|i| digits.get(i)), digits.get(i)) {
        (Some((before, _)), Some((at, _))) => at - before > 1,
        _ => true,
    };
    let mut i = 0;
    while i < digits.len() {
        let longest = CARD_DIGITS.rev().find(|len| {
            let Some(card) = digits.get(i..i + len) else { return false };
            separated(i) && separated(i + len) && grouped(bytes, card) && issued(card) && luhn(card)
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

/// Whether digits stand in the groups that cards are printed in: none, fours, 4-6-5, 4-6-4 or 6-13,
/// always with the same separator. Numbers side by side seldom do.
fn grouped(bytes: &[u8], digits: &[(usize, u8)]) -> bool {
    let (mut groups, mut len, mut before, mut with) = (Vec::new(), 0, None, None);
    for (at, _) in digits {
        if let Some(before) = before.filter(|before| *before + 1 < *at) {
            groups.push(len);
            len = 0;
            let separator = bytes.get(before + 1);
            if with.is_some_and(|with| with != separator) {
                return false;
            }
            with = Some(separator);
        }
        len += 1;
        before = Some(*at);
    }
    groups.push(len);
    match groups.as_slice() {
        [_] | [4, 6, 4 | 5] | [6, 13] => true,
        [fours @ .., last] => *last <= 4 && fours.iter().all(|len| *len == 4),
        [] => false,
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
