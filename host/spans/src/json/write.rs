//! Protobuf to JSON, as OTLP prescribes it: `camelCase`, ids in lower case hexadecimal, 64-bit
//! integers as strings, enums as integers, bytes in base64, unset fields left out. Fields that
//! OTLP does not know have no JSON and are left out as well.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::rewrite::{Take, rewrite};
use crate::schema::{FieldDef, Kind, REQUEST, Schema};
use crate::wire::{FieldAt, fields};
use crate::{Malformed, validate};

/// Writes a request as OTLP/JSON.
///
/// # Errors
/// What [`validate`] refuses.
pub fn to_json(wire: &[u8]) -> Result<String, Malformed> {
    let verdict = validate(wire)?;
    let mut wire = Cow::Borrowed(wire);
    if verdict.irregular {
        let mut regular = Vec::with_capacity(wire.len());
        rewrite(&REQUEST, &[&wire], Take::OVERRIDDEN, &mut regular);
        wire = Cow::Owned(regular);
    }
    let mut out = Vec::with_capacity(2 * wire.len() + 2);
    message(&REQUEST, &wire, &mut out);
    // Only ASCII and strings that are UTF-8 are written.
    Ok(String::from_utf8(out).unwrap_or_default())
}

fn message(schema: &Schema, message: &[u8], out: &mut Vec<u8>) {
    let known = |field: &FieldAt| !matches!(schema.field(field.number).kind, Kind::Unknown);
    let mut all: Vec<FieldAt> = fields(message).filter(known).collect();
    all.sort_by_key(|field| field.number);
    let mut is_first = true;
    out.push(b'{');
    for group in all.chunk_by(|a, b| a.number == b.number) {
        let Some(first) = group.first() else { continue };
        let def = schema.field(first.number);
        let is_member = !def.is_repeated() && def.excludes != 1 << first.number;
        if !def.is_repeated() && !is_member && is_unset(def, *first) {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        text(def.name, out);
        out.push(b':');
        if def.is_repeated() {
            array(def, group, message, out);
        } else {
            value(def, *first, message, out);
        }
    }
    out.push(b'}');
}

fn is_unset(def: &FieldDef, field: FieldAt) -> bool {
    match def.kind {
        Kind::Message(_) => false,
        Kind::String | Kind::Bytes | Kind::Id(_) | Kind::OptionalId(_) => field.len() == 0,
        Kind::Uint32 | Kind::Int32 | Kind::Enum(_) => field.value as u32 == 0,
        _ => field.value == 0,
    }
}

fn array(def: &FieldDef, group: &[FieldAt], message: &[u8], out: &mut Vec<u8>) {
    let mut before = b'[';
    for field in group {
        out.push(before);
        value(def, *field, message, out);
        before = b',';
    }
    out.push(b']');
}

fn value(def: &FieldDef, field: FieldAt, buf: &[u8], out: &mut Vec<u8>) {
    let content = field.content(buf);
    match def.kind {
        Kind::Message(inner) => message(inner, content, out),
        Kind::String => text(std::str::from_utf8(content).unwrap_or_default(), out),
        Kind::Bytes => quoted(&STANDARD.encode(content), out),
        Kind::Id(_) | Kind::OptionalId(_) => hex(content, out),
        Kind::Bool => out.extend_from_slice(if field.value == 0 { b"false" } else { b"true" }),
        Kind::Int32 | Kind::Enum(_) => number(i64::from(field.value as i32), out),
        Kind::Uint32 | Kind::Fixed32 => number(i64::from(field.value as u32), out),
        Kind::Int64 => quoted(&(field.value as i64).to_string(), out),
        Kind::Fixed64 => quoted(&field.value.to_string(), out),
        Kind::Double => double(f64::from_bits(field.value), out),
        Kind::Unknown => {}
    }
}

fn number(number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(number.to_string().as_bytes());
}

fn double(number: f64, out: &mut Vec<u8>) {
    if number.is_nan() {
        quoted("NaN", out);
    } else if number.is_infinite() {
        quoted(if number > 0.0 { "Infinity" } else { "-Infinity" }, out);
    } else {
        out.extend_from_slice(serde_json::Value::from(number).to_string().as_bytes());
    }
}

/// Writing into memory cannot fail; if it could, the field would be an empty string.
fn text(text: &str, out: &mut Vec<u8>) {
    let json = serde_json::to_string(text);
    out.extend_from_slice(json.as_deref().unwrap_or("\"\"").as_bytes());
}

/// A text that needs no escapes.
fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' + half - 10 };
    out.push(b'"');
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(byte & 15));
    }
    out.push(b'"');
}
