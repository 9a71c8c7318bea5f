//! Cards in what is base64-encoded, in either alphabet.
//!
//! Three digits are four characters, of which the first is `M`, `N` or `O` and the second `D`, `T`,
//! `j` or `z`. Any thirteen digits hold nine that stand so that they are twelve such characters,
//! wherever in the encoded text the digits begin.

use std::ops::Range;

/// Adds the encoded texts that hold a card. `suspects` are where such twelve characters begin.
pub(super) fn find(bytes: &[u8], suspects: &[usize], found: &mut Vec<Range<usize>>) {
    // A text is decoded once for each way to begin it.
    let mut done = [0; 4];
    for &at in suspects {
        let Some(done) = done.get_mut(at % 4).filter(|done| **done <= at) else { continue };
        let before = bytes.get(..at).unwrap_or_default().iter().rev().take_while(|byte| sextet(**byte).is_some());
        let start = at - before.count();
        let end = at + bytes.get(at..).unwrap_or_default().iter().take_while(|byte| sextet(**byte).is_some()).count();
        *done = end;
        let text = decode(bytes.get(start + (at - start) % 4..end).unwrap_or_default());
        let mut cards = Vec::new();
        super::suspects(&text, |suspect| {
            if let super::Suspect::Digits(range) = suspect {
                super::run(&text, range, &mut cards);
            }
        });
        if !cards.is_empty() {
            let padding = bytes.get(end..).unwrap_or_default().iter().take(2).take_while(|byte| **byte == b'=');
            found.push(start..end + padding.count());
        }
    }
}

fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for four in text.chunks(4) {
        let bits = four.iter().fold(0, |bits, byte| bits << 6 | u32::from(sextet(*byte).unwrap_or_default()));
        let [_, a, b, c] = (bits << (6 * (4 - four.len()))).to_be_bytes();
        out.extend([a, b, c].iter().take(four.len().saturating_sub(1)));
    }
    out
}

fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    /// Encoded by `base64` of GNU coreutils.
    #[test]
    fn cards_within_base64_are_found_wherever_they_begin() {
        for text in [
            "NDExMTExMTExMTExMTExMQ==",
            "eDQxMTExMTExMTExMTExMTE=",
            "eHg0MTExMTExMTExMTExMTEx",
            "eyJjYXJkIjoiNDExMTExMTExMTExMTExMSIsImN2diI6MTIzfQ==",
            "NDIyMjIyMjIyMjIyMg==",
            "Pj4_NTU1NTU1NTU1NTU1NDQ0ND8_Pg==",
        ] {
            let around = format!("/x?data={text}&y=1");
            let mut found = Vec::new();
            super::super::find(around.as_bytes(), &mut found);
            let found: Vec<_> = found.into_iter().map(|range| around.get(range).unwrap()).collect();
            assert_eq!(found, [text]);
        }
    }

    #[test]
    fn other_base64_is_left_alone() {
        // Sixteen digits that fail the Luhn check, and text.
        for text in ["NDExMTExMTExMTExMTExMg==", "bm90aGluZyB0byBzZWUgaGVyZSwgbW92ZSBhbG9uZw=="] {
            let mut found = Vec::new();
            super::super::find(text.as_bytes(), &mut found);
            assert!(found.is_empty(), "{text}: {found:?}");
        }
    }
}
