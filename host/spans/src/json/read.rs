//! JSON to protobuf. Lenient: `snake_case` as well as `camelCase`, integers as strings or numbers,
//! enums by name or number, hexadecimal in either case, both alphabets of base64, null for
//! absent, unknown keys ignored.
//!
//! It is written as it is read, and nothing else is built: what a document takes is what it comes to in protobuf,
//! which is never longer than the document.

mod skip;
mod values;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::JsonError;
use crate::schema::{ANY_VALUE, FieldDef, Kind, REQUEST, Schema};
use crate::wire::{LEN, MAX_DEPTH, close_frame, open_frame, put_bytes, put_key, put_varint};
use skip::Skip;
use values::{expected, number_of};

/// Reads an OTLP/JSON request into protobuf. What comes out passes [`crate::validate`], and is not longer than what
/// goes in.
///
/// # Errors
/// Says where the document is not JSON, or where a value is not what its field holds: a number
/// that does not fit, an id of a wrong length or none, two members of one value, a field given twice, or messages
/// that are nested deeper than [`crate::validate`] allows.
pub fn from_json(json: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    // It counts levels of JSON, of which a message is one or two, and has its own limit.
    reader.disable_recursion_limit();
    let mut to = Writer { out: Vec::with_capacity(json.len() / 2), fault: None };
    let request = Value { place: Place::Document, kind: Kind::Message(&REQUEST), depth: MAX_DEPTH, to: &mut to };
    let read = request.deserialize(&mut reader).and_then(|_| reader.end());
    match read {
        Ok(()) => {
            to.out.shrink_to_fit();
            Ok(to.out)
        }
        Err(error) => Err(to.fault.unwrap_or_else(|| JsonError::new(error.to_string()))),
    }
}

/// Most messages are shorter than 128 bytes: one byte is left for their length.
const USUAL_LEN: usize = 100;

/// What was read so far, as protobuf.
struct Writer {
    out: Vec<u8>,
    /// Why reading has ended, if the document is JSON.
    fault: Option<JsonError>,
}

impl Writer {
    /// Ends reading.
    fn fail<E: Error>(&mut self, fault: JsonError) -> E {
        self.fault = Some(fault);
        E::custom("no OTLP")
    }

    /// Tells that the value in which reading has ended is under `step`.
    fn under(&mut self, step: &str) {
        self.fault = self.fault.take().map(|fault| fault.under(step));
    }
}

/// A value as far as it is not looked into.
#[derive(Debug)]
enum Json<'j> {
    Null,
    Bool(bool),
    Number(Number),
    Text(&'j str),
    List,
    Object,
}

/// Where a value stands.
#[derive(Clone, Copy)]
enum Place {
    Document,
    /// It is the field of this number, or all of it if that is repeated.
    Field(u32, &'static FieldDef),
    /// In the list of this number.
    Item(u32),
}

/// A value that is going to be read. Gives whether there is one: null is none.
struct Value<'w> {
    place: Place,
    kind: Kind,
    /// How many messages may be around the next one.
    depth: u32,
    to: &'w mut Writer,
}

impl Value<'_> {
    fn is_list(&self) -> bool {
        matches!(self.place, Place::Field(_, def) if def.is_repeated())
    }

    /// Writes a value that is no message and no list.
    fn scalar<E: Error>(self, value: &Json<'_>) -> Result<bool, E> {
        let written = match self.place {
            _ if self.is_list() => Err(expected("an array", value)),
            Place::Field(number, def) => {
                // A member of a oneof is written whatever it holds, any other only if it says something.
                let is_member = def.excludes != 1 << number;
                put(number, self.kind, value, is_member, &mut self.to.out)
            }
            Place::Item(number) => put(number, self.kind, value, true, &mut self.to.out),
            Place::Document => Err(expected("an object", value)),
        };
        written.map(|()| true).map_err(|fault| self.to.fail(fault))
    }

    /// Writes a message of which only its fields are to be read.
    fn message<E: Error>(
        self,
        schema: &'static Schema,
        fields: impl FnOnce(&mut Writer, &'static Schema, u32) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Self { place, depth, to, .. } = self;
        let (Place::Field(number, _) | Place::Item(number)) = place else {
            return fields(to, schema, depth).map(|()| true);
        };
        let Some(depth) = depth.checked_sub(1) else {
            return Err(to.fail(JsonError::new(format!("nested more than {MAX_DEPTH} deep"))));
        };
        put_key(&mut to.out, number, LEN);
        let frame = open_frame(&mut to.out, USUAL_LEN);
        fields(to, schema, depth)?;
        close_frame(&mut to.out, frame);
        Ok(true)
    }
}

