//! Values that stand in a configuration.

use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sluice_sdk::kind;
use sluice_sdk::prelude::*;

/// The value of an attribute; none of a list or a map, which are told with the path of their action.
pub(crate) struct Constant(Option<Values>);

impl Constant {
    /// The value that stands at `path`.
    pub(crate) fn read(self, path: &str) -> Result<Values, ConfigError> {
        self.0.ok_or_else(|| ConfigError::new(path, "must be a string, a number or a boolean"))
    }

    /// If it is a text.
    pub(crate) fn text(&self) -> Option<&str> {
        self.0.as_ref().filter(|values| values.kind(0) == kind::STRING).map(|values| values.texts.str(0))
    }
}

impl<'de> Deserialize<'de> for Constant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Option<Values>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number or a boolean")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Some(Values::bool(value)))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Some(Values::int(number)))
            }

            /// An attribute has no integer beyond `i64`.
            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Some(i64::try_from(number).map_or_else(|_| Values::double(number as f64), Values::int)))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Some(Values::double(number)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Some(Values::string(text)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                IgnoredAny.visit_seq(list).map(|_| None)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                IgnoredAny.visit_map(map).map(|_| None)
            }
        }

        deserializer.deserialize_any(Any).map(Self)
    }
}
