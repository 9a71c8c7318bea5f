//! Durations, as Go writes them.

/// Nanoseconds of `100us`, `1.5s` or `1m30s`; none of anything else, and of more than can be told.
pub(crate) fn nanos(text: &str) -> Option<u64> {
    let (mut rest, mut sum) = (if text == "0" { "0s" } else { text }, 0_u64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end)?;
        let unit = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3_600e9,
            _ => return None,
        };
        let part = number.parse::<f64>().ok()? * unit;
        if part >= u64::MAX as f64 {
            return None;
        }
        sum = sum.checked_add(part.round() as u64)?;
        rest = next;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_a_unit_are_durations() {
        let cases = [
            ("100us", 100_000),
            ("2ms", 2_000_000),
            ("1.5s", 1_500_000_000),
            ("1m30s", 90_000_000_000),
            ("0", 0),
            ("7ns", 7),
        ];
        for (text, expected) in cases {
            assert_eq!(nanos(text), Some(expected), "{text}");
        }
        for bad in ["", "30", "s", "-1s", "1.5.5s", "30 s", "1d", "1s5", "99999999999999999999h"] {
            assert_eq!(nanos(bad), None, "{bad}");
        }
    }
}
