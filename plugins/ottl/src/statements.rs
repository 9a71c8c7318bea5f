//! Statements at work, on one table: each on all rows, and each sees what the ones before it did.
//!
//! Columns enter, edits leave at the end, and only those that change something. When the host refuses one the
//! call fails and nothing is changed.

use regex_lite::Regex;
use sluice_sdk::Refusal;
use sluice_sdk::prelude::*;

use crate::columns::Columns;
use crate::evaluate::{EvaluationError, Node, Operand};
use crate::parser::ParsedStatement;
use crate::path::{Column, Path};
use crate::sheet::Sheet;
use crate::value::Literal;

/// A statement, its paths resolved to columns.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) edit: Edit,
    pub(crate) condition: Option<Node>,
    /// As it was written, for messages.
    pub(crate) text: String,
}

/// What a statement does.
#[derive(Debug)]
pub(crate) enum Edit {
    Set(Target, Operand),
    ReplacePattern(Target, Regex, String),
    /// To all attributes of a row.
    Map(Table, MapEdit),
}

/// A path that is set, and its column.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) number: usize,
    pub(crate) path: Path,
}

#[derive(Debug)]
pub(crate) enum MapEdit {
    DeleteKey(String),
    DeleteMatchingKeys(Regex),
    KeepKeys(Vec<String>),
    /// Bytes of strings.
    Truncate(usize),
    /// So many attributes, and those that come first.
    Limit(usize, Vec<String>),
    ReplaceAll(Part, Regex, String),
}

/// What of an attribute is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
}

/// The statements on one table, in their order.
#[derive(Debug)]
pub struct Statements {
    table: Table,
    list: Vec<Statement>,
    columns: Columns,
}

impl Statements {
    /// None yet.
    pub fn new(table: Table) -> Self {
        Self { table, list: Vec::new(), columns: Columns::default() }
    }

