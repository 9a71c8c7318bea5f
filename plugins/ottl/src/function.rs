//! Functions and arithmetic: what gives values.

use sha2::{Digest, Sha256};

use sluice_sdk::number;

use super::case;
use super::duration;
use super::evaluate::EvaluationError;
use super::nested;
use super::value::{Got, Literal, Operator, Value};

/// What makes a value of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Add,
    Subtract,
    Multiply,
    Divide,
    /// `["a"]` or `[0]` behind a value.
    Index,
    /// `["a"]` behind `trace_state`.
    Member,
    /// `[a, b]`
    List,
    Len,
    Concat,
    Substring,
    Split,
    ConvertCase,
    Int,
    Double,
    String,
    Duration,
    Sha256,
}

/// The functions that have names, and how many arguments they take.
pub(super) const NAMED: [(&str, Function, usize); 10] = [
    ("Len", Function::Len, 1),
    ("Concat", Function::Concat, 2),
    ("Substring", Function::Substring, 3),
    ("Split", Function::Split, 2),
    ("ConvertCase", Function::ConvertCase, 2),
    ("Int", Function::Int, 1),
    ("Double", Function::Double, 1),
    ("String", Function::String, 1),
    ("Duration", Function::Duration, 1),
    ("SHA256", Function::Sha256, 1),
];

fn failed<T>(message: impl Into<String>) -> Result<T, EvaluationError> {
    Err(EvaluationError(message.into()))
}

impl Function {
    pub(super) fn call(self, arguments: &[Got<'_>]) -> Result<Literal, EvaluationError> {
        let values: Vec<Value<'_>> = arguments.iter().map(Got::value).collect();
        Ok(match (self, values.as_slice()) {
            (Self::List, items) => Literal::List(items.iter().map(|item| item.literal()).collect()),
            (Self::Add | Self::Subtract | Self::Multiply | Self::Divide, [left, right]) => self.math(*left, *right)?,
            (Self::Index, [value, key]) => index(*value, *key)?,
            (Self::Member, [state, key]) => {
                Literal::String(member(string("trace_state", *state)?, string("trace_state", *key)?))
            }
            (Self::Len, [value]) => Literal::Int(len(*value)? as i64),
            (Self::Concat, [list, delimiter]) => concat(*list, string("Concat", *delimiter)?)?,
            (Self::Substring, [text, start, length]) => substring(string("Substring", *text)?, *start, *length)?,
            (Self::Split, [text, delimiter]) => split(string("Split", *text)?, string("Split", *delimiter)?),
            (Self::ConvertCase, [text, case]) => convert(string("ConvertCase", *text)?, string("ConvertCase", *case)?)?,
            (Self::Int, [value]) => int(*value)?,
            (Self::Double, [value]) => double(*value)?,
            (Self::String, [value]) => text("String", *value)?.map_or(Literal::Nil, Literal::String),
            (Self::Duration, [value]) => {
                let text = string("Duration", *value)?;
                let Some(nanos) = duration::parse(text) else {
                    return failed(format!("`{text}` is no duration: use one like 1h30m or 250ms"));
                };
                Literal::Duration(nanos)
            }
            (Self::Sha256, [value]) => Literal::String(hex(&Sha256::digest(string("SHA256", *value)?))),
            _ => return failed("the number of arguments is wrong"),
        })
    }

    /// Integers stay integers and wrap, as in Go; with a double the result is one.
    fn math(self, left: Value<'_>, right: Value<'_>) -> Result<Literal, EvaluationError> {
        let float = |left: f64, right: f64| match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            _ => left / right,
        };
        Ok(match (left, right) {
            (Value::Int(_) | Value::Float(_), Value::Int(0)) if self == Self::Divide => {
                return failed("attempted to divide by 0");
            }
            (Value::Int(left), Value::Int(right)) => Literal::Int(match self {
                Self::Add => left.wrapping_add(right),
                Self::Subtract => left.wrapping_sub(right),
                Self::Multiply => left.wrapping_mul(right),
                _ => left.wrapping_div(right),
            }),
            (Value::Int(left), Value::Float(right)) => Literal::Float(float(left as f64, right)),
            (Value::Float(left), Value::Int(right)) => Literal::Float(float(left, right as f64)),
            (Value::Float(left), Value::Float(right)) => Literal::Float(float(left, right)),
            (Value::Duration(left), Value::Duration(right)) if self == Self::Add => {
                Literal::Duration(left.wrapping_add(right))
            }
            (Value::Duration(left), Value::Duration(right)) if self == Self::Subtract => {
                Literal::Duration(left.wrapping_sub(right))
            }
            _ => return failed(format!("there is no arithmetic with {} and {}", left.name(), right.name())),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for digit in bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        text.extend(char::from_digit(u32::from(digit), 16));
    }
    text
}

/// A string, for functions that take nothing else.
pub(super) fn string<'a>(function: &str, value: Value<'a>) -> Result<&'a str, EvaluationError> {
    match value {
        Value::String(text) => {
            str::from_utf8(text).map_err(|_| EvaluationError(format!("{function} expected a string but got bytes")))
        }
        other => failed(format!("{function} expected a string but got {}", other.name())),
    }
}

