//! Numbers that states give to people, each in the form of its country and with its check digits
//! where it has some.

use std::ops::Range;

use super::classes::{DIGIT, windows};

/// A country whose numbers are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Country {
    /// Brazil, CPF.
    Br,
    /// Canada, social insurance number.
    Ca,
    /// Germany, Steuer-Identifikationsnummer.
    De,
    /// Spain, DNI and NIE.
    Es,
    /// France, NIR.
    Fr,
    /// The United Kingdom, National Insurance number.
    Gb,
    /// India, Aadhaar.
    In,
    /// Italy, codice fiscale.
    It,
    /// Poland, PESEL.
    Pl,
    /// The United States, social security number.
    Us,
}

/// The countries by their ISO 3166 codes.
pub const COUNTRIES: [(&str, Country); 10] = [
    ("BR", Country::Br),
    ("CA", Country::Ca),
    ("DE", Country::De),
    ("ES", Country::Es),
    ("FR", Country::Fr),
    ("GB", Country::Gb),
    ("IN", Country::In),
    ("IT", Country::It),
    ("PL", Country::Pl),
    ("US", Country::Us),
];

/// The forms of a number: `9` is a digit, `A` a letter, anything else is itself.
fn forms(country: Country) -> &'static [&'static str] {
    match country {
        Country::Br => &["999.999.999-99", "99999999999"],
        Country::Ca => &["999-999-999", "999 999 999"],
        Country::De => &["99 999 999 999", "99999999999"],
        Country::Es => &["99999999A", "99999999-A", "A9999999A", "A-9999999-A"],
        Country::Fr => &["9 99 99 99 999 999 99", "999999999999999", "9 99 99 9A 999 999 99", "999999A99999999"],
        Country::Gb => &["AA999999A", "AA 99 99 99 A"],
        Country::In => &["9999 9999 9999", "9999-9999-9999"],
        Country::It => &["AAAAAA99A99A999A"],
        Country::Pl => &["99999999999"],
        Country::Us => &["999-99-9999", "999 99 9999"],
    }
}

/// Where a number could be: two digits side by side, which all of them have. They are common, so each
/// text is told of only once a window.
pub(super) fn candidates(bytes: &[u8], mut candidate: impl FnMut(usize)) {
    let mut next = 0;
    windows(bytes, [DIGIT], |from, [digit]| {
        let mut two = digit & digit >> 1;
        while two != 0 {
            let at = (from + two.trailing_zeros().cast_signed() as isize).cast_unsigned();
            if at >= next {
                candidate(at);
                next = at + 1;
            }
            two &= two - 1;
        }
    });
}

/// Adds the numbers in a text: at the beginning of a word, as all of them are.
pub(super) fn find(country: Country, bytes: &[u8], found: &mut Vec<Range<usize>>) {
    let mut from = 0;
    while from < bytes.len() {
        let rest = bytes.get(from..).unwrap_or_default();
        let begins = from.checked_sub(1).and_then(|at| bytes.get(at)).is_none_or(|before| !in_word(*before));
        let number = forms(country).iter().find(|form| begins && fits(form, rest) && checks(country, rest, form.len()));
        match number {
            Some(form) => {
                found.push(from..from + form.len());
                from += form.len();
            }
            None => from += 1,
        }
    }
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// Whether a text begins with a form, and no more of a word follows.
fn fits(form: &str, text: &[u8]) -> bool {
    let same = |(form, byte): (u8, &u8)| match form {
        b'9' => byte.is_ascii_digit(),
        b'A' => byte.is_ascii_alphabetic(),
        other => *byte == other,
    };
    let after = text.get(form.len());
    let ends = match after {
        Some(b'-' | b'.') => !text.get(form.len() + 1).is_some_and(u8::is_ascii_alphanumeric),
        Some(byte) => !in_word(*byte),
        None => true,
    };
    text.len() >= form.len() && form.bytes().zip(text).all(same) && ends
}

fn checks(country: Country, text: &[u8], len: usize) -> bool {
    let plain: Vec<u8> =
        text.iter().take(len).filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_uppercase).collect();
    let digits: Vec<u32> = plain.iter().map(|byte| u32::from(byte.wrapping_sub(b'0'))).collect();
    let same = digits.windows(2).all(|two| two.first() == two.last());
    match country {
        Country::Br => !same && cpf(&digits),
        Country::Ca => !same && luhn(&digits),
        Country::De => tax_id(&digits),
        Country::Es => dni(&plain),
        Country::Fr => nir(&plain),
        Country::Gb => nino(&plain),
        Country::In => digits.first().is_some_and(|first| *first > 1) && verhoeff(&digits),
        Country::It => codice(&plain),
        Country::Pl => pesel(&digits),
        Country::Us => ssn(&digits),
    }
}

