//! Nested attribute values: arrays and maps, as their protobuf bytes.
//!
//! The walk sees every string that is in the bytes, overridden occurrences of a oneof included, so
//! that nothing hides behind the value that a decoder would show. The host has validated the bytes.

use crate::columns::kind;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// What a length-delimited field holds.
#[derive(Clone, Copy)]
enum Message {
    Array,
    Map,
    KeyValue,
    Value,
}

/// Looks at every string and every byte value within an array or a map, and gives the bytes
/// rebuilt with the replacements that `replace` returns; `None` if it returned none. Keys of maps
/// are shown, too. `kind` is [`kind::ARRAY`] or [`kind::KVLIST`]; other kinds hold no strings.
pub fn replace_strings(kind: u8, bytes: &[u8], replace: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let message = match kind {
        kind::ARRAY => Message::Array,
        kind::KVLIST => Message::Map,
        _ => return None,
    };
    rebuild(message, bytes, replace)
}

enum Child {
    Text,
    Nested(Message),
    Other,
}

fn child(message: Message, field: u64) -> Child {
    match (message, field) {
        (Message::Array, 1) | (Message::KeyValue, 2) => Child::Nested(Message::Value),
        (Message::Map, 1) => Child::Nested(Message::KeyValue),
        (Message::Value, 5) => Child::Nested(Message::Array),
        (Message::Value, 6) => Child::Nested(Message::Map),
        (Message::KeyValue, 1) | (Message::Value, 1 | 7) => Child::Text,
        _ => Child::Other,
    }
}

fn rebuild(message: Message, bytes: &[u8], replace: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let (mut out, mut copied, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        let (key, body) = varint(bytes, at)?;
        let (field, wire) = (key >> 3, key & 7);
        if wire != BYTES {
            at = skip(bytes, body, wire)?;
            continue;
        }
        let (len, from) = varint(bytes, body)?;
        let to = from.checked_add(usize::try_from(len).ok()?)?;
        let content = bytes.get(from..to)?;
        let new = match child(message, field) {
            Child::Text => replace(content),
            Child::Nested(inner) => rebuild(inner, content, replace),
            Child::Other => None,
        };
        if let Some(new) = new {
            out.extend_from_slice(bytes.get(copied..body)?);
            put_varint(&mut out, new.len() as u64);
            out.extend_from_slice(&new);
            copied = to;
        }
        at = to;
    }
    if copied == 0 {
        return None;
    }
    out.extend_from_slice(bytes.get(copied..)?);
    Some(out)
}

/// The number at `at`, and where it ends.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, byte) in bytes.get(at..)?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, at + i + 1));
        }
    }
    None
}

/// Where a field ends that is not length-delimited. Groups, which OTLP does not have, end the walk.
fn skip(bytes: &[u8], at: usize, wire: u64) -> Option<usize> {
    match wire {
        VARINT => varint(bytes, at).map(|(_, end)| end),
        FIXED64 => Some(at + 8),
        FIXED32 => Some(at + 4),
        _ => None,
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