    /// Adds one that changes this table.
    pub fn add(&mut self, parsed: ParsedStatement) {
        let ParsedStatement { mut statement, paths } = parsed;
        let numbers: Vec<usize> = paths.into_iter().map(|path| self.columns.add(path)).collect();
        let number = |column: usize| numbers.get(column).copied().unwrap_or(usize::MAX);
        statement.edit.renumber(&number);
        if let Some(condition) = &mut statement.condition {
            condition.renumber(&number);
        }
        self.list.push(statement);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds what must be granted.
    #[must_use]
    pub fn access(&self, mut access: Access) -> Access {
        for grant in self.columns.grants() {
            access = access.read(grant);
        }
        for statement in &self.list {
            let (table, key) = match &statement.edit {
                Edit::Set(Target { path, .. }, _) | Edit::ReplacePattern(Target { path, .. }, _, _) => {
                    let Column::Attribute(key) = &path.column else {
                        access = access.write(path.grant_to_write());
                        continue;
                    };
                    (path.table, key.as_str())
                }
                Edit::Map(table, MapEdit::DeleteKey(key)) => (*table, key.as_str()),
                Edit::Map(table, _) => (*table, "*"),
            };
            let path = Path { table, column: Column::Attribute(key.to_owned()) };
            access = access.read(path.grant_to_write()).write(path.grant_to_write());
        }
        access
    }

    /// Whether one of these sets what one of `others`, which are on rows below, reads.
    pub fn are_read_by(&self, others: &Self) -> bool {
        others.columns.paths().any(|read| read.table == self.table && self.list.iter().any(|one| one.edit.sets(read)))
    }

    /// Does them. `failed` is told which statement cannot be done on a row, and why; it decides whether
    /// that fails the call.
    ///
    /// # Errors
    /// When the host refuses, or `failed` says so.
    pub fn apply(
        &self,
        batch: &Batch<'_>,
        failed: &mut dyn FnMut(usize, &str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let len = batch.len(self.table)? as usize;
        if len == 0 || self.list.is_empty() {
            return Ok(());
        }
        let mut sheet = self.sheet(batch, len)?;
        for (number, statement) in self.list.iter().enumerate() {
            for row in 0..len {
                if let Err(error) = statement.apply(&mut sheet, row) {
                    failed(number, &format!("statement `{}`: {error}", statement.text))?;
                }
            }
        }
        sheet.push(batch)?;
        Ok(())
    }

    fn sheet(&self, batch: &Batch<'_>, len: usize) -> Result<Sheet<'_>, Refusal> {
        let of_attributes = |statement: &Statement| match &statement.edit {
            Edit::Set(target, _) | Edit::ReplacePattern(target, _, _) => {
                matches!(target.path.column, Column::Attribute(_))
            }
            Edit::Map(..) => true,
        };
        let loaded = self.columns.load(batch, self.table)?;
        Sheet::new(batch, self.table, len, &self.columns, loaded, self.list.iter().any(of_attributes))
    }
}

impl Edit {
    /// Whether it may change what a path shows.
    fn sets(&self, read: &Path) -> bool {
        match (self, &read.column) {
            (Self::Set(target, _) | Self::ReplacePattern(target, _, _), _) => target.path == *read,
            (Self::Map(_, MapEdit::DeleteKey(key)), Column::Attribute(other)) => key == other,
            (Self::Map(..), column) => matches!(column, Column::Attribute(_)),
        }
    }
}

impl Statement {
    fn apply(&self, sheet: &mut Sheet<'_>, row: usize) -> Result<(), EvaluationError> {
        if let Some(condition) = &self.condition
            && !condition.is_true(sheet.loaded(), row)?
        {
            return Ok(());
        }
        match &self.edit {
            Edit::Set(target, operand) => {
                let value = operand.value(sheet.loaded(), row)?.value().literal();
                // Setting to nothing sets nothing, as in OTTL.
                if value == Literal::Nil { Ok(()) } else { sheet.set(target, row, value) }
            }
            Edit::ReplacePattern(target, pattern, with) => match sheet.loaded().value(target.number, row).literal() {
                Literal::String(text) if pattern.is_match(&text) => {
                    let new = pattern.replace_all(&text, with.as_str()).into_owned();
                    sheet.set(target, row, Literal::String(new))
                }
                _ => Ok(()),
            },
            Edit::Map(_, edit) => {
                edit.apply(sheet, row);
                Ok(())
            }
        }
    }
}

impl MapEdit {
    fn apply(&self, sheet: &mut Sheet<'_>, row: usize) {
        let attributes = sheet.attributes(row);
        let mut changes: Vec<(String, Option<Literal>)> = Vec::new();
        match self {
            Self::DeleteKey(key) => changes.push((key.clone(), None)),
            Self::DeleteMatchingKeys(pattern) => {
                let matching = attributes.iter().filter(|(key, _)| pattern.is_match(key));
                changes.extend(matching.map(|(key, _)| (key.clone(), None)));
            }
            Self::KeepKeys(keys) => {
                let others = attributes.iter().filter(|(key, _)| !keys.contains(key));
                changes.extend(others.map(|(key, _)| (key.clone(), None)));
            }
            Self::Truncate(most) => {
                for (key, value) in attributes {
                    if let Literal::String(text) = value
                        && text.len() > *most
                    {
                        changes.push((key.clone(), Some(Literal::String(cut(text, *most).to_owned()))));
                    }
                }
            }
            Self::Limit(most, first) => {
                let mut kept = attributes.iter().filter(|(key, _)| first.contains(key)).count();
                for (key, _) in attributes.iter().filter(|(key, _)| !first.contains(key)) {
                    if kept < *most {
                        kept += 1;
                    } else {
                        changes.push((key.clone(), None));
                    }
                }
            }
            Self::ReplaceAll(Part::Value, pattern, with) => {
                for (key, value) in attributes {
                    if let Literal::String(text) = value
                        && pattern.is_match(text)
                    {
                        let new = pattern.replace_all(text, with.as_str()).into_owned();
                        changes.push((key.clone(), Some(Literal::String(new))));
                    }
                }
            }
            Self::ReplaceAll(Part::Key, pattern, with) => {
                for (key, value) in attributes.iter().filter(|(key, _)| pattern.is_match(key)) {
                    let new = pattern.replace_all(key, with.as_str()).into_owned();
                    if new != *key {
                        changes.extend([(key.clone(), None), (new, Some(value.clone()))]);
                    }
                }
            }
        }
        for (key, value) in changes {
            sheet.put(row, key, value);
        }
    }
}

/// So many bytes of a text at most, whole characters.
fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}
