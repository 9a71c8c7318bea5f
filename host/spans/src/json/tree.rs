//! JSON as it stands: every member of an object in its order, also one whose key comes again.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::JsonError;
use crate::wire::MAX_DEPTH;

/// The most levels of objects and lists: a request as deep as a message may be, with a list around each message
/// in it, and one message more, so that it is told by its place.
const MAX_LEVELS: u32 = 2 * (MAX_DEPTH + 1) + 1;

/// A value. Texts without escapes are not copied.
#[derive(Debug)]
pub(super) enum Json<'j> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'j, str>),
    List(Vec<Json<'j>>),
    Object(Vec<(Cow<'j, str>, Json<'j>)>),
}

/// Reads a document.
pub(super) fn parse(json: &[u8]) -> Result<Json<'_>, JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    // It counts levels of JSON, of which a message is one or two, and has its own limit.
    reader.disable_recursion_limit();
    let document = Levels(MAX_LEVELS).deserialize(&mut reader);
    document.and_then(|document| reader.end().map(|()| document)).map_err(|error| JsonError::new(error.to_string()))
}

/// How many levels a value may have.
#[derive(Clone, Copy)]
struct Levels(u32);

impl Levels {
    fn below<E: Error>(self) -> Result<Self, E> {
        let fewer = self.0.checked_sub(1).map(Self);
        fewer.ok_or_else(|| E::custom(format_args!("nested more than {MAX_DEPTH} deep")))
    }
}

impl<'j> DeserializeSeed<'j> for Levels {
    type Value = Json<'j>;

    fn deserialize<D: Deserializer<'j>>(self, reader: D) -> Result<Json<'j>, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'j> Visitor<'j> for Levels {
    type Value = Json<'j>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'j>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'j>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'j>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'j>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json<'j>, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_borrowed_str<E>(self, text: &'j str) -> Result<Json<'j>, E> {
        Ok(Json::Text(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'j>, E> {
        Ok(Json::Text(text.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'j>>(self, mut items: A) -> Result<Json<'j>, A::Error> {
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'j>>(self, mut members: A) -> Result<Json<'j>, A::Error> {
        let below = self.below()?;
        let mut object = Vec::new();
        while let Some((key, value)) = members.next_entry_seed(below, below)? {
            let Json::Text(key) = key else { return Err(A::Error::custom("a key that is no string")) };
            object.push((key, value));
        }
        Ok(Json::Object(object))
    }
}