/// A value as OTTL's "string like": nil is none of it.
pub(super) fn text(function: &str, value: Value<'_>) -> Result<Option<String>, EvaluationError> {
    Ok(Some(match value {
        Value::Nil => return Ok(None),
        Value::String(_) => string(function, value)?.to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number::plain(number),
        Value::Bytes(bytes) => hex(bytes),
        other => return failed(format!("{function} of {} is not supported yet", other.name())),
    }))
}

/// The member of a map or the item of a list; nil if it is not there.
fn index(value: Value<'_>, key: Value<'_>) -> Result<Literal, EvaluationError> {
    Ok(match (value, key) {
        (Value::Nil, _) => Literal::Nil,
        (Value::Map(map), Value::String(key)) => {
            nested::entries(map).find(|(known, _)| *known == key).map_or(Literal::Nil, |(_, value)| value.literal())
        }
        (Value::List(_) | Value::Items(_), Value::Int(at)) => {
            let item = usize::try_from(at).ok().and_then(|at| items(value).into_iter().nth(at));
            let Some(item) = item else { return failed(format!("index {at} is out of the list")) };
            item
        }
        (value, key) => return failed(format!("{} has no key that is {}", value.name(), key.name())),
    })
}

fn items(list: Value<'_>) -> Vec<Literal> {
    match list.literal() {
        Literal::List(items) => items,
        _ => Vec::new(),
    }
}

/// Whether a list holds a value.
pub(super) fn contains(list: Value<'_>, item: Value<'_>) -> Result<bool, EvaluationError> {
    match list {
        Value::List(_) | Value::Items(_) => {
            Ok(items(list).iter().any(|other| Operator::Equal.compare(other.value(), item)))
        }
        other => failed(format!("ContainsValue expected a list but got {}", other.name())),
    }
}

/// A member of a tracestate; empty if it is not there.
fn member(state: &str, key: &str) -> String {
    let members = state.split(',').filter_map(|member| member.trim().split_once('='));
    members.into_iter().find(|(known, _)| *known == key).map_or_else(String::new, |(_, value)| value.to_owned())
}

/// Bytes of a string, members of the others.
fn len(value: Value<'_>) -> Result<usize, EvaluationError> {
    Ok(match value {
        Value::String(text) | Value::Bytes(text) => text.len(),
        Value::List(list) => nested::items(list).count(),
        Value::Items(items) => items.len(),
        Value::Map(map) => nested::entries(map).count(),
        other => return failed(format!("Len expected a string, a list or a map but got {}", other.name())),
    })
}

fn concat(list: Value<'_>, delimiter: &str) -> Result<Literal, EvaluationError> {
    if !matches!(list, Value::List(_) | Value::Items(_)) {
        return failed(format!("Concat expected a list but got {}", list.name()));
    }
    let mut parts = Vec::new();
    for item in items(list) {
        parts.push(text("Concat", item.value())?.unwrap_or_else(|| "<nil>".to_owned()));
    }
    Ok(Literal::String(parts.join(delimiter)))
}

/// Bytes, as in Go; what begins or ends within a character is an error here.
fn substring(text: &str, start: Value<'_>, length: Value<'_>) -> Result<Literal, EvaluationError> {
    let (Value::Int(start), Value::Int(length)) = (start, length) else {
        return failed("Substring expected integers for start and length");
    };
    let part = usize::try_from(start).ok().zip(usize::try_from(length).ok().filter(|length| *length > 0));
    let part = part.and_then(|(start, length)| text.get(start..start.checked_add(length)?));
    match part {
        Some(part) => Ok(Literal::String(part.to_owned())),
        None => failed(format!("Substring has no {length} bytes from {start} on in {} bytes", text.len())),
    }
}

fn split(text: &str, delimiter: &str) -> Literal {
    let part = |part: &str| Literal::String(part.to_owned());
    // Go splits by nothing into characters, without an empty text at either end.
    if delimiter.is_empty() {
        return Literal::List(text.chars().map(|c| Literal::String(c.to_string())).collect());
    }
    Literal::List(text.split(delimiter).map(part).collect())
}

fn convert(text: &str, case: &str) -> Result<Literal, EvaluationError> {
    Ok(Literal::String(match case {
        "lower" => case::lower(text),
        "upper" => case::upper(text),
        other => return failed(format!("ConvertCase to `{other}` is not supported yet: use lower or upper")),
    }))
}

fn int(value: Value<'_>) -> Result<Literal, EvaluationError> {
    Ok(match value {
        Value::Nil => Literal::Nil,
        Value::Int(number) => Literal::Int(number),
        Value::Float(number) => Literal::Int(number as i64),
        Value::Bool(value) => Literal::Int(i64::from(value)),
        Value::String(_) => string("Int", value)?.parse().map_or(Literal::Nil, Literal::Int),
        other => return failed(format!("Int of {} is not supported yet", other.name())),
    })
}

fn double(value: Value<'_>) -> Result<Literal, EvaluationError> {
    Ok(match value {
        Value::Nil => Literal::Nil,
        Value::Int(number) => Literal::Float(number as f64),
        Value::Float(number) => Literal::Float(number),
        Value::Bool(value) => Literal::Float(f64::from(u8::from(value))),
        Value::String(_) => number::parse(string("Double", value)?).map_or(Literal::Nil, Literal::Float),
        other => return failed(format!("Double of {} is not supported yet", other.name())),
    })
}
