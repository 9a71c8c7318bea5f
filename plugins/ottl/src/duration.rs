//! Durations as Go writes them: `1h30m`, `1.5s`, `250ms`.

use sluice_sdk::number;

/// The nanoseconds of a duration; `None` if it is none, or does not fit.
pub(super) fn parse(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (count, unit) = rest.split_at_checked(end)?;
        let after = unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit.len());
        let (unit, more) = unit.split_at_checked(after)?;
        let unit = match unit {
            "ns" => 1.0,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        nanos += number::parse(count)? * unit;
        rest = more;
    }
    (nanos < i64::MAX as f64).then_some((sign * nanos).round() as i64)
}

#[cfg(test)]
mod tests {
    /// The examples of Go's `time.ParseDuration`, and what is none.
    #[test]
    fn durations_are_those_of_go() {
        for (text, nanos) in [
            ("0", 0),
            ("300ms", 300_000_000),
            ("-1.5h", -5_400_000_000_000),
            ("2h45m", 9_900_000_000_000),
            ("1us", 1_000),
            ("1\u{b5}s2ns", 1_002),
            ("+5s", 5_000_000_000),
        ] {
            assert_eq!(super::parse(text), Some(nanos), "{text}");
        }
        for text in ["", "3", "-", "s", "1d", "1 s", ".s", "1e3s", "1000000h1000000h1000000h"] {
            assert_eq!(super::parse(text), None, "{text}");
        }
    }
}
