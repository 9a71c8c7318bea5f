//! Statements: a function that changes something, and the condition under which it does.

use regex_lite::Regex;
use sluice_sdk::pattern::{Flavor, from_go};
use sluice_sdk::{Table, fields};

use super::{Kind, Parser, SyntaxError, tokens};
use crate::evaluate::Operand;
use crate::path::{Column, Context, Path};
use crate::statements::{Edit, MapEdit, Part, Statement, Target};
use crate::value::Literal;

/// A statement that was read.
#[derive(Debug)]
pub struct ParsedStatement {
    pub(crate) statement: Statement,
    pub(crate) paths: Vec<Path>,
}

impl ParsedStatement {
    /// Reads a statement. `context` is what paths are about that do not say it; without one they must.
    ///
    /// # Errors
    /// It is no statement, or none of the subset.
    pub fn new(text: &str, context: Option<Context>) -> Result<Self, SyntaxError> {
        let mut parser = Parser { tokens: tokens(text)?, next: 0, context, paths: Vec::new(), depth: 0 };
        let column = parser.column();
        let Kind::Name(name) = parser.peek().clone() else { return Err(parser.unexpected("a function")) };
        parser.next += 1;
        parser.expect('(')?;
        let edit = parser.edit(&name, column)?;
        parser.expect(')')?;
        let condition = if parser.skip_if(parser.is_keyword("where")) { Some(parser.condition()?) } else { None };
        if *parser.peek() != Kind::End {
            return Err(parser.unexpected("`where` or the end"));
        }
        let table = edit.table();
        if parser.paths.iter().any(|path| path.table as u8 > table as u8) {
            let message = "what a statement changes must not be above what it reads: not supported yet";
            return Err(SyntaxError::new(column, message));
        }
        Ok(Self { statement: Statement { edit, condition, text: text.to_owned() }, paths: parser.paths })
    }

    /// What it changes.
    pub fn table(&self) -> Table {
        self.statement.edit.table()
    }
}

impl Parser {
    fn edit(&mut self, name: &str, column: usize) -> Result<Edit, SyntaxError> {
        let edit = match name {
            "set" => {
                let target = self.target()?;
                self.expect(',')?;
                Edit::Set(target, self.sum()?)
            }
            "replace_pattern" => {
                let target = self.target()?;
                self.expect(',')?;
                let pattern = self.regex()?;
                self.expect(',')?;
                Edit::ReplacePattern(target, pattern, self.text()?)
            }
            "delete_key" | "delete_matching_keys" | "keep_keys" | "truncate_all" | "limit" | "replace_all_patterns" => {
                let table = self.map()?;
                self.expect(',')?;
                let edit = match name {
                    "delete_key" => MapEdit::DeleteKey(self.text()?),
                    "delete_matching_keys" => MapEdit::DeleteMatchingKeys(self.regex()?),
                    "keep_keys" => MapEdit::KeepKeys(self.texts()?),
                    "truncate_all" => MapEdit::Truncate(self.count()?),
                    "limit" => self.limit(column)?,
                    _ => self.replace_all()?,
                };
                Edit::Map(table, edit)
            }
            _ => return Err(SyntaxError::new(column, format!("`{name}` is not supported yet"))),
        };
        if self.is_punctuation(',') {
            return Err(SyntaxError::new(
                self.column(),
                format!("further arguments of `{name}` are not supported yet"),
            ));
        }
        Ok(edit)
    }

    fn limit(&mut self, column: usize) -> Result<MapEdit, SyntaxError> {
        let most = self.count()?;
        self.expect(',')?;
        let first = self.texts()?;
        if first.len() > most {
            return Err(SyntaxError::new(column, format!("{} keys to keep are more than the limit", first.len())));
        }
        Ok(MapEdit::Limit(most, first))
    }

    fn replace_all(&mut self) -> Result<MapEdit, SyntaxError> {
        let column = self.column();
        let part = match self.text()?.as_str() {
            "key" => Part::Key,
            "value" => Part::Value,
            _ => return Err(SyntaxError::new(column, "the mode must be \"key\" or \"value\"")),
        };
        self.expect(',')?;
        let pattern = self.regex()?;
        self.expect(',')?;
        Ok(MapEdit::ReplaceAll(part, pattern, self.text()?))
    }

