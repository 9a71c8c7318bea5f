//! Detectors: what they find in a run of bytes.
//!
//! A detector gets many texts in one buffer and gives the ranges of what it found. Most bytes are
//! of no interest, so each first jumps to where something could be.

use std::ops::Range;

/// A kind of thing that must not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detector {
    /// 13 to 19 digits, single spaces or dashes between them, that pass the Luhn check and begin
    /// like a card (ISO/IEC 7812).
    PaymentCard,
    /// `local@domain.tld`.
    Email,
}

/// Names that later versions will know.
const LATER: [&str; 9] =
    ["ipv4", "ipv6", "phone", "iban", "jwt", "bearer_token", "api_key", "url_credentials", "url_query_secrets"];

const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

impl Detector {
    /// The detector of this name.
    pub fn named(name: &str) -> Result<Self, String> {
        match name {
            "payment_card" => Ok(Self::PaymentCard),
            "email" => Ok(Self::Email),
            _ if LATER.contains(&name) || name.starts_with("national_id/") => {
                Err(format!("the detector `{name}` is not supported yet: use `payment_card` or `email`, or a pattern in `blocked_values`"))
            }
            _ => Err(format!("unknown detector `{name}`: use `payment_card` or `email`")),
        }
    }

    /// Adds the ranges of what it finds.
    pub fn find(self, bytes: &[u8], found: &mut Vec<Range<usize>>) {
        match self {
            Self::PaymentCard => runs(bytes, |range| run(bytes, range, found)),
            Self::Email => emails(bytes, found),
        }
    }
}

/// Adds ranges such that every text in which a detector finds something has a part of one. `bytes`
/// are many texts back to back, so a range may reach across several. Much cheaper than finding.
pub fn candidates(detectors: &[Detector], bytes: &[u8], found: &mut Vec<Range<usize>>) {
    for detector in detectors {
        match detector {
            Detector::PaymentCard => runs(bytes, |run| found.push(run)),
            Detector::Email => found.extend(memchr::memchr_iter(b'@', bytes).map(|at| at..at + 1)),
        }
    }
}

/// The runs of digits and separators that are long enough for a card. Such a run fills at least 13
/// bytes, so one of every 13 is in it: only there is it worth to look closer.
fn runs(bytes: &[u8], mut found: impl FnMut(Range<usize>)) {
    let stride = *CARD_DIGITS.start();
    let mut probe = stride - 1;
    while let Some(&byte) = bytes.get(probe) {
        if !in_card(byte) {
            probe += stride;
            continue;
        }
        let from = probe - bytes.get(..probe).unwrap_or_default().iter().rev().take_while(|byte| in_card(**byte)).count();
        let to = probe + bytes.get(probe..).unwrap_or_default().iter().take_while(|byte| in_card(**byte)).count();
        if to - from >= stride {
            found(from..to);
        }
        probe = to + stride;
    }
}

fn in_card(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b' ' || byte == b'-'
}

/// Looks for cards in a run of digits and separators. A letter beside the digits makes them part
/// of something else (a hash, an id).
fn run(bytes: &[u8], run: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut from = run.start;
    while from < run.end {
        if !bytes.get(from).is_some_and(u8::is_ascii_digit) {
            from += 1;
            continue;
        }
        let group = group(bytes, from, run.end);
        let digits: Vec<(usize, u8)> =
            group.clone().filter_map(|at| bytes.get(at).filter(|byte| byte.is_ascii_digit()).map(|byte| (at, byte - b'0'))).collect();
        if !beside_letter(bytes, &group) {
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

fn beside_letter(bytes: &[u8], range: &Range<usize>) -> bool {
    let letter = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    letter(range.start.checked_sub(1)) || letter(Some(range.end))
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

/// RFC 5321 atoms without quoting, a domain with at least one dot and a letter at the end.
fn emails(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    let mut least = 0;
    for at in memchr::memchr_iter(b'@', bytes) {
        let local = bytes.get(least..at).unwrap_or_default();
        let from = at - local.iter().rev().take_while(|byte| in_local(**byte)).count();
        let domain = bytes.get(at + 1..).unwrap_or_default();
        let mut to = at + 1 + domain.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')).count();
        while to > at + 1 && !bytes.get(to - 1).is_some_and(u8::is_ascii_alphabetic) {
            to -= 1;
        }
        let domain = bytes.get(at + 1..to).unwrap_or_default();
        let dotted = domain.iter().position(|byte| *byte == b'.').is_some_and(|dot| dot > 0);
        if from < at && dotted {
            found.push(from..to);
            least = to;
        }
    }
}

fn in_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte) || byte >= 0x80
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn find(detector: Detector, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        detector.find(text.as_bytes(), &mut found);
        found.into_iter().map(|range| text.get(range).unwrap().to_owned()).collect()
    }

    /// Test numbers that the card schemes and payment services publish.
    #[test]
    fn published_test_cards_are_found() {
        for card in [
            "4111111111111111", "5555555555554444", "378282246310005", "6011111111111117", "30569309025904",
            "3530111333300000", "4222222222222", "4111 1111 1111 1111", "5105-1051-0510-5100", "6304000000000000018",
        ] {
            for text in [card.to_owned(), format!("card={card}"), format!("pay with {card}, please"), format!("x{{\"n\":\"{card}\"}}")] {
                assert_eq!(find(Detector::PaymentCard, &text), [card], "in {text:?}");
            }
        }
    }

    #[test]
    fn cards_among_other_numbers_are_found() {
        let text = "order 17 4111111111111111 5555555555554444 20251121";
        assert_eq!(find(Detector::PaymentCard, text), ["4111111111111111", "5555555555554444"]);
    }

    #[test]
    fn what_is_no_card_is_left_alone() {
        for text in [
            "4111111111111112", "1234567890123", "0000000000000000", "4111111111111111a", "id_4111111111111111",
            "41111111111111111111111", "4111  1111  1111  1111", "1763701200000000000",
        ] {
            assert_eq!(find(Detector::PaymentCard, text), Vec::<String>::new(), "in {text:?}");
        }
    }

    #[test]
    fn a_card_is_found_at_every_offset() {
        for before in 0..40 {
            let text = format!("{}:4111111111111111", "x".repeat(before));
            assert_eq!(find(Detector::PaymentCard, &text), ["4111111111111111"], "after {before}");
        }
    }

    #[test]
    fn addresses_are_found_and_nothing_else() {
        assert_eq!(find(Detector::Email, "mail ada.lovelace+x@example.co.uk, or bob@x.io."), ["ada.lovelace+x@example.co.uk", "bob@x.io"]);
        assert_eq!(find(Detector::Email, "https://user:secret@host/x"), Vec::<String>::new());
        assert_eq!(find(Detector::Email, "a@b, @x.com, x@, @, x@.com, x@1.2"), Vec::<String>::new());
        assert_eq!(find(Detector::Email, "<ada@example.com>"), ["ada@example.com"]);
    }
}
