//! Telephone numbers: international ones, which begin with `+` (ITU-T E.164), and those of the
//! North American plan as people write them. Other national forms look like any number.

use std::ops::Range;

use super::len;

/// Digits of an international number, the country's included. E.164 has no lower bound; shorter ones
/// are offsets of time zones and the like.
const DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// `+` in a query string.
const ENCODED_PLUS: &[u8] = b"%2B";

/// Where a number could be: at a plus before a digit, or at the separator before the last four digits.
pub(super) fn candidates(bytes: &[u8]) -> impl Iterator<Item = usize> {
    international_candidates(bytes).map(|(at, _)| at).chain(national_candidates(bytes))
}

/// Where the plus is, and where the number begins behind it.
fn international_candidates(bytes: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    memchr::memchr2_iter(b'+', b'%', bytes).filter_map(|at| {
        let encoded = bytes.get(at..at + ENCODED_PLUS.len());
        let from = match bytes.get(at) {
            Some(b'+') => at + 1,
            _ if encoded.is_some_and(|plus| plus.eq_ignore_ascii_case(ENCODED_PLUS)) => at + ENCODED_PLUS.len(),
            _ => return None,
        };
        let from = from + usize::from(bytes.get(from) == Some(&b'('));
        bytes.get(from).is_some_and(|byte| matches!(byte, b'1'..=b'9')).then_some((at, from))
    })
}

/// The separator before the last four digits: `555-0100`.
fn national_candidates(bytes: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memchr2_iter(b'-', b'.', bytes).filter(|at| {
        let digits =
            |from: usize, to: usize| bytes.get(from..to).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
        at.checked_sub(3).is_some_and(|from| digits(from, *at)) && digits(at + 1, at + 5)
    })
}

/// Adds the numbers in a text.
pub(super) fn find(bytes: &[u8], found: &mut Vec<Range<usize>>) {
    for (at, from) in international_candidates(bytes) {
        let in_word = at.checked_sub(1).and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphanumeric);
        let (digits, to) = number(bytes, from);
        if !in_word && DIGITS.contains(&digits) && !bytes.get(to).is_some_and(u8::is_ascii_alphanumeric) {
            found.push(at..to);
        }
    }
    for at in national_candidates(bytes) {
        found.extend(north_american(bytes, at));
    }
}

/// How many digits a number has, with at most two separators between any of them, and its end.
fn number(bytes: &[u8], from: usize) -> (usize, usize) {
    let (mut digits, mut to) = (0, from);
    loop {
        let more = len(bytes, to, |byte| byte.is_ascii_digit());
        digits += more;
        to += more;
        let between = len(bytes, to, |byte| b" .-()/".contains(&byte));
        let space = usize::from(bytes.get(to..to + 3) == Some(b"%20")) * 3;
        let between = between.max(space);
        let goes_on = (1..=2).contains(&between) || space > 0;
        if more == 0 || digits > *DIGITS.end() || !goes_on || !bytes.get(to + between).is_some_and(u8::is_ascii_digit) {
            return (digits, to);
        }
        to += between;
    }
}

/// `(212) 555-0100`, `212-555-0100`, `212.555.0100`, with or without a `1` before it. Neither the area
/// nor the exchange begins with 0 or 1.
fn north_american(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let separator = *bytes.get(at)?;
    let to = at + 5;
    if bytes.get(to).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        || (bytes.get(to) == Some(&b'.') && bytes.get(to + 1).is_some_and(u8::is_ascii_digit))
    {
        return None;
    }
    let exchange = at.checked_sub(3)?;
    let before = bytes.get(..exchange)?;
    let area_end = match before {
        [.., b')', b' '] => exchange - 2,
        [.., b')'] => exchange - 1,
        [.., byte] if *byte == separator => exchange - 1,
        _ => return None,
    };
    let parenthesis = usize::from(bytes.get(area_end) == Some(&b')'));
    let area = area_end.checked_sub(3)?;
    let starts = |at: usize| bytes.get(at).is_some_and(|byte| matches!(byte, b'2'..=b'9'));
    if !bytes.get(area..area_end)?.iter().all(u8::is_ascii_digit) || !starts(area) || !starts(exchange) {
        return None;
    }
    let mut from = area.checked_sub(parenthesis)?;
    if parenthesis == 1 && bytes.get(from) != Some(&b'(') {
        return None;
    }
    if let Some([.., b'1', b' ' | b'-' | b'.']) = bytes.get(..from) {
        from -= 2;
    }
    let ends = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'+');
    (!from.checked_sub(1).and_then(|at| bytes.get(at)).is_some_and(ends)).then_some(from..to)
}

#[cfg(test)]
mod tests {
    fn find(text: &str) -> Vec<&str> {
        crate::detect::found_in(super::find, text)
    }

    /// Numbers that the regulators of their countries keep for fiction.
    #[test]
    fn numbers_are_found() {
        for number in [
            "+44 20 7946 0018",
            "+442079460018",
            "+1-212-555-0100",
            "+1 (212) 555-0100",
            "+61 491 570 156",
            "(212) 555-0100",
            "(212)555-0100",
            "212-555-0100",
            "212.555.0100",
            "1-800-555-0199",
            "%2B442079460018",
            "+44%2020%207946%200018",
        ] {
            for text in
                [number.to_owned(), format!("tel:{number}"), format!("call {number}, please. {{\"n\":\"{number}\"}}")]
            {
                assert!(
                    !find(&text).is_empty() && find(&text).iter().all(|found| *found == number),
                    "{text}: {:?}",
                    find(&text)
                );
            }
        }
    }

    #[test]
    fn what_is_no_number_is_left_alone() {
        for text in [
            "2025-11-21T10:00:00+02:00",
            "2025-11-21T10:00:00+0200",
            "1e+100000000",
            "212-555-01000",
            "112-555-0100",
            "123e4567-e89b-12d3-a456-426614174000",
            "x212-555-0100",
            "10.234.5678.1",
            "212-055-0100",
            "+1234567890123456",
            "a+b+12345678x",
            "4111-1111-1111-1111",
        ] {
            assert_eq!(find(text), [""; 0], "{text}");
        }
    }
}