    /// A path that can be set.
    fn target(&mut self) -> Result<Target, SyntaxError> {
        let column = self.column();
        let Kind::Name(first) = self.peek().clone() else { return Err(self.unexpected("a path")) };
        self.next += 1;
        let operand = self.path(first, column)?;
        let path = match operand {
            Operand::Column(number) => self.paths.get(number).cloned().map(|path| (number, path)),
            _ => None,
        };
        let settable = |path: &Path| match &path.column {
            Column::Attribute(_) => true,
            Column::Text(field) => path.table != Table::Resources && *field != fields::SCHEMA_URL,
            Column::Number(field) => {
                path.table == Table::Spans && [fields::STATUS_CODE, fields::SPAN_KIND].contains(field)
            }
            _ => false,
        };
        match path {
            Some((number, path)) if settable(&path) => Ok(Target { number, path }),
            _ => Err(SyntaxError::new(column, "setting this path is not supported yet")),
        }
    }

    /// `attributes`, as a whole.
    fn map(&mut self) -> Result<Table, SyntaxError> {
        let column = self.column();
        let mut parts = Vec::new();
        while let Kind::Name(name) = self.peek().clone() {
            self.next += 1;
            parts.push(name);
            if !self.skip_if(self.is_punctuation('.')) {
                break;
            }
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let context = match (parts.as_slice(), self.context) {
            (["attributes"], Some(context)) => Some(context),
            (["attributes"], None) => {
                let message = "`attributes` must begin with its context: resource, scope, span or spanevent";
                return Err(SyntaxError::new(column, message));
            }
            ([context, "attributes"], _) => Context::named(context),
            _ => None,
        };
        match context {
            Some(context) if !self.is_punctuation('[') => Ok(context.table()),
            _ => Err(SyntaxError::new(column, "expected `attributes`; other maps are not supported yet")),
        }
    }

    fn literal(&mut self, what: &str) -> Result<Literal, SyntaxError> {
        let column = self.column();
        match self.value()? {
            Operand::Literal(literal) => Ok(literal),
            _ => Err(SyntaxError::new(column, format!("{what} that is no literal is not supported yet"))),
        }
    }

    fn text(&mut self) -> Result<String, SyntaxError> {
        let column = self.column();
        match self.literal("a string")? {
            Literal::String(text) => Ok(text),
            _ => Err(SyntaxError::new(column, "expected a string")),
        }
    }

    fn texts(&mut self) -> Result<Vec<String>, SyntaxError> {
        let column = self.column();
        let wrong = || SyntaxError::new(column, "expected a list of strings");
        let Literal::List(items) = self.literal("a list")? else { return Err(wrong()) };
        let text = |item| if let Literal::String(text) = item { Ok(text) } else { Err(wrong()) };
        items.into_iter().map(text).collect()
    }

    fn count(&mut self) -> Result<usize, SyntaxError> {
        let column = self.column();
        match self.literal("a number")? {
            Literal::Int(number) => usize::try_from(number).ok(),
            _ => None,
        }
        .ok_or_else(|| SyntaxError::new(column, "expected an integer from 0"))
    }

    fn regex(&mut self) -> Result<Regex, SyntaxError> {
        let column = self.column();
        let source = self.text()?;
        Regex::new(&from_go(&source, Flavor::Lite))
            .map_err(|error| SyntaxError::new(column, format!("the pattern is not valid: {error}")))
    }
}

impl Edit {
    /// What it changes.
    pub(crate) fn table(&self) -> Table {
        match self {
            Self::Set(target, _) | Self::ReplacePattern(target, _, _) => target.path.table,
            Self::Map(table, _) => *table,
        }
    }

    /// Gives every column the number that `number` says.
    pub(crate) fn renumber(&mut self, number: &dyn Fn(usize) -> usize) {
        match self {
            Self::Set(target, operand) => {
                target.number = number(target.number);
                operand.renumber(number);
            }
            Self::ReplacePattern(target, _, _) => target.number = number(target.number),
            Self::Map(..) => {}
        }
    }
}
