//! A plugin's configuration, from JSON to its type.
//!
//! The host sends what a processor's keys say as one JSON text. This reader knows at every moment where in it it is,
//! so that what is wrong is told with its path: `actions[2].key`. It is small on purpose, because every plugin
//! carries it: a general one that notes paths was a fifth of a plugin's code.

mod json;
mod problem;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use crate::lifecycle::ConfigError;
use json::{Found, Reader};
use problem::Problem;

/// Reads a configuration.
pub(crate) fn read<T: DeserializeOwned>(json: &str) -> Result<T, ConfigError> {
    let mut reader = Reader::new(json);
    let read = T::deserialize(&mut reader).and_then(|config| reader.end().map(|()| config));
    read.map_err(|problem| ConfigError { path: reader.path(), message: problem.0 })
}

impl<'de> Deserializer<'de> for &mut Reader<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value()? {
            Found::Null => visitor.visit_unit(),
            Found::Bool(value) => visitor.visit_bool(value),
            Found::Unsigned(number) => visitor.visit_u64(number),
            Found::Signed(number) => visitor.visit_i64(number),
            Found::Float(number) => visitor.visit_f64(number),
            Found::Text(text) => visitor.visit_string(text),
            Found::List => {
                let value = visitor.visit_seq(Items { reader: self, next: 0 })?;
                self.close(b']').map(|()| value)
            }
            Found::Map => {
                let value = visitor.visit_map(Entries { reader: self, is_first: true })?;
                self.close(b'}').map(|()| value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.skip_null()? { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    /// `"variant"`, or `{"variant": …}` for one that carries something.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.value()? {
            Found::Text(variant) => visitor.visit_enum(Variant { reader: self, name: variant, carries: false }),
            Found::Map => {
                let Some(name) = self.next_key(true)? else { return Err(Problem::custom("a variant is missing")) };
                let value = visitor.visit_enum(Variant { reader: self, name, carries: true })?;
                self.leave();
                self.close(b'}').map(|()| value)
            }
            _ => Err(Problem::custom("expected the name of a variant")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// The items of a list.
struct Items<'r, 'j> {
    reader: &'r mut Reader<'j>,
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Problem> {
        if !self.reader.next_item(self.next)? {
            return Ok(None);
        }
        self.next += 1;
        let item = seed.deserialize(&mut *self.reader)?;
        self.reader.leave();
        Ok(Some(item))
    }
}

/// The entries of a map.
struct Entries<'r, 'j> {
    reader: &'r mut Reader<'j>,
    is_first: bool,
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        let is_first = std::mem::take(&mut self.is_first);
        self.reader.next_key(is_first)?.map(|key| seed.deserialize(Key(key))).transpose()
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Problem> {
        let value = seed.deserialize(&mut *self.reader)?;
        self.reader.leave();
        Ok(value)
    }
}

/// The key of an entry. It is a text; a number is one that is written in it.
struct Key(String);

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            if let Ok(number) = self.0.parse() {
                visitor.visit_u64(number)
            } else if let Ok(number) = self.0.parse() {
                visitor.visit_i64(number)
            } else {
                visitor.visit_string(self.0)
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Key {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_string(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_enum(serde::de::value::StringDeserializer::new(self.0))
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_u128
    }

    forward_to_deserialize_any! {
        bool f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

/// One of several forms that a value may have.
struct Variant<'r, 'j> {
    reader: &'r mut Reader<'j>,
    name: String,
    carries: bool,
}

impl<'de> EnumAccess<'de> for Variant<'_, '_> {
    type Error = Problem;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(mut self, seed: T) -> Result<(T::Value, Self), Problem> {
        let name = seed.deserialize(Key(std::mem::take(&mut self.name)))?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        if self.carries { serde::Deserialize::deserialize(self.reader) } else { Ok(()) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Problem> {
        if self.carries { seed.deserialize(self.reader) } else { Err(Problem::custom("expected a map with a value")) }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.struct_variant(&[], visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Problem> {
        if self.carries {
            self.reader.deserialize_any(visitor)
        } else {
            Err(Problem::custom("expected a map with a value"))
        }
    }
}

#[cfg(test)]
mod tests;