fn number(digits: &[u32]) -> u64 {
    digits.iter().fold(0, |number, digit| number * 10 + u64::from(*digit))
}

fn weighted(digits: &[u32], weights: impl Iterator<Item = u32>) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// Two check digits, each modulo 11.
fn cpf(digits: &[u32]) -> bool {
    (9..11).all(|at| {
        let sum = weighted(digits, (2..=at as u32 + 1).rev());
        digits.get(at) == Some(&(sum * 10 % 11 % 10))
    })
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| if i % 2 == 0 { *digit } else { digit * 2 / 10 + digit * 2 % 10 })
        .sum();
    sum.is_multiple_of(10)
}

/// ISO 7064 mod 11, 10; of the first ten digits one stands twice or three times.
fn tax_id(digits: &[u32]) -> bool {
    let Some((check, first)) = digits.split_last() else { return false };
    let times = |digit: u32| first.iter().filter(|other| **other == digit).count();
    let most = (0..10).map(times).max().unwrap_or_default();
    let repeated = (0..10).filter(|digit| times(*digit) > 1).count();
    let product = first.iter().fold(10, |product, digit| {
        let sum = (digit + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    first.first() != Some(&0) && repeated == 1 && most <= 3 && (11 - product) % 10 == *check
}

/// A letter by the remainder of 23; the first letter of a NIE is a digit.
fn dni(plain: &[u8]) -> bool {
    const LETTERS: &[u8] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let Some((letter, rest)) = plain.split_last() else { return false };
    let rest = rest.iter().map(|byte| match byte {
        b'X' => Some(0),
        b'Y' => Some(1),
        b'Z' => Some(2),
        byte => byte.is_ascii_digit().then(|| u32::from(byte - b'0')),
    });
    let digits: Option<Vec<u32>> = rest.collect();
    digits.is_some_and(|digits| LETTERS.get(number(&digits) as usize % 23) == Some(letter))
}

/// 97 minus the number modulo 97; the departments of Corsica are `2A` and `2B`.
fn nir(plain: &[u8]) -> bool {
    let Some((body, key)) = plain.split_at_checked(13) else { return false };
    let mut less = 0;
    let digit = |(i, byte): (usize, &u8)| match (i, byte) {
        (6, b'A') => {
            less = 1_000_000;
            Some(0)
        }
        (6, b'B') => {
            less = 2_000_000;
            Some(0)
        }
        (_, byte) => byte.is_ascii_digit().then(|| u32::from(byte - b'0')),
    };
    let body: Option<Vec<u32>> = body.iter().enumerate().map(digit).collect();
    let key: Vec<u32> = key.iter().map(|byte| u32::from(byte.wrapping_sub(b'0'))).collect();
    body.is_some_and(|body| {
        let month = body.get(3).zip(body.get(4)).map_or(0, |(tens, ones)| tens * 10 + ones);
        let sex = matches!(body.first(), Some(1..=4 | 7 | 8));
        let valid_month = matches!(month, 1..=12 | 20 | 30..=42 | 50..=99);
        sex && valid_month
            && number(&body).checked_sub(less).is_some_and(|number| 97 - number % 97 == self::number(&key))
    })
}

/// Pairs of letters that no National Insurance number begins with.
const NOT_GIVEN: [[u8; 2]; 7] = [*b"BG", *b"GB", *b"NK", *b"KN", *b"TN", *b"NT", *b"ZZ"];

/// Letters that are not given out, and `A` to `D` at the end.
fn nino(plain: &[u8]) -> bool {
    match plain {
        [first, second, .., last] => {
            !b"DFIQUV".contains(first)
                && !b"DFIOQUV".contains(second)
                && !NOT_GIVEN.contains(&[*first, *second])
                && (b'A'..=b'D').contains(last)
        }
        _ => false,
    }
}

/// Verhoeff's check: the dihedral group of order ten.
fn verhoeff(digits: &[u32]) -> bool {
    const PERMUTATION: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let product = |a: u32, b: u32| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b - 5) % 5 + 5,
        (false, true) => (a - 5 + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    };
    let permuted = |digit: u32, times: usize| {
        (0..times % 8).fold(digit, |digit, _| PERMUTATION.get(digit as usize).copied().unwrap_or_default())
    };
    digits.iter().rev().enumerate().fold(0, |check, (i, digit)| product(check, permuted(*digit, i))) == 0
}

/// A letter by the sum of the characters, those in odd places by a table.
fn codice(plain: &[u8]) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let Some((letter, body)) = plain.split_last() else { return false };
    let sum: u32 = body
        .iter()
        .enumerate()
        .map(|(i, byte)| {
            let value = u32::from(if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' });
            if i % 2 == 0 { ODD.get(value as usize).copied().unwrap_or_default() } else { value }
        })
        .sum();
    let month = plain.get(8).is_some_and(|month| b"ABCDEHLMPRST".contains(month));
    month && u32::from(letter - b'A') == sum % 26
}

/// Weights 1, 3, 7, 9, and a date of birth whose month tells the century, too.
fn pesel(digits: &[u32]) -> bool {
    let sum = weighted(digits, [1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1].into_iter());
    let two = |at: usize| digits.get(at).zip(digits.get(at + 1)).map_or(0, |(tens, ones)| tens * 10 + ones);
    sum.is_multiple_of(10) && (1..=12).contains(&(two(2) % 20)) && (1..=31).contains(&two(4))
}

/// No check digits; what is never given out is 000, 666 and 900 to 999, and zeros in a group.
fn ssn(digits: &[u32]) -> bool {
    let part = |from: usize, to: usize| digits.get(from..to).map_or(0, number);
    !matches!(part(0, 3), 0 | 666 | 900..) && part(3, 5) != 0 && part(5, 9) != 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn find(country: Country, text: &str) -> Vec<&str> {
        let mut found = Vec::new();
        super::find(country, text.as_bytes(), &mut found);
        found.into_iter().map(|range| text.get(range).unwrap()).collect()
    }

    /// Examples that the countries' offices or the articles on the schemes print.
    #[test]
    fn published_examples_are_found() {
        for (country, number) in [
            (Country::Br, "111.444.777-35"),
            (Country::Br, "52998224725"),
            (Country::Ca, "130-692-544"),
            (Country::Ca, "130 692 544"),
            (Country::De, "86095742719"),
            (Country::De, "47 036 892 816"),
            (Country::Es, "12345678Z"),
            (Country::Es, "X1234567L"),
            (Country::Fr, "255081416802538"),
            (Country::Fr, "2 55 08 14 168 025 38"),
            (Country::Gb, "AB123456C"),
            (Country::Gb, "AB 12 34 56 C"),
            (Country::In, "2341 2341 2346"),
            (Country::It, "RSSMRA85T10A562S"),
            (Country::Pl, "44051401359"),
            (Country::Us, "078-05-1120"),
            (Country::Us, "219 09 9999"),
        ] {
            for text in [number.to_owned(), format!("id={number}, x"), format!("it is {number}.")] {
                assert_eq!(find(country, &text), [number], "{text}");
            }
        }
    }

    #[test]
    fn what_does_not_check_is_left_alone() {
        for (country, text) in [
            (Country::Br, "111.444.777-36"),
            (Country::Br, "111.111.111-11"),
            (Country::Ca, "130-692-545"),
            (Country::De, "86095742718"),
            (Country::De, "12345678903"),
            (Country::Es, "12345678A"),
            (Country::Fr, "255081416802539"),
            (Country::Gb, "BG123456C"),
            (Country::Gb, "AB123456E"),
            (Country::In, "2341 2341 2347"),
            (Country::It, "RSSMRA85T10A562T"),
            (Country::Pl, "44051401358"),
            (Country::Us, "666-05-1120"),
            (Country::Us, "078-05-1120-1"),
            (Country::Us, "x078-05-1120"),
            (Country::Us, "078-05-11201"),
        ] {
            assert_eq!(find(country, text), [""; 0], "{text}");
        }
    }
}
