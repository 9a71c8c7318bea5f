//! The configuration as it is written: YAML values that know where they stand.

use super::mark::Mark;

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Where it stands.
    pub mark: Mark,
    /// What it is.
    pub value: Value,
    /// What a substitution put here, literally. A key that wants a string takes this, so that a
    /// password of digits stays what it is.
    pub original: Option<String>,
}

/// What YAML knows.
#[derive(Debug, Clone)]
pub enum Value {
    /// `null`, `~`, or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// A mapping, in the order written.
    Map(Vec<Entry>),
}

/// An entry of a mapping.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub mark: Mark,
    /// The value.
    pub value: Tree,
}

impl Value {
    /// What it is called in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "empty",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Tree {
    /// A value as it is written.
    pub fn new(mark: Mark, value: Value) -> Self {
        Self { mark, value, original: None }
    }

    /// Nothing.
    pub fn null(mark: Mark) -> Self {
        Self::new(mark, Value::Null)
    }

    /// Puts a later source over this one: mappings are merged key by key, anything else is
    /// replaced, lists too.
    pub fn merge(&mut self, later: Self) {
        match (&mut self.value, later) {
            (Value::Map(entries), Self { value: Value::Map(over), .. }) => {
                for entry in over {
                    match entries.iter_mut().find(|known| known.key == entry.key) {
                        Some(known) => {
                            known.mark = entry.mark;
                            known.value.merge(entry.value);
                        }
                        None => entries.push(entry),
                    }
                }
            }
            (_, later) => *self = later,
        }
    }

    /// The same as JSON; types stay. What JSON cannot say (infinities, NaN) becomes null.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Integer(value) => Json::from(*value),
            Value::Float(value) => Json::from(*value),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(list) => Json::Array(list.iter().map(Self::to_json).collect()),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect())
            }
        }
    }
}
