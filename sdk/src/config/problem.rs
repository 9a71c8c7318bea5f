//! What is wrong with a value, in words.

use std::fmt::{self, Display};

use serde::de::{Error, Expected, Unexpected};

/// What is wrong. Where, the reader knows.
#[derive(Debug)]
pub(super) struct Problem(pub String);

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Problem {}

impl Error for Problem {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        unexpected("type", found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        unexpected("value", found, expected)
    }
}

fn unexpected(what: &str, found: Unexpected<'_>, expected: &dyn Expected) -> Problem {
    // Not serde's own words: they print doubles, and the code for that would be in every plugin.
    let found = match found {
        Unexpected::Bool(value) => format!("boolean `{value}`"),
        Unexpected::Unsigned(number) => format!("integer `{number}`"),
        Unexpected::Signed(number) => format!("integer `{number}`"),
        Unexpected::Float(_) => "floating point number".to_owned(),
        Unexpected::Char(c) => format!("character `{c}`"),
        Unexpected::Str(text) => format!("string {text:?}"),
        Unexpected::Unit => "null".to_owned(),
        Unexpected::Seq => "sequence".to_owned(),
        Unexpected::Map => "map".to_owned(),
        Unexpected::Other(other) => other.to_owned(),
        _ => "another value".to_owned(),
    };
    Problem(format!("invalid {what}: {found}, expected {expected}"))
}
