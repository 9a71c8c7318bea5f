//! What `hash` and `convert` make of a value.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use sluice_sdk::{Values, kind, number};

/// What `convert` converts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Int,
    Double,
    String,
}

impl Target {
    pub(crate) fn new(name: &str) -> Option<Self> {
        Some(match name {
            "int" => Self::Int,
            "double" => Self::Double,
            "string" => Self::String,
            _ => return None,
        })
    }

    /// Adds what value `row` is converted to; false, and nothing added, if it stays as it is.
    pub(crate) fn convert(self, values: &Values, row: usize, out: &mut Values) -> bool {
        let bits = values.bits(row);
        match (self, values.kind(row)) {
            (Self::Int, kind::DOUBLE) => push_int(f64::from_bits(bits) as i64, out),
            (Self::Int, kind::BOOL) => push_int(i64::from(bits != 0), out),
            (Self::Int, kind::STRING) => match values.texts.str(row).parse() {
                Ok(number) => push_int(number, out),
                Err(_) => return false,
            },
            (Self::Double, kind::INT) => push_double(bits as i64 as f64, out),
            (Self::Double, kind::BOOL) => push_double(f64::from(u8::from(bits != 0)), out),
            (Self::Double, kind::STRING) => match double(values.texts.str(row)) {
                Some(number) => push_double(number, out),
                None => return false,
            },
            (Self::String, kind::INT) => push_text(&(bits as i64).to_string(), out),
            (Self::String, kind::BOOL) => push_text(if bits == 0 { "false" } else { "true" }, out),
            (Self::String, kind::DOUBLE) => push_text(&double_text(f64::from_bits(bits)), out),
            _ => return false,
        }
        true
    }
}

fn push_int(value: i64, out: &mut Values) {
    out.push(kind::INT, value as u64, b"");
}

fn push_double(value: f64, out: &mut Values) {
    out.push(kind::DOUBLE, value.to_bits(), b"");
}

fn push_text(text: &str, out: &mut Values) {
    out.push(kind::STRING, 0, text.as_bytes());
}

/// A number that is too large is none, as in Go; Rust reads it as infinite.
fn double(text: &str) -> Option<f64> {
    let number = number::parse(text)?;
    let is_meant = !number.is_infinite() || !text.bytes().any(|byte| byte.is_ascii_digit());
    is_meant.then_some(number)
}

/// A double as the Collector writes it, which is as JSON does in JavaScript and Go.
fn double_text(number: f64) -> String {
    let text = number::json(number);
    if number.is_finite() { text } else { format!("json: unsupported value: {text}") }
}

/// Adds the hash of value `row`: SHA-256 in hexadecimal of a text, of the 8 bytes of a number in
/// little endian, or of the one byte of a boolean. What else there is, and an empty text, becomes
/// an empty text.
pub(crate) fn hash(values: &Values, row: usize, out: &mut Values) {
    let bits = values.bits(row);
    let digest = match values.kind(row) {
        kind::STRING if !values.texts.get(row).is_empty() => Sha256::digest(values.texts.get(row)),
        kind::BOOL => Sha256::digest([u8::from(bits != 0)]),
        kind::INT | kind::DOUBLE => Sha256::digest(bits.to_le_bytes()),
        _ => return push_text("", out),
    };
    let mut text = String::with_capacity(digest.len() * 2);
    for byte in digest {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    push_text(&text, out);
}

/// A value as text for patterns; none of what is neither text, number nor boolean.
pub(crate) fn text(values: &Values, row: usize) -> Option<String> {
    let bits = values.bits(row);
    Some(match values.kind(row) {
        kind::STRING => values.texts.str(row).to_owned(),
        kind::BOOL => (bits != 0).to_string(),
        kind::INT => (bits as i64).to_string(),
        kind::DOUBLE => number::plain(f64::from_bits(bits)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected texts are what Go's `encoding/json` writes.
    #[test]
    fn doubles_are_written_as_the_collector_does() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-2.5e300, "-2.5e+300"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (f64::NAN, "json: unsupported value: NaN"),
            (f64::NEG_INFINITY, "json: unsupported value: -Inf"),
        ];
        for (number, text) in cases {
            assert_eq!(double_text(number), text);
        }
    }

    #[test]
    fn what_is_too_large_for_a_double_is_none() {
        assert_eq!(double("1e400"), None);
        assert_eq!(double("-inf"), Some(f64::NEG_INFINITY));
        assert_eq!(double("1e3"), Some(1000.0));
        assert_eq!(double("1 "), None);
    }
}
