//! Durations in Go's notation.

use std::time::Duration;

/// No duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDuration {
    /// A number alone.
    #[error("a duration needs a unit: `500ms`, `10s`, `1m30s`")]
    NoUnit,
    /// Below zero.
    #[error("a duration must not be negative")]
    Negative,
    /// Not to be read.
    #[error("a duration is written like `500ms`, `10s` or `1m30s`")]
    Unreadable,
    /// More than a duration can hold.
    #[error("the duration is too long")]
    TooLong,
}

/// Reads `1h2m3.5s`; the units are h, m, s, ms, us (µs), ns.
///
/// # Errors
/// When the text is no duration from 0.
pub fn parse(text: &str) -> Result<Duration, NotDuration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.starts_with('-') {
        return Err(NotDuration::Negative);
    }
    if rest.is_empty() {
        return Err(NotDuration::Unreadable);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(NotDuration::NoUnit)?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        total = total.checked_add(part(number, unit)?).ok_or(NotDuration::TooLong)?;
        rest = after;
    }
    Ok(total)
}

fn part(number: &str, unit: &str) -> Result<Duration, NotDuration> {
    let unit_nanos: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(NotDuration::Unreadable),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(NotDuration::Unreadable);
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| NotDuration::TooLong)? };
    // Below a nanosecond of an hour there is nothing to tell.
    let digits: String = fraction.chars().take(18).collect();
    let scale = 10u128.pow(digits.len() as u32);
    let fraction: u128 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| NotDuration::Unreadable)? };
    let nanos = whole.checked_mul(unit_nanos).and_then(|whole| whole.checked_add(fraction * unit_nanos / scale));
    nanos.and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos).ok_or(NotDuration::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        // From the documentation and tests of Go's time.ParseDuration.
        let cases: &[(&str, u64)] = &[
            ("0", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("30s", 30_000_000_000),
            ("1478s", 1_478_000_000_000),
            ("5.0s", 5_000_000_000),
            ("5.6s", 5_600_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12µs", 12_000),
            ("12μs", 12_000),
            ("13ms", 13_000_000),
            ("15m", 900_000_000_000),
            ("3h30m", 12_600_000_000_000),
            ("10.5s4m", 250_500_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("0.100000000000000000000h", 360_000_000_000),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text), Ok(Duration::from_nanos(*nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        let cases: &[(&str, NotDuration)] = &[
            ("", NotDuration::Unreadable),
            ("3", NotDuration::NoUnit),
            ("-5s", NotDuration::Negative),
            ("s", NotDuration::Unreadable),
            (".", NotDuration::NoUnit),
            (".s", NotDuration::Unreadable),
            ("1.2.3s", NotDuration::Unreadable),
            ("1d", NotDuration::Unreadable),
            ("1 s", NotDuration::Unreadable),
            ("9999999999h", NotDuration::TooLong),
            ("99999999999999999999999999999999999999999s", NotDuration::TooLong),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(*error), "{text}");
        }
    }
}
