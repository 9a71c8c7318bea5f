//! Values as their fields hold them.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::Json;
use crate::json::JsonError;
use crate::schema::Kind;

/// The bytes of a text field.
pub(super) fn bytes_of<'j>(kind: Kind, value: &Json<'j>) -> Result<Cow<'j, [u8]>, JsonError> {
    let Json::Text(text) = *value else {
        return Err(expected("a string", value));
    };
    match kind {
        Kind::Bytes => base64_bytes(text).map(Cow::Owned).ok_or_else(|| JsonError::new("no valid base64")),
        Kind::OptionalId(_) if text.is_empty() => Ok(Cow::Borrowed(&[])),
        Kind::Id(size) | Kind::OptionalId(size) => hex_bytes(text, size).map(Cow::Owned),
        _ => Ok(Cow::Borrowed(text.as_bytes())),
    }
}

fn hex_bytes(text: &str, size: usize) -> Result<Vec<u8>, JsonError> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let bytes: Option<Vec<u8>> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
            _ => None,
        })
        .collect();
    bytes
        .filter(|bytes| bytes.len() == size)
        .ok_or_else(|| JsonError::new(format!("no id of {} hexadecimal digits", 2 * size)))
}

/// Standard base64 that minds neither padding nor what is left over in the last character.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    let standard = |byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    };
    let text: Vec<u8> = text.bytes().map(standard).collect();
    LENIENT.decode(text).ok()
}

/// The value of a numeric field as it goes into the wire: a varint's value, or a fixed field's
/// bits.
pub(super) fn number_of(kind: Kind, value: &Json<'_>) -> Result<u64, JsonError> {
    match kind {
        Kind::Bool => match value {
            Json::Bool(value) => Ok(u64::from(*value)),
            Json::Text("true") => Ok(1),
            Json::Text("false") => Ok(0),
            _ => Err(expected("true or false", value)),
        },
        Kind::Double => double(value).map(f64::to_bits),
        Kind::Enum(names) => match value {
            Json::Text(name) if name.starts_with(|c: char| c.is_ascii_alphabetic()) => names
                .iter()
                .position(|known| known == name)
                .map(|number| number as u64)
                .ok_or_else(|| JsonError::new(format!("no enum value is called {name:?}"))),
            _ => integer(value, i32::MIN.into(), i32::MAX.into()),
        },
        Kind::Int32 => integer(value, i32::MIN.into(), i32::MAX.into()),
        Kind::Int64 => integer(value, i64::MIN.into(), i64::MAX.into()),
        Kind::Uint32 | Kind::Fixed32 => integer(value, 0, u32::MAX.into()),
        _ => integer(value, 0, u64::MAX.into()),
    }
}

fn double(value: &Json<'_>) -> Result<f64, JsonError> {
    let number = match value {
        Json::Number(number) => number.as_f64(),
        Json::Text(text) => match *text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok().filter(|number: &f64| number.is_finite()),
        },
        _ => None,
    };
    number.ok_or_else(|| expected("a number", value))
}

fn integer(value: &Json<'_>, least: i128, most: i128) -> Result<u64, JsonError> {
    let number = match value {
        Json::Number(number) => number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
            .or_else(|| number.as_f64().and_then(whole)),
        Json::Text(text) => text.parse::<i128>().ok().or_else(|| text.parse().ok().and_then(whole)),
        _ => None,
    };
    let number = number.ok_or_else(|| expected("an integer", value))?;
    if (least..=most).contains(&number) {
        Ok(number as u64)
    } else {
        Err(JsonError::new(format!("{number} is not within {least} to {most}")))
    }
}

/// A floating point number such as 1.0 or 1e3 that is an integer.
fn whole(number: f64) -> Option<i128> {
    (number.is_finite() && number.fract() == 0.0).then_some(number as i128)
}

pub(super) fn expected(what: &str, value: &Json<'_>) -> JsonError {
    let got = match value {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::Text(_) => "a string",
        Json::List => "an array",
        Json::Object => "an object",
    };
    if got == what {
        return JsonError::new(format!("not {what} that fits"));
    }
    JsonError::new(format!("expected {what}, found {got}"))
}
