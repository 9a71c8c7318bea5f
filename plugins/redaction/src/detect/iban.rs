//! International bank account numbers (ISO 13616), checked by the length of their country and by
//! their check digits.

use std::ops::Range;

use super::classes::{DIGIT, LETTER, windows};

/// The countries of the registry and how many characters their numbers have.
const LENGTHS: &[u8] = b"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";

/// Where a number could be: two letters and two digits. What stands before them may be the end of
/// another text.
pub(super) fn candidates(bytes: &[u8], mut candidate: impl FnMut(usize)) {
    let mut next = 0;
    windows(bytes, [LETTER, DIGIT], |from, [letter, digit]| {
        let mut starts = letter & letter >> 1 & digit >> 2 & digit >> 3;
        while starts != 0 {
            let at = (from + starts.trailing_zeros().cast_signed() as isize).cast_unsigned();
            if at >= next {
                candidate(at);
                next = at + 1;
            }
            starts &= starts - 1;
        }
    });
}

/// Adds the numbers in a text: at the beginning of a word, without separators or in groups of four.
pub(super) fn find(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    candidates(bytes, |at| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        if !before.is_some_and(u8::is_ascii_alphanumeric) {
            found.extend(number(bytes, at));
        }
    });
}

fn number(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let country = bytes.get(from..from + 2)?.to_ascii_uppercase();
    let known = LENGTHS.as_chunks::<4>().0.iter().find(|known| known.starts_with(&country))?;
    let [_, _, tens, ones] = known;
    let len = usize::from(tens - b'0') * 10 + usize::from(ones - b'0');
    let (mut number, mut at) = (Vec::with_capacity(len), from);
    while number.len() < len {
        let byte = *bytes.get(at)?;
        if byte.is_ascii_alphanumeric() {
            number.push(byte.to_ascii_uppercase());
            at += 1;
        } else if number.len().is_multiple_of(4) && matches!(byte, b' ' | b'-' | b'+') {
            at += 1;
        } else if number.len().is_multiple_of(4) && bytes.get(at..at + 3) == Some(b"%20") {
            at += 3;
        } else {
            return None;
        }
    }
    let ends = !bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    (ends && checks(&number)).then_some(from..at)
}

/// ISO 7064 mod 97-10: the first four characters moved to the end, letters as 10 to 35.
fn checks(number: &[u8]) -> bool {
    let Some((head, rest)) = number.split_at_checked(4) else { return false };
    let rest = rest.iter().chain(head).fold(0_u32, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    rest == 1
}

#[cfg(test)]
mod tests {
    fn find(text: &str) -> Vec<&str> {
        crate::detect::found_in(super::find, text)
    }

    /// Examples of the SWIFT registry.
    #[test]
    fn numbers_of_the_registry_are_found() {
        for number in [
            "GB29NWBK60161331926819",
            "DE89370400440532013000",
            "FR1420041010050500013M02606",
            "NO9386011117947",
            "MT84MALT011000012345MTLCAST001S",
            "GB29 NWBK 6016 1331 9268 19",
            "de89370400440532013000",
            "GB29%20NWBK%206016%201331%209268%2019",
        ] {
            for text in [number.to_owned(), format!("iban={number}&x=1"), format!("{}\"{number}\"", "x".repeat(44))] {
                assert_eq!(find(&text), [number], "{text}");
            }
        }
    }

    #[test]
    fn what_does_not_check_is_left_alone() {
        for text in [
            "GB29NWBK60161331926818",
            "GB29NWBK6016133192681",
            "XX89370400440532013000",
            "xGB29NWBK60161331926819",
            "DE893704004405320130001",
        ] {
            assert_eq!(find(text), [""; 0], "{text}");
        }
    }
}
