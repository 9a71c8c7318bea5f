//! Evaluation, one row at a time over the columns.

use std::borrow::Cow;
use std::fmt;

use super::columns::Loaded;
use super::pattern::Pattern;
use super::value::{Literal, Operator, Value};

/// A condition, its paths resolved to columns.
#[derive(Debug, Clone)]
pub struct Expression(pub(super) Node);

#[derive(Debug, Clone)]
pub(super) enum Node {
    Constant(bool),
    Compare(Operand, Operator, Operand),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    IsMatch(Operand, Pattern),
    HasPrefix(Operand, Operand),
    HasSuffix(Operand, Operand),
    Is(Type, Operand),
}

/// The types that `IsString` and its like ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Int,
    Double,
    Bool,
    Map,
    List,
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    Column(usize),
    Literal(Literal),
    Condition(Box<Node>),
}

/// A condition that cannot be evaluated on a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationError(String);

impl fmt::Display for EvaluationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EvaluationError {}

impl Expression {
    /// Whether it is true for a row. Of `and` and `or`, what does not matter is not evaluated.
    ///
    /// # Errors
    /// A function got a value of a type that it does not take.
    pub fn is_true(&self, loaded: &Loaded, row: usize) -> Result<bool, EvaluationError> {
        self.0.is_true(loaded, row)
    }
}

impl Node {
    fn is_true(&self, loaded: &Loaded, row: usize) -> Result<bool, EvaluationError> {
        match self {
            Self::Constant(value) => Ok(*value),
            // Most conditions are like this, and most rows differ in length already.
            Self::Compare(Operand::Column(column), Operator::Equal, Operand::Literal(Literal::String(text))) => {
                Ok(loaded.is_string(*column, row, text.as_bytes()))
            }
            Self::Compare(Operand::Column(column), operator, Operand::Literal(right)) => {
                Ok(operator.compare(loaded.value(*column, row), right.value()))
            }
            Self::Compare(left, operator, right) => {
                let left = left.value(loaded, row)?;
                Ok(operator.compare(left, right.value(loaded, row)?))
            }
            Self::And(nodes) => all(nodes, true, loaded, row),
            Self::Or(nodes) => all(nodes, false, loaded, row),
            Self::Not(node) => Ok(!node.is_true(loaded, row)?),
            Self::IsMatch(operand, pattern) => {
                let text = text(operand.value(loaded, row)?)?;
                Ok(text.is_some_and(|text| pattern.is_match(&text)))
            }
            Self::HasPrefix(text, prefix) => Ok(string("HasPrefix", text.value(loaded, row)?)?
                .starts_with(string("HasPrefix", prefix.value(loaded, row)?)?)),
            Self::HasSuffix(text, suffix) => Ok(string("HasSuffix", text.value(loaded, row)?)?
                .ends_with(string("HasSuffix", suffix.value(loaded, row)?)?)),
            Self::Is(kind, operand) => Ok(matches!(
                (kind, operand.value(loaded, row)?),
                (Type::String, Value::String(_))
                    | (Type::Int, Value::Int(_))
                    | (Type::Double, Value::Float(_))
                    | (Type::Bool, Value::Bool(_))
                    | (Type::Map, Value::Map(_))
                    | (Type::List, Value::List(_))
            )),
        }
    }

    /// Gives every column the number that `number` says.
    pub(super) fn renumber(&mut self, number: &dyn Fn(usize) -> usize) {
        match self {
            Self::Constant(_) => {}
            Self::Compare(left, _, right) | Self::HasPrefix(left, right) | Self::HasSuffix(left, right) => {
                left.renumber(number);
                right.renumber(number);
            }
            Self::And(nodes) | Self::Or(nodes) => nodes.iter_mut().for_each(|node| node.renumber(number)),
            Self::Not(node) => node.renumber(number),
            Self::IsMatch(operand, _) | Self::Is(_, operand) => operand.renumber(number),
        }
    }
}

/// Whether all nodes are `wanted`, or else the first that is not decides.
fn all(nodes: &[Node], wanted: bool, loaded: &Loaded, row: usize) -> Result<bool, EvaluationError> {
    for node in nodes {
        if node.is_true(loaded, row)? != wanted {
            return Ok(!wanted);
        }
    }
    Ok(wanted)
}

impl Operand {
    fn value<'a>(&'a self, loaded: &'a Loaded, row: usize) -> Result<Value<'a>, EvaluationError> {
        match self {
            Self::Column(column) => Ok(loaded.value(*column, row)),
            Self::Literal(literal) => Ok(literal.value()),
            Self::Condition(node) => node.is_true(loaded, row).map(Value::Bool),
        }
    }

    fn renumber(&mut self, number: &dyn Fn(usize) -> usize) {
        match self {
            Self::Column(column) => *column = number(*column),
            Self::Literal(_) => {}
            Self::Condition(node) => node.renumber(number),
        }
    }
}

/// A value as OTTL's "string like": nil is none of it.
fn text(value: Value<'_>) -> Result<Option<Cow<'_, [u8]>>, EvaluationError> {
    Ok(Some(match value {
        Value::Nil => return Ok(None),
        Value::String(text) => Cow::Borrowed(text),
        Value::Bool(value) => Cow::Borrowed(if value { b"true" } else { b"false" }),
        Value::Int(number) => Cow::Owned(number.to_string().into_bytes()),
        Value::Float(number) => Cow::Owned(number.to_string().into_bytes()),
        Value::Bytes(bytes) => Cow::Owned(bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()),
        Value::List(_) | Value::Map(_) => {
            return Err(EvaluationError("IsMatch of a list or a map is not supported yet".to_owned()));
        }
    }))
}

fn string<'a>(function: &str, value: Value<'a>) -> Result<&'a [u8], EvaluationError> {
    let got = match value {
        Value::String(text) => return Ok(text),
        Value::Nil => "nil",
        Value::Bool(_) => "a boolean",
        Value::Int(_) => "an integer",
        Value::Float(_) => "a double",
        Value::Bytes(_) => "bytes",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    };
    Err(EvaluationError(format!("{function} expected a string but got {got}")))
}
