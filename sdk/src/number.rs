//! Doubles as text, in the forms of Go, so that they read here as they do in the Collector.
//!
//! The standard library's own way is some 20 kB of a plugin, because it can print any number of digits. These print
//! the fewest that mean the number.

/// Without an exponent, as Go's format `f`: `0.000001`, `100000000000000000000000`, `+Inf`, `NaN`.
///
/// ```
/// assert_eq!(sluice_sdk::number::plain(1e21), "1000000000000000000000");
/// ```
pub fn plain(number: f64) -> String {
    if !number.is_finite() {
        return special(number).to_owned();
    }
    let (sign, digits, exponent) = digits(number);
    match usize::try_from(exponent) {
        Err(_) => format!("{sign}0.{:0>width$}", digits, width = digits.len() + exponent.unsigned_abs() as usize),
        Ok(0) => format!("{sign}0.{digits}"),
        Ok(whole) => match digits.split_at_checked(whole) {
            Some((whole, fraction)) if !fraction.is_empty() => format!("{sign}{whole}.{fraction}"),
            _ => format!("{sign}{digits:0<whole$}"),
        },
    }
}

/// With an exponent if the number is below 0.000001 or from 1e21 on, as JavaScript writes numbers, and Go in JSON.
///
/// ```
/// assert_eq!(sluice_sdk::number::json(1e21), "1e+21");
/// assert_eq!(sluice_sdk::number::json(0.5), "0.5");
/// ```
pub fn json(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() || size == 0.0 || (1e-6..1e21).contains(&size) {
        return plain(number);
    }
    let (sign, digits, exponent) = digits(number);
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let exponent = exponent - 1;
    let plus = if exponent > 0 { "+" } else { "" };
    format!("{sign}{first}{point}{rest}e{plus}{exponent}")
}

fn special(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

/// The sign, the digits without zeros at their ends, and where among them the point is. Of zero one digit.
fn digits(number: f64) -> (&'static str, String, i32) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(number.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let point = whole.len() as i32 - (all.len() - significant.len()) as i32 + exponent;
    let digits = significant.trim_end_matches('0');
    let sign = if number.is_sign_negative() { "-" } else { "" };
    if digits.is_empty() { (sign, "0".to_owned(), 1) } else { (sign, digits.to_owned(), point) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{json, plain};

    /// What Go's `strconv.FormatFloat(number, 'f', -1, 64)` and `encoding/json` write.
    #[test]
    fn doubles_are_written_as_go_does() {
        let cases = [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1.0, "1", "1"),
            (-12.5, "-12.5", "-12.5"),
            (0.1, "0.1", "0.1"),
            (100.0, "100", "100"),
            (1e-6, "0.000001", "0.000001"),
            (1.5e-7, "0.00000015", "1.5e-7"),
            (1e20, "100000000000000000000", "100000000000000000000"),
            (1.25e21, "1250000000000000000000", "1.25e+21"),
            (123_456_789.125, "123456789.125", "123456789.125"),
            (f64::NAN, "NaN", "NaN"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
        ];
        for (number, without, with) in cases {
            assert_eq!((plain(number).as_str(), json(number).as_str()), (without, with));
        }
    }

    proptest! {
        /// The standard library writes the same digits.
        #[test]
        fn any_double_is_written_as_the_standard_library_does(number in any::<f64>()) {
            prop_assume!(number.is_finite());
            prop_assert_eq!(plain(number), number.to_string());
            prop_assert_eq!(json(number).parse::<f64>().ok(), Some(number));
        }
    }
}