impl<'j> DeserializeSeed<'j> for Value<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'j>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'j> Visitor<'j> for Value<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        match (self.place, self.kind) {
            (Place::Field(..), _) => Ok(false),
            // An array may hold a value that is nothing.
            (Place::Item(_), Kind::Message(schema)) if std::ptr::eq(schema, &raw const ANY_VALUE) => {
                self.message(schema, |_, _, _| Ok(()))
            }
            _ => self.scalar(&Json::Null),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        self.scalar(&Json::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        self.scalar(&Json::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        self.scalar(&Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<bool, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("number out of range"))?;
        self.scalar(&Json::Number(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        self.scalar(&Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'j>>(self, mut items: A) -> Result<bool, A::Error> {
        let Place::Field(number, _) = self.place else { return self.scalar(&Json::List) };
        if !self.is_list() {
            return self.scalar(&Json::List);
        }
        let Self { kind, depth, to, .. } = self;
        for i in 0.. {
            let item = Value { place: Place::Item(number), kind, depth, to: &mut *to };
            match items.next_element_seed(item) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    to.under(&format!("[{i}]"));
                    return Err(error);
                }
            }
        }
        Ok(true)
    }

    fn visit_map<A: MapAccess<'j>>(self, members: A) -> Result<bool, A::Error> {
        match self.kind {
            Kind::Message(schema) if !self.is_list() => {
                self.message(schema, |to, schema, depth| fields(members, schema, depth, to))
            }
            _ => self.scalar(&Json::Object),
        }
    }
}

/// Writes the fields of a message, in the order of their numbers.
fn fields<'j, A: MapAccess<'j>>(
    mut members: A,
    schema: &'static Schema,
    depth: u32,
    to: &mut Writer,
) -> Result<(), A::Error> {
    let (mut order, mut seen) = (Order::default(), 0);
    while let Some(key) = members.next_key_seed(Key(schema))? {
        let Some((number, def)) = key else {
            members.next_value_seed(Skip::under(depth))?;
            continue;
        };
        let start = to.out.len();
        let value = Value { place: Place::Field(number, def), kind: def.kind, depth, to: &mut *to };
        let is_there = match members.next_value_seed(value) {
            Ok(is_there) => is_there,
            Err(error) => {
                to.under(def.name);
                return Err(error);
            }
        };
        if !is_there {
            continue;
        }
        let bits = if def.is_repeated() { 1 << number } else { def.excludes };
        if seen & bits != 0 {
            let twice = JsonError::new("this or another value of the same field is given twice");
            return Err(to.fail(twice.under(def.name)));
        }
        seen |= 1 << number;
        order.put(number, start, &mut to.out);
    }
    let is_missing = |number: &u32| schema.required & !seen & 1 << number != 0;
    match schema.known().find(|(number, _)| is_missing(number)) {
        Some((_, def)) => Err(to.fail(JsonError::new("an id is missing").under(def.name))),
        None => Ok(()),
    }
}

/// Where the fields of a message begin that are written so far.
struct Order([usize; 17]);

impl Default for Order {
    fn default() -> Self {
        Self([usize::MAX; 17])
    }
}

impl Order {
    /// Puts the field that was written from `start` on in front of those that have higher numbers.
    fn put(&mut self, number: u32, start: usize, out: &mut [u8]) {
        let (_, behind) = self.0.split_at_mut_checked(number as usize + 1).unwrap_or_default();
        let at = behind.iter().copied().fold(start, usize::min);
        if at < start {
            let len = out.len() - start;
            if let Some(moved) = out.get_mut(at..) {
                moved.rotate_right(len);
            }
            behind.iter_mut().filter(|start| **start != usize::MAX).for_each(|start| *start += len);
        }
        if let Some(place) = self.0.get_mut(number as usize) {
            *place = at;
        }
    }
}

/// A key of a message's object: gives the field that it names.
struct Key(&'static Schema);

impl<'j> DeserializeSeed<'j> for Key {
    type Value = Option<(u32, &'static FieldDef)>;

    fn deserialize<D: Deserializer<'j>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<(u32, &'static FieldDef)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.known().find(|(_, def)| is_name(def.name, key)))
    }
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

/// Writes a field that is no message.
fn put(number: u32, kind: Kind, value: &Json<'_>, writes_default: bool, out: &mut Vec<u8>) -> Result<(), JsonError> {
    match kind {
        Kind::Message(_) => return Err(expected("an object", value)),
        Kind::String | Kind::Bytes | Kind::Id(_) | Kind::OptionalId(_) => {
            let bytes = values::bytes_of(kind, value)?;
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
