//! Evaluation of a condition over many rows at a time, column by column: what is the same for all rows is done once,
//! and most comparisons with a constant are a short loop.

use sluice_sdk::prelude::*;
use sluice_sdk::{Refusal, kind};

use super::columns::{Columns, Data, Loaded, Owner};
use super::evaluate::{EvaluationError, Expression, Node, Operand};
use super::value::{Literal, Operator, Value};

impl Expression {
    /// Of the rows, those for which it is true, in their order. A row whose evaluation fails is none of them; `failed`
    /// is told the error. What is evaluated for a row is what [`Expression::is_true`] evaluates for it. Columns are
    /// pulled when the first row needs them: what stands behind an `and` often is not needed at all.
    ///
    /// # Errors
    /// When the host refuses a column.
    #[inline]
    pub fn select(
        &self,
        (columns, batch): (&Columns, &Batch<'_>),
        loaded: &mut Loaded,
        rows: &[u32],
        failed: &mut dyn FnMut(EvaluationError),
    ) -> Result<Vec<u32>, Refusal> {
        let parts = if let Node::And(nodes) = &self.0 { nodes } else { std::slice::from_ref(&self.0) };
        let mut selected: Option<Vec<u32>> = None;
        for node in parts {
            let left = selected.as_deref().unwrap_or(rows);
            if left.is_empty() {
                break;
            }
            let mut result = Ok(());
            node.columns(&mut |column| {
                if result.is_ok() {
                    result = columns.need(loaded, batch, column);
                }
            });
            result?;
            selected = Some(node.select(loaded, left, failed));
        }
        Ok(selected.unwrap_or_else(|| rows.to_vec()))
    }
}

/// The rows of `all` that are not among `taken`, which has some of them in the same order.
#[inline]
pub fn without(all: &[u32], taken: &[u32]) -> Vec<u32> {
    let mut taken = taken.iter().peekable();
    let mut left = Vec::with_capacity(all.len());
    left.extend(all.iter().copied().filter(|row| taken.next_if_eq(&row).is_none()));
    left
}

impl Node {
    #[inline]
    fn select(&self, loaded: &Loaded, rows: &[u32], failed: &mut dyn FnMut(EvaluationError)) -> Vec<u32> {
        if rows.is_empty() {
            return Vec::new();
        }
        match self {
            Self::Compare(Operand::Column(column), operator, Operand::Literal(literal)) => {
                compare(loaded, *column, *operator, literal, rows)
            }
            // A row that fails is in no selection, so that it meets no later node, as in `is_true`.
            Self::And(nodes) => {
                let Some((first, later)) = nodes.split_first() else { return rows.to_vec() };
                let mut left = first.select(loaded, rows, failed);
                for node in later {
                    left = node.select(loaded, &left, failed);
                }
                left
            }
            // Of those that are not selected here, nobody knows which have failed: so none may.
            Self::Or(nodes) if nodes.iter().all(Self::cannot_fail) => {
                let mut left = rows.to_vec();
                for node in nodes {
                    left = without(&left, &node.select(loaded, &left, failed));
                }
                without(rows, &left)
            }
            Self::Not(node) if node.cannot_fail() => without(rows, &node.select(loaded, rows, failed)),
            _ => {
                let is_true = |row: &u32| {
                    self.is_true(loaded, *row as usize).unwrap_or_else(|error| {
                        failed(error);
                        false
                    })
                };
                rows.iter().copied().filter(is_true).collect()
            }
        }
    }

    /// Tells the columns that it reads.
    fn columns(&self, out: &mut dyn FnMut(usize)) {
        match self {
            Self::Constant(_) => {}
            Self::Compare(left, _, right)
            | Self::HasPrefix(left, right)
            | Self::HasSuffix(left, right)
            | Self::ContainsValue(left, right) => {
                left.columns(out);
                right.columns(out);
            }
            Self::And(nodes) | Self::Or(nodes) => nodes.iter().for_each(|node| node.columns(out)),
            Self::Not(node) => node.columns(out),
            Self::IsMatch(operand, _) | Self::Is(_, operand) => operand.columns(out),
        }
    }

    /// Whether its evaluation never fails.
    fn cannot_fail(&self) -> bool {
        let plain = |operand: &Operand| matches!(operand, Operand::Column(_) | Operand::Literal(_));
        match self {
            Self::Constant(_) => true,
            Self::Compare(left, _, right) => plain(left) && plain(right),
            Self::Is(_, operand) => plain(operand),
            Self::And(nodes) | Self::Or(nodes) => nodes.iter().all(Self::cannot_fail),
            Self::Not(node) => node.cannot_fail(),
            Self::IsMatch(..) | Self::HasPrefix(..) | Self::HasSuffix(..) | Self::ContainsValue(..) => false,
        }
    }
}

impl Operand {
    fn columns(&self, out: &mut dyn FnMut(usize)) {
        match self {
            Self::Column(column) => out(*column),
            Self::Literal(_) => {}
            Self::Condition(node) => node.columns(out),
            Self::Call(_, arguments) => arguments.iter().for_each(|argument| argument.columns(out)),
        }
    }
}

#[inline]
fn compare(loaded: &Loaded, column: usize, operator: Operator, literal: &Literal, rows: &[u32]) -> Vec<u32> {
    let right = literal.value();
    let (data, owners) = match loaded.column(column) {
        Some((data, Owner::Row)) => (data, None),
        Some((data, owner)) => (data, Some(loaded.rows_of(owner))),
        // Nobody has the attribute: what is true for one row is true for all.
        None => return if operator.compare(Value::Nil, right) { rows.to_vec() } else { Vec::new() },
    };
    let keep = |holds: &mut dyn FnMut(usize) -> bool| rows.iter().copied().filter(|row| holds(*row as usize)).collect();
    if let Some(owners) = owners {
        // Rows of one owner stand together.
        let mut last = (None, false);
        return keep(&mut |row| {
            let owner = owners.get(row).copied();
            if last.0 != Some(owner) {
                last = (Some(owner), operator.compare(loaded.value(column, row), right));
            }
            last.1
        });
    }
    match (data, operator, right) {
        (Data::Texts(texts), Operator::Equal, Value::String(text)) => {
            rows.iter().copied().filter(|row| texts.get(*row as usize) == text).collect()
        }
        (Data::Values(values), Operator::Equal, Value::String(text)) => {
            let is_text = |row: usize| values.kind(row) == kind::STRING && values.texts.get(row) == text;
            rows.iter().copied().filter(|row| is_text(*row as usize)).collect()
        }
        (Data::Numbers(numbers), operator, Value::Int(right)) => {
            let holds =
                |row: u32| numbers.get(row as usize).is_some_and(|left| operator.holds((*left as i64).cmp(&right)));
            rows.iter().copied().filter(|row| holds(*row)).collect()
        }
        _ => keep(&mut |row| operator.compare(loaded.value(column, row), right)),
    }
}
