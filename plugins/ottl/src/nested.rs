//! What is within arrays and maps, which are protobuf bytes that the host has validated.

use super::value::{Literal, Value};

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// A field: its number, its bytes if it has some, else its bits.
type Field<'a> = (u64, &'a [u8], u64);

/// The items of an array.
pub(super) fn items(list: &[u8]) -> impl Iterator<Item = Value<'_>> {
    Fields(list).filter(|(field, _, _)| *field == 1).map(|(_, item, _)| value(item))
}

/// The entries of a map.
pub(super) fn entries(map: &[u8]) -> impl Iterator<Item = (&[u8], Value<'_>)> {
    Fields(map).filter(|(field, _, _)| *field == 1).map(|(_, entry, _)| {
        let last = |wanted| Fields(entry).filter(|(field, _, _)| *field == wanted).last().map(|(_, bytes, _)| bytes);
        (last(1).unwrap_or_default(), last(2).map_or(Value::Nil, value))
    })
}

/// A list as the bytes of an array.
pub(super) fn list(items: &[Literal]) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        message(1, &any(item), &mut out);
    }
    out
}

/// The bytes of an `AnyValue`.
fn any(value: &Literal) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Literal::Nil | Literal::Duration(_) => {}
        Literal::String(text) => message(1, text.as_bytes(), &mut out),
        Literal::Bool(value) => out.extend([2 << 3, u8::from(*value)]),
        Literal::Int(number) => {
            out.push(3 << 3);
            varint(number.cast_unsigned(), &mut out);
        }
        Literal::Float(number) => {
            out.push(4 << 3 | FIXED64 as u8);
            out.extend(number.to_bits().to_le_bytes());
        }
        Literal::List(items) => message(5, &list(items), &mut out),
        Literal::Map(bytes) => message(6, bytes, &mut out),
        Literal::Bytes(bytes) => message(7, bytes, &mut out),
    }
    out
}

fn message(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | BYTES as u8);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// An `AnyValue`, of which the last member counts.
fn value(any: &[u8]) -> Value<'_> {
    Fields(any).filter_map(member).last().unwrap_or(Value::Nil)
}

fn member((field, bytes, bits): Field<'_>) -> Option<Value<'_>> {
    Some(match field {
        1 => Value::String(bytes),
        2 => Value::Bool(bits != 0),
        3 => Value::Int(bits.cast_signed()),
        4 => Value::Float(f64::from_bits(bits)),
        5 => Value::List(bytes),
        6 => Value::Map(bytes),
        7 => Value::Bytes(bytes),
        _ => return None,
    })
}

/// The fields of a message, until its end or until what is none: a group, which OTLP has not.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let key = self.varint()?;
        let (bytes, bits) = match key & 7 {
            VARINT => (&[][..], self.varint()?),
            FIXED64 => {
                let (bits, rest) = self.0.split_first_chunk::<8>()?;
                self.0 = rest;
                (&[][..], u64::from_le_bytes(*bits))
            }
            BYTES => {
                let len = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(len)?;
                self.0 = rest;
                (bytes, 0)
            }
            FIXED32 => {
                let (bits, rest) = self.0.split_first_chunk::<4>()?;
                self.0 = rest;
                (&[][..], u64::from(u32::from_le_bytes(*bits)))
            }
            _ => return None,
        };
        Some((key >> 3, bytes, bits))
    }
}

impl Fields<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}
