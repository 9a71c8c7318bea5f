//! Protobuf to JSON, as OTLP prescribes it: `camelCase`, ids in lower case hexadecimal, 64-bit
//! integers as strings, enums as integers, bytes in base64, unset fields left out. Fields that
//! OTLP does not know have no JSON and are left out as well.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::rewrite::{Take, rewrite};
use crate::schema::{ARRAY_VALUE, ENTITY_REF, FieldDef, KEY_VALUE, KEY_VALUE_LIST, Kind, REQUEST, Schema};
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

fn message(schema: &'static Schema, message: &[u8], out: &mut Vec<u8>) {
    let insists = INSISTED.iter().any(|other| std::ptr::eq(*other, schema));
    let mut before = b'{';
    for (number, def) in schema.known() {
        // The wire may have fields in any order, JSON wants the items of a list together; walking
        // again for each field needs no memory, however many there are.
        let mut group = fields(message).filter(|field| field.number == number).peekable();
        let is_member = !def.is_repeated() && def.excludes != 1 << number;
        let is_set = |field: &FieldAt| def.is_repeated() || is_member || !is_unset(def, *field);
        let is_written = group.peek().is_some_and(is_set) || insists && is_listed(def);
        if !is_written {
            continue;
        }
        out.push(std::mem::replace(&mut before, b','));
        text(def.name, out);
        out.push(b':');
        if def.is_repeated() {
            array(def, group, message, out);
        } else if let Some(field) = group.next() {
            value(def, field, message, out);
        } else {
            quoted("", out);
        }
    }
    if before == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
}

/// Messages of which readers made with opentelemetry-proto for Rust miss fields that are not
/// there, though OTLP lets unset ones be left out: their texts and lists are always written.
static INSISTED: [&Schema; 4] = [&KEY_VALUE, &ARRAY_VALUE, &KEY_VALUE_LIST, &ENTITY_REF];

fn is_listed(def: &FieldDef) -> bool {
    def.is_repeated() || matches!(def.kind, Kind::String)
}

fn is_unset(def: &FieldDef, field: FieldAt) -> bool {
    match def.kind {
        Kind::Message(_) => false,
        Kind::String | Kind::Bytes | Kind::Id(_) | Kind::OptionalId(_) => field.len() == 0,
        Kind::Uint32 | Kind::Int32 | Kind::Enum(_) => field.value as u32 == 0,
        _ => field.value == 0,
    }
}

fn array(def: &FieldDef, group: impl Iterator<Item = FieldAt>, message: &[u8], out: &mut Vec<u8>) {
    out.push(b'[');
    for (i, field) in group.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        value(def, field, message, out);
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
    let digit = |half: u8| {
        if half < 10 { b'0' + half } else { b'a' + half - 10 }
    };
    out.push(b'"');
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(byte & 15));
    }
    out.push(b'"');
}
