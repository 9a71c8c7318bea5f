//! JSON to protobuf. Lenient: `snake_case` as well as `camelCase`, integers as strings or numbers,
//! enums by name or number, hexadecimal in either case, both alphabets of base64, null for
//! absent, unknown keys ignored.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::JsonError;
use super::tree::{Json, parse};
use crate::schema::{ANY_VALUE, FieldDef, Kind, REQUEST, Schema};
use crate::wire::{MAX_DEPTH, put_bytes, put_frame, put_key, put_varint};

/// Reads an OTLP/JSON request into protobuf. What comes out passes [`crate::validate`].
///
/// # Errors
/// Says where the document is not JSON, or where a value is not what its field holds: a number
/// that does not fit, an id of a wrong length or none, two members of one value, a field given twice, or messages
/// that are nested deeper than [`crate::validate`] allows.
pub fn from_json(json: &[u8]) -> Result<Vec<u8>, JsonError> {
    let document = parse(json)?;
    let mut out = Vec::with_capacity(json.len() / 2);
    message(&REQUEST, &document, MAX_DEPTH, &mut out)?;
    Ok(out)
}

/// Most messages are shorter than 128 bytes: one byte is left for their length.
const USUAL_LEN: usize = 100;

fn message(schema: &'static Schema, value: &Json<'_>, depth: u32, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let Json::Object(object) = value else {
        return Err(expected("an object", value));
    };
    let mut found: [Option<&Json<'_>>; 17] = [None; 17];
    let mut seen = 0;
    for (key, value) in object.iter().filter(|(_, value)| !matches!(value, Json::Null)) {
        let Some((number, def)) = schema.known().find(|(_, def)| is_name(def.name, key)) else {
            continue;
        };
        let bits = if def.is_repeated() { 1 << number } else { def.excludes };
        if seen & bits != 0 {
            return Err(JsonError::new("this or another value of the same field is given twice").under(def.name));
        }
        seen |= 1 << number;
        if let Some(place) = found.get_mut(number as usize) {
            *place = Some(value);
        }
    }
    for (number, def) in schema.known() {
        let value = found.get(number as usize).copied().flatten();
        let is_required = schema.required >> number & 1 == 1;
        match value {
            Some(value) => {
                field(number, def, value, depth, out).map_err(|error| error.under(def.name))?;
            }
            None if is_required => return Err(JsonError::new("an id is missing").under(def.name)),
            None => {}
        }
    }
    Ok(())
}

/// Whether `key` is the name, in camel case as it stands or in snake case.
fn is_name(name: &str, key: &str) -> bool {
    let mut key_bytes = key.bytes();
    name == key
        || key.contains('_')
            && name.bytes().all(|byte| {
                if byte.is_ascii_uppercase() {
                    key_bytes.next() == Some(b'_') && key_bytes.next() == Some(byte.to_ascii_lowercase())
                } else {
                    key_bytes.next() == Some(byte)
                }
            })
            && key_bytes.next().is_none()
}

fn field(number: u32, def: &FieldDef, value: &Json<'_>, depth: u32, out: &mut Vec<u8>) -> Result<(), JsonError> {
    if !def.is_repeated() {
        // A member of a oneof is written whatever it holds, any other only if it says something.
        let is_member = def.excludes != 1 << number;
        return scalar(number, def.kind, value, is_member, depth, out);
    }
    let Json::List(items) = value else {
        return Err(expected("an array", value));
    };
    for (i, item) in items.iter().enumerate() {
        scalar(number, def.kind, item, true, depth, out).map_err(|error| error.under(&format!("[{i}]")))?;
    }
    Ok(())
}

fn scalar(
    number: u32,
    kind: Kind,
    value: &Json<'_>,
    writes_default: bool,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    match kind {
        Kind::Message(inner) => return nested(number, inner, value, depth, out),
        Kind::String | Kind::Bytes | Kind::Id(_) | Kind::OptionalId(_) => {
            let bytes = bytes_of(kind, value)?;
            if writes_default || !bytes.is_empty() {
                put_bytes(out, number, &bytes);
            }
            return Ok(());
        }
        _ => {}
    }
    let bits = number_of(kind, value)?;
    if bits == 0 && !writes_default {
        return Ok(());
    }
    match kind {
        Kind::Fixed32 => {
            put_key(out, number, 5);
            out.extend_from_slice(&(bits as u32).to_le_bytes());
        }
        Kind::Fixed64 | Kind::Double => {
            put_key(out, number, 1);
            out.extend_from_slice(&bits.to_le_bytes());
        }
        _ => {
            put_key(out, number, 0);
            put_varint(out, bits);
        }
    }
    Ok(())
}

fn nested(
    number: u32,
    schema: &'static Schema,
    value: &Json<'_>,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    if depth == 0 {
        return Err(JsonError::new("nested more than 100 deep"));
    }
    // An array may hold a value that is nothing.
    let nothing = Json::Object(Vec::new());
    let is_nothing = matches!(value, Json::Null) && std::ptr::eq(schema, &raw const ANY_VALUE);
    let value = if is_nothing { &nothing } else { value };
    let mut result = Ok(());
    put_frame(out, number, USUAL_LEN, |out| {
        result = message(schema, value, depth - 1, out);
    });
    result
}

fn bytes_of(kind: Kind, value: &Json<'_>) -> Result<Vec<u8>, JsonError> {
    let Json::Text(text) = value else {
        return Err(expected("a string", value));
    };
    match kind {
        Kind::Bytes => base64_bytes(text).ok_or_else(|| JsonError::new("no valid base64")),
        Kind::OptionalId(_) if text.is_empty() => Ok(Vec::new()),
        Kind::Id(size) | Kind::OptionalId(size) => hex_bytes(text, size),
        _ => Ok(text.as_bytes().to_vec()),
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
fn number_of(kind: Kind, value: &Json<'_>) -> Result<u64, JsonError> {
    match kind {
        Kind::Bool => match value {
            Json::Bool(value) => Ok(u64::from(*value)),
            Json::Text(text) if text == "true" => Ok(1),
            Json::Text(text) if text == "false" => Ok(0),
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
        Json::Text(text) => match &**text {
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

fn expected(what: &str, value: &Json<'_>) -> JsonError {
    let got = match value {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::Text(_) => "a string",
        Json::List(_) => "an array",
        Json::Object(_) => "an object",
    };
    if got == what {
        return JsonError::new(format!("not {what} that fits"));
    }
    JsonError::new(format!("expected {what}, found {got}"))
}
