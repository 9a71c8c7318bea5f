//! Evaluation, one row at a time over the columns.

use std::fmt;

use super::columns::Loaded;
use super::function::{Function, contains, string, text};
use super::pattern::Pattern;
use super::value::{Got, Literal, Operator, Value};

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
    ContainsValue(Operand, Operand),
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
    Call(Function, Vec<Operand>),
}

/// A condition that cannot be evaluated on a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationError(pub(super) String);

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
    #[inline]
    pub fn is_true(&self, loaded: &Loaded, row: usize) -> Result<bool, EvaluationError> {
        self.0.is_true(loaded, row)
    }
}

impl Node {
    #[inline]
    pub(super) fn is_true(&self, loaded: &Loaded, row: usize) -> Result<bool, EvaluationError> {
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
                let (left, right) = (left.value(loaded, row)?, right.value(loaded, row)?);
                Ok(operator.compare(left.value(), right.value()))
            }
            Self::And(nodes) => all(nodes, true, loaded, row),
            Self::Or(nodes) => all(nodes, false, loaded, row),
            Self::Not(node) => Ok(!node.is_true(loaded, row)?),
            Self::IsMatch(operand, pattern) => match operand.value(loaded, row)?.value() {
                Value::String(text) => Ok(pattern.is_match(text)),
                other => Ok(text("IsMatch", other)?.is_some_and(|text| pattern.is_match(text.as_bytes()))),
            },
            Self::HasPrefix(text, prefix) => {
                let (text, prefix) = (text.value(loaded, row)?, prefix.value(loaded, row)?);
                Ok(string("HasPrefix", text.value())?.starts_with(string("HasPrefix", prefix.value())?))
            }
            Self::HasSuffix(text, suffix) => {
                let (text, suffix) = (text.value(loaded, row)?, suffix.value(loaded, row)?);
                Ok(string("HasSuffix", text.value())?.ends_with(string("HasSuffix", suffix.value())?))
            }
            Self::ContainsValue(list, item) => {
                let (list, item) = (list.value(loaded, row)?, item.value(loaded, row)?);
                contains(list.value(), item.value())
            }
            Self::Is(kind, operand) => Ok(matches!(
                (kind, operand.value(loaded, row)?.value()),
                (Type::String, Value::String(_))
                    | (Type::Int, Value::Int(_))
                    | (Type::Double, Value::Float(_))
                    | (Type::Bool, Value::Bool(_))
                    | (Type::Map, Value::Map(_))
                    | (Type::List, Value::List(_) | Value::Items(_))
            )),
        }
    }

    /// Gives every column the number that `number` says.
    pub(super) fn renumber(&mut self, number: &dyn Fn(usize) -> usize) {
        match self {
            Self::Constant(_) => {}
            Self::Compare(left, _, right)
            | Self::HasPrefix(left, right)
            | Self::HasSuffix(left, right)
            | Self::ContainsValue(left, right) => {
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
#[inline]
fn all(nodes: &[Node], wanted: bool, loaded: &Loaded, row: usize) -> Result<bool, EvaluationError> {
    for node in nodes {
        if node.is_true(loaded, row)? != wanted {
            return Ok(!wanted);
        }
    }
    Ok(wanted)
}

impl Operand {
    #[inline]
    pub(super) fn value<'a>(&'a self, loaded: &'a Loaded, row: usize) -> Result<Got<'a>, EvaluationError> {
        Ok(match self {
            Self::Column(column) => Got::There(loaded.value(*column, row)),
            Self::Literal(literal) => Got::There(literal.value()),
            Self::Condition(node) => Got::There(Value::Bool(node.is_true(loaded, row)?)),
            Self::Call(function, arguments) => {
                let arguments = arguments.iter().map(|argument| argument.value(loaded, row));
                Got::New(function.call(&arguments.collect::<Result<Vec<_>, _>>()?)?)
            }
        })
    }

    /// Its value, if it is the same for all rows.
    pub(super) fn constant(&self) -> Option<Result<Literal, EvaluationError>> {
        match self {
            Self::Literal(literal) => Some(Ok(literal.clone())),
            Self::Column(_) | Self::Condition(_) => None,
            Self::Call(function, arguments) => {
                let arguments: Option<Result<Vec<_>, _>> = arguments.iter().map(Self::constant).collect();
                let arguments = arguments?;
                Some(
                    arguments
                        .and_then(|arguments| function.call(&arguments.into_iter().map(Got::New).collect::<Vec<_>>())),
                )
            }
        }
    }

    pub(super) fn renumber(&mut self, number: &dyn Fn(usize) -> usize) {
        match self {
            Self::Column(column) => *column = number(*column),
            Self::Literal(_) => {}
            Self::Condition(node) => node.renumber(number),
            Self::Call(_, arguments) => arguments.iter_mut().for_each(|argument| argument.renumber(number)),
        }
    }
}
