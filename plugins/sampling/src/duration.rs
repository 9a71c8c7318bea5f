//! Durations, as Go writes them.

use std::time::Duration;

/// What Go's `time.Duration` can hold: 63 bits of nanoseconds.
const MOST_NANOS: u128 = i64::MAX as u128;

/// Reads what Go's `time.ParseDuration` reads: numbers, each with a unit (`h`, `m`, `s`, `ms`, `us` or `µs`, `ns`), as
/// in `1m30s` or `1.5h`; `0` needs none. None of anything else, of what is negative and of what Go cannot hold.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0_u128;
    while !rest.is_empty() {
        let (number, after) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end)?;
        nanos = nanos.checked_add(part(number, unit)?).filter(|nanos| *nanos <= MOST_NANOS)?;
        rest = next;
    }
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// The nanoseconds of a number with a unit; what is less than one is cut off. The fraction is computed as Go does it.
fn part(number: &str, unit: &str) -> Option<u128> {
    let unit: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()? };
    let (mut digits, mut scale) = (0_i64, 1.0);
    for digit in fraction.bytes() {
        // What does not fit makes no difference any more.
        let Some(more) = digits.checked_mul(10).and_then(|tens| tens.checked_add(i64::from(digit - b'0'))) else {
            break;
        };
        (digits, scale) = (more, scale * 10.0);
    }
    let fraction = digits as f64 * (unit as f64 / scale);
    whole.checked_mul(unit)?.checked_add(fraction as u128)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the documentation and the tests of Go's `time.ParseDuration`.
    #[test]
    fn durations_are_read_as_go_reads_them() {
        let cases = [
            ("0", 0),
            ("0s", 0),
            ("300ms", 300_000_000),
            ("1.5h", 5_400_000_000_000),
            ("2h45m", 9_900_000_000_000),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("1478s", 1_478_000_000_000),
            ("5.0s", 5_000_000_000),
            ("5.6s", 5_600_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("1.004s", 1_004_000_000),
            ("1.0040s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12µs", 12_000),
            ("12μs", 12_000),
            ("13ms", 13_000_000),
            ("15m", 900_000_000_000),
            ("3h30m", 12_600_000_000_000),
            ("10.5s4m", 250_500_000_000),
            ("1h2m3s4ms5us6ns", 3_723_004_005_006),
            ("39h9m14.425s", 140_954_425_000_000),
            ("52763797000ns", 52_763_797_000),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("0.830103483285477580700h", 2_988_372_539_827),
            ("9007199254740993ns", 9_007_199_254_740_993),
            ("9223372036854775807ns", i64::MAX as u64),
            ("9223372036854775.807us", i64::MAX as u64),
            ("9223372036s854ms775us807ns", i64::MAX as u64),
            ("0.100000000000000000000h", 360_000_000_000),
        ];
        for (text, nanos) in cases {
            assert_eq!(duration(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        let no_durations = ["", "3", "-", "s", ".", "-.", ".s", "+.s", "1d", "1 s", "30 s", "1s5", "1.2.3s", "1e3s"];
        let too_long = ["9223372036854775808ns", "9223372036854775.808us", "3000000h", "99999999999999999999999h"];
        for text in no_durations.iter().chain(&too_long).chain(&["-1s", "-0.5h"]) {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
