//! Nested attribute values: arrays and maps, as their protobuf bytes.
//!
//! The walk sees every string that is in the bytes, overridden occurrences of a oneof included, so
//! that nothing hides behind the value that a decoder would show. The host has validated the bytes.

use std::fmt;

use crate::columns::kind;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const GROUP: u64 = 3;
const GROUP_END: u64 = 4;
const FIXED32: u64 = 5;

/// The field of an `AnyValue` that is a string.
const STRING_VALUE: u64 = 1;

/// A value within a value within a value counts three for each; the host takes 100 in all.
const MAX_DEPTH: usize = 128;

/// What a length-delimited field holds.
#[derive(Clone, Copy)]
enum Message {
    Array,
    Map,
    KeyValue,
    Value,
}

/// The bytes are no value of their kind. It does not happen with what the host gives, but whoever
/// must not let a string pass has to say what happens if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the nested value cannot be read")
    }
}

impl std::error::Error for Unreadable {}

/// A value that is neither array nor map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Leaf<'a> {
    /// A string, bytes, or a key of a map.
    Text(&'a [u8]),
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
}

type Replace<'a> = dyn FnMut(Leaf<'_>) -> Option<Vec<u8>> + 'a;

/// Looks at every string and every byte value within an array or a map, and gives the bytes
/// rebuilt with the replacements that `replace` returns; `None` if it returned none. Keys of maps
/// are shown, too. `kind` is [`kind::ARRAY`] or [`kind::KVLIST`]; other kinds hold no strings.
///
/// # Errors
/// The bytes are no array or map.
pub fn replace_strings(
    kind: u8,
    bytes: &[u8],
    replace: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, Unreadable> {
    replace_leaves(kind, bytes, &mut |leaf| match leaf {
        Leaf::Text(text) => replace(text),
        _ => None,
    })
}

/// The same for values of every type: a number or a boolean for which `replace` returns something
/// becomes a string.
///
/// # Errors
/// The bytes are no array or map.
pub fn replace_leaves(kind: u8, bytes: &[u8], replace: &mut Replace<'_>) -> Result<Option<Vec<u8>>, Unreadable> {
    match kind {
        kind::ARRAY => rebuild(Message::Array, bytes, replace, MAX_DEPTH),
        kind::KVLIST => rebuild(Message::Map, bytes, replace, MAX_DEPTH),
        _ => Ok(None),
    }
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

fn rebuild(
    message: Message,
    bytes: &[u8],
    replace: &mut Replace<'_>,
    depth: usize,
) -> Result<Option<Vec<u8>>, Unreadable> {
    let depth = depth.checked_sub(1).ok_or(Unreadable)?;
    let (mut out, mut copied, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        let (key, body) = varint(bytes, at)?;
        let (field, wire) = (key >> 3, key & 7);
        if wire != BYTES {
            let end = skip(bytes, body, field, wire, depth)?;
            if let Some(new) = scalar(message, field, bytes, body, end).and_then(&mut *replace) {
                out.extend_from_slice(bytes.get(copied..at).ok_or(Unreadable)?);
                put_varint(&mut out, STRING_VALUE << 3 | BYTES);
                put_varint(&mut out, new.len() as u64);
                out.extend_from_slice(&new);
                copied = end;
            }
            at = end;
            continue;
        }
        let (from, to) = delimited(bytes, body)?;
        let content = bytes.get(from..to).ok_or(Unreadable)?;
        let new = match child(message, field) {
            Child::Text => replace(Leaf::Text(content)),
            Child::Nested(inner) => rebuild(inner, content, replace, depth)?,
            Child::Other => None,
        };
        if let Some(new) = new {
            out.extend_from_slice(bytes.get(copied..body).ok_or(Unreadable)?);
            put_varint(&mut out, new.len() as u64);
            out.extend_from_slice(&new);
            copied = to;
        }
        at = to;
    }
    if copied == 0 {
        return Ok(None);
    }
    out.extend_from_slice(bytes.get(copied..).ok_or(Unreadable)?);
    Ok(Some(out))
}

/// A value that is a number or a boolean.
fn scalar(message: Message, field: u64, bytes: &[u8], from: usize, end: usize) -> Option<Leaf<'static>> {
    let number = || varint(bytes, from).ok().map(|(number, _)| number);
    match (message, field) {
        (Message::Value, 2) => Some(Leaf::Bool(number()? != 0)),
        (Message::Value, 3) => Some(Leaf::Int(number()?.cast_signed())),
        (Message::Value, 4) => Some(Leaf::Double(f64::from_le_bytes(bytes.get(from..end)?.try_into().ok()?))),
        _ => None,
    }
}

/// The number at `at`, and where it ends.
fn varint(bytes: &[u8], at: usize) -> Result<(u64, usize), Unreadable> {
    let mut value = 0;
    for (i, byte) in bytes.get(at..).ok_or(Unreadable)?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok((value, at + i + 1));
        }
    }
    Err(Unreadable)
}

/// Where the content of a length-delimited field begins and ends.
fn delimited(bytes: &[u8], at: usize) -> Result<(usize, usize), Unreadable> {
    let (len, from) = varint(bytes, at)?;
    let len = usize::try_from(len).map_err(|_| Unreadable)?;
    let to = from.checked_add(len).filter(|to| *to <= bytes.len()).ok_or(Unreadable)?;
    Ok((from, to))
}

/// Where a field ends. OTLP has no groups, but one that nobody knows is valid.
fn skip(bytes: &[u8], at: usize, field: u64, wire: u64, depth: usize) -> Result<usize, Unreadable> {
    let end = match wire {
        VARINT => varint(bytes, at)?.1,
        FIXED64 => at + 8,
        BYTES => delimited(bytes, at)?.1,
        GROUP => {
            let depth = depth.checked_sub(1).ok_or(Unreadable)?;
            let mut at = at;
            loop {
                let (key, body) = varint(bytes, at)?;
                if key & 7 == GROUP_END {
                    break if key >> 3 == field { body } else { return Err(Unreadable) };
                }
                at = skip(bytes, body, key >> 3, key & 7, depth)?;
            }
        }
        FIXED32 => at + 4,
        _ => return Err(Unreadable),
    };
    if end > bytes.len() { Err(Unreadable) } else { Ok(end) }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
