//! Doubles as text, in the forms of Go, so that they read here as they do in the Collector, and back.
//!
//! The standard library's own ways are some 40 kB of a plugin, because they can print any number of digits, and for the
//! sake of speed. These print the fewest that mean the number.

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

/// The double that is nearest to what is written, as `str::parse` reads it: `1`, `-.5e3`, `1e400` (which is infinite),
/// `inf`, `NaN`. None if it is no number.
///
/// ```
/// assert_eq!(sluice_sdk::number::parse("1e-3"), Some(0.001));
/// assert_eq!(sluice_sdk::number::parse("0x10"), None);
/// ```
pub fn parse(text: &str) -> Option<f64> {
    let size = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is = |word: &&str| size.eq_ignore_ascii_case(word);
    let number = if ["inf", "infinity"].iter().any(is) {
        f64::INFINITY
    } else if is(&"nan") {
        f64::NAN
    } else {
        decimal(size)?
    };
    Some(if text.starts_with('-') { -number } else { number })
}

fn decimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let size = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if whole.len() + fraction.len() == 0 || size.is_empty() || ![whole, fraction, size].into_iter().all(is_digits) {
        return None;
    }
    // One that fits no 32 bits is beyond all doubles, unless somebody writes a billion zeros.
    let out_of_range = if exponent.starts_with('-') { i32::MIN } else { i32::MAX };
    let (whole, fraction) = (whole.trim_start_matches('0').as_bytes(), fraction.trim_end_matches('0').as_bytes());
    if whole.is_empty() && fraction.is_empty() {
        return Some(0.0);
    }
    Some(minimal_lexical::parse_float(whole.iter(), fraction.iter(), exponent.parse().unwrap_or(out_of_range)))
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

    use super::{json, parse, plain};

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

    #[test]
    fn numbers_that_no_double_holds_are_infinite_or_nothing() {
        let cases = [
            ("1e400", f64::INFINITY),
            ("-1e99999999999", f64::NEG_INFINITY),
            ("1e-99999999999", 0.0),
            ("0e99999999999", 0.0),
            ("1e2147483647", f64::INFINITY),
            ("1e-2147483648", 0.0),
            ("123456789e2147483647", f64::INFINITY),
            ("0.000123e-2147483648", 0.0),
            ("5e-324", f64::from_bits(1)),
            ("2e-324", 0.0),
            ("1.7976931348623157e308", f64::MAX),
            ("1.7976931348623159e308", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ];
        for (text, number) in cases {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        assert!(parse("-NaN").is_some_and(f64::is_nan));
    }

    proptest! {
        /// The standard library writes the same digits.
        #[test]
        fn any_double_is_written_as_the_standard_library_does(number in any::<f64>()) {
            prop_assume!(number.is_finite());
            prop_assert_eq!(plain(number), number.to_string());
            prop_assert_eq!(parse(&json(number)), Some(number));
            prop_assert_eq!(parse(&format!("{number:e}")), Some(number));
        }

        /// The standard library reads the same number.
        #[test]
        fn any_text_is_read_as_the_standard_library_does(
            text in r"[+-]?[0-9]{0,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{0,3})?|[+-]?[infaty]{3}|[0-9e.+-]{0,9}",
        ) {
            prop_assert_eq!(parse(&text).map(f64::to_bits), text.parse().ok().map(f64::to_bits), "{}", text);
        }

        /// Halfway between two doubles, and a little beside it, where a wrong rounding shows.
        #[test]
        fn what_is_hard_to_round_is_rounded_right(bits in 0..f64::MAX.to_bits(), last in 0..3_u8) {
            let number = f64::from_bits(bits);
            let text = format!("{number:.800}{last}");
            prop_assert_eq!(parse(&text), text.parse().ok());
            let halfway = 9_007_199_254_740_993_u128 << (bits % 60);
            let text = format!("{}", halfway + u128::from(last) - 1);
            prop_assert_eq!(parse(&text), text.parse().ok());
        }
    }
}
