//! Values and their comparison.

use std::cmp::Ordering;

use super::nested;

/// A constant in a condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// The absence of a value.
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// A 64-bit integer; enums are integers.
    Int(i64),
    /// A double.
    Float(f64),
    /// A string.
    String(String),
    /// Bytes, `0x…`.
    Bytes(Vec<u8>),
    /// A duration in nanoseconds.
    Duration(i64),
    /// A list that a condition makes.
    List(Vec<Literal>),
    /// A map out of an attribute, as protobuf bytes.
    Map(Vec<u8>),
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A value at run time. Strings are bytes, because nothing here needs them checked again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(&'a [u8]),
    Bytes(&'a [u8]),
    /// An array, as protobuf bytes.
    List(&'a [u8]),
    /// A map, as protobuf bytes.
    Map(&'a [u8]),
    /// Nanoseconds.
    Duration(i64),
    /// A list that a condition has made.
    Items(&'a [Literal]),
}

/// What evaluation gives: something that stands in a column or a condition, or something new.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Got<'a> {
    There(Value<'a>),
    New(Literal),
}

impl Got<'_> {
    #[inline]
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::There(value) => *value,
            Self::New(literal) => literal.value(),
        }
    }
}

impl Value<'_> {
    /// The same, kept.
    pub(super) fn literal(self) -> Literal {
        match self {
            Self::Nil => Literal::Nil,
            Self::Bool(value) => Literal::Bool(value),
            Self::Int(value) => Literal::Int(value),
            Self::Float(value) => Literal::Float(value),
            // Texts are UTF-8, which the host has checked.
            Self::String(text) => Literal::String(String::from_utf8_lossy(text).into_owned()),
            Self::Bytes(bytes) => Literal::Bytes(bytes.to_owned()),
            Self::Duration(nanos) => Literal::Duration(nanos),
            Self::Items(items) => Literal::List(items.to_owned()),
            Self::List(bytes) => Literal::List(nested::items(bytes).map(Self::literal).collect()),
            Self::Map(bytes) => Literal::Map(bytes.to_owned()),
        }
    }

    /// Its type, for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a double",
            Self::String(_) => "a string",
            Self::Bytes(_) => "bytes",
            Self::List(_) | Self::Items(_) => "a list",
            Self::Map(_) => "a map",
            Self::Duration(_) => "a duration",
        }
    }
}

impl Literal {
    #[inline]
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Nil => Value::Nil,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) => Value::Float(*value),
            Self::String(text) => Value::String(text.as_bytes()),
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Duration(nanos) => Value::Duration(*nanos),
            Self::List(items) => Value::Items(items),
            Self::Map(bytes) => Value::Map(bytes),
        }
    }
}

impl Operator {
    #[inline]
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    /// Whether the comparison is true. Values that cannot be compared are unequal, and no order
    /// between them is true. Nil equals nil, with `<=` and `>=` as well.
    #[inline]
    pub(super) fn compare(self, left: Value<'_>, right: Value<'_>) -> bool {
        let order = match (left, right) {
            (Value::Nil, Value::Nil) => return matches!(self, Self::Equal | Self::LessOrEqual | Self::GreaterOrEqual),
            (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(&right)),
            (Value::Int(left), Value::Int(right)) | (Value::Duration(left), Value::Duration(right)) => {
                Some(left.cmp(&right))
            }
            (Value::Int(left), Value::Float(right)) => (left as f64).partial_cmp(&right),
            (Value::Float(left), Value::Int(right)) => left.partial_cmp(&(right as f64)),
            (Value::Float(left), Value::Float(right)) => left.partial_cmp(&right),
            (Value::String(left), Value::String(right)) | (Value::Bytes(left), Value::Bytes(right)) => {
                Some(left.cmp(right))
            }
            (Value::List(left), Value::List(right)) | (Value::Map(left), Value::Map(right)) => {
                return match self {
                    Self::Equal => left == right,
                    Self::NotEqual => left != right,
                    _ => false,
                };
            }
            (Value::List(_) | Value::Items(_), Value::List(_) | Value::Items(_)) => {
                return match self {
                    Self::Equal => left.literal() == right.literal(),
                    Self::NotEqual => left.literal() != right.literal(),
                    _ => false,
                };
            }
            _ => None,
        };
        order.map_or(self == Self::NotEqual, |order| self.holds(order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Operator; 6] = [
        Operator::Equal,
        Operator::NotEqual,
        Operator::Less,
        Operator::LessOrEqual,
        Operator::Greater,
        Operator::GreaterOrEqual,
    ];

    /// OTTL's comparison rules (`LANGUAGE.md`), as the results of `== != < <= > >=`.
    #[test]
    fn comparisons_follow_ottls_rules() {
        let less = [false, true, true, true, false, false];
        let equal = [true, false, false, true, false, true];
        let greater = [false, true, false, false, true, true];
        let unrelated = [false, true, false, false, false, false];
        let cases = [
            (Value::Int(1), Value::Int(2), less),
            (Value::Int(2), Value::Float(1.5), greater),
            (Value::Float(2.0), Value::Int(2), equal),
            (Value::Float(f64::NAN), Value::Float(f64::NAN), unrelated),
            (Value::String(b"a"), Value::String(b"b"), less),
            (Value::String(b"10"), Value::String(b"9"), less),
            (Value::Bool(true), Value::Bool(false), greater),
            (Value::Bytes(&[1]), Value::Bytes(&[1]), equal),
            (Value::Nil, Value::Nil, equal),
            (Value::Nil, Value::String(b""), unrelated),
            (Value::Int(0), Value::Nil, unrelated),
            (Value::String(b"200"), Value::Int(200), unrelated),
            (Value::Bool(true), Value::Int(1), unrelated),
            (Value::Bytes(b"a"), Value::String(b"a"), unrelated),
        ];
        for (left, right, expected) in cases {
            assert_eq!(ALL.map(|operator| operator.compare(left, right)), expected, "{left:?} {right:?}");
        }
    }
}
