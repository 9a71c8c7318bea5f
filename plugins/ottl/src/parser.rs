//! Tokens to expressions.

use std::fmt;

use sluice_sdk::fields;

use super::columns::Columns;
use super::evaluate::{Expression, Node, Operand};
use super::function::Function;
use super::lexer::{Kind, Token, tokens};
use super::path::{Column, Context, Path, enumeration};
use super::value::Literal;

mod calls;
mod statement;

pub use statement::ParsedStatement;

/// Parentheses and calls within each other. The stack of a plugin is small.
const MAX_DEPTH: usize = 32;

/// What is wrong with a condition, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    pub(super) column: usize,
    message: String,
}

impl SyntaxError {
    pub(super) fn new(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into() }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at column {}", self.message, self.column)
    }
}

impl std::error::Error for SyntaxError {}

/// A condition that was read.
#[derive(Debug)]
pub struct Parsed {
    node: Node,
    paths: Vec<Path>,
    /// Whether it is about span events; else it is about spans.
    pub of_events: bool,
}

impl Parsed {
    /// Reads a condition. `context` is what paths are about that do not say it; without one they
    /// must, and the condition is about span events if any of them is.
    ///
    /// # Errors
    /// It is no condition, or none of the subset.
    pub fn new(text: &str, context: Option<Context>) -> Result<Self, SyntaxError> {
        let mut parser = Parser { tokens: tokens(text)?, next: 0, context, paths: Vec::new(), depth: 0 };
        let node = parser.condition()?;
        match parser.peek() {
            Kind::End => {}
            _ => return Err(parser.unexpected("the end, `and` or `or`")),
        }
        let of_events = match context {
            Some(context) => context == Context::SpanEvent,
            None => parser.paths.iter().any(|path| path.table == Context::SpanEvent.table()),
        };
        Ok(Self { node, paths: parser.paths, of_events })
    }

    /// Resolves its paths to columns.
    pub fn bind(mut self, columns: &mut Columns) -> Expression {
        let numbers: Vec<usize> = self.paths.into_iter().map(|path| columns.add(path)).collect();
        self.node.renumber(&|column| numbers.get(column).copied().unwrap_or(usize::MAX));
        Expression(self.node)
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    context: Option<Context>,
    paths: Vec<Path>,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Kind {
        self.tokens.get(self.next).map_or(&Kind::End, |token| &token.kind)
    }

    fn column(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(1, |token| token.column)
    }

    fn is_punctuation(&self, c: char) -> bool {
        *self.peek() == Kind::Punctuation(c)
    }

    fn is_keyword(&self, word: &str) -> bool {
        matches!(self.peek(), Kind::Name(name) if name == word)
    }

    fn skip_if(&mut self, found: bool) -> bool {
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, c: char) -> Result<(), SyntaxError> {
        if self.skip_if(self.is_punctuation(c)) { Ok(()) } else { Err(self.unexpected(&format!("`{c}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> SyntaxError {
        let found = match self.peek() {
            Kind::Punctuation(c) => format!("`{c}`"),
            Kind::Name(name) => format!("`{name}`"),
            Kind::Literal(_) => "a literal".to_owned(),
            Kind::Comparison(_) => "a comparison".to_owned(),
            Kind::End => "the end".to_owned(),
        };
        SyntaxError::new(self.column(), format!("expected {wanted}, found {found}"))
    }

    fn condition(&mut self) -> Result<Node, SyntaxError> {
        let operand = self.either()?;
        self.node(operand)
    }

    /// A condition, or a value that stands where one could.
    fn either(&mut self) -> Result<Operand, SyntaxError> {
        self.list("or", Self::term, Node::Or)
    }

    fn term(&mut self) -> Result<Operand, SyntaxError> {
        self.list("and", Self::factor, Node::And)
    }

    fn list(
        &mut self,
        word: &str,
        item: fn(&mut Self) -> Result<Operand, SyntaxError>,
        join: fn(Vec<Node>) -> Node,
    ) -> Result<Operand, SyntaxError> {
        let first = item(self)?;
        if !self.is_keyword(word) {
            return Ok(first);
        }
        let mut nodes = vec![self.node(first)?];
        while self.skip_if(self.is_keyword(word)) {
            let next = item(self)?;
            nodes.push(self.node(next)?);
        }
        Ok(Operand::Condition(Box::new(join(nodes))))
    }

    /// What was just read, as a condition.
    fn node(&self, operand: Operand) -> Result<Node, SyntaxError> {
        match operand {
            Operand::Literal(Literal::Bool(value)) => Ok(Node::Constant(value)),
            Operand::Condition(node) => Ok(*node),
            _ => Err(self.unexpected("a comparison")),
        }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, SyntaxError>) -> Result<T, SyntaxError> {
        if self.depth == MAX_DEPTH {
            return Err(SyntaxError::new(
                self.column(),
                format!("more than {MAX_DEPTH} parentheses within each other"),
            ));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn factor(&mut self) -> Result<Operand, SyntaxError> {
        if self.skip_if(self.is_keyword("not")) {
            let operand = self.comparison()?;
            return Ok(Operand::Condition(Box::new(Node::Not(Box::new(self.node(operand)?)))));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Operand, SyntaxError> {
        let left = self.sum()?;
        let &Kind::Comparison(operator) = self.peek() else { return Ok(left) };
        self.next += 1;
        Ok(Operand::Condition(Box::new(Node::Compare(left, operator, self.sum()?))))
    }

    fn sum(&mut self) -> Result<Operand, SyntaxError> {
        self.math(Self::product, [('+', Function::Add), ('-', Function::Subtract)])
    }

    fn product(&mut self) -> Result<Operand, SyntaxError> {
        self.math(Self::value, [('*', Function::Multiply), ('/', Function::Divide)])
    }

    fn math(
        &mut self,
        item: fn(&mut Self) -> Result<Operand, SyntaxError>,
        signs: [(char, Function); 2],
    ) -> Result<Operand, SyntaxError> {
        let mut left = item(self)?;
        let mut count = 0;
        while let Some((_, function)) = signs.into_iter().find(|(sign, _)| self.is_punctuation(*sign)) {
            // Each one lies within the next.
            count += 1;
            if count > MAX_DEPTH {
                return Err(SyntaxError::new(self.column(), format!("more than {MAX_DEPTH} operations in a row")));
            }
            self.next += 1;
            left = Operand::Call(function, vec![left, item(self)?]);
        }
        Ok(left)
    }

    fn value(&mut self) -> Result<Operand, SyntaxError> {
        let column = self.column();
        let name = match self.peek() {
            Kind::Literal(literal) => {
                let literal = literal.clone();
                self.next += 1;
                return Ok(Operand::Literal(literal));
            }
            Kind::Name(name) => name.clone(),
            Kind::Punctuation('(') => {
                self.next += 1;
                let operand = self.deeper(Self::either)?;
                self.expect(')')?;
                return Ok(operand);
            }
            Kind::Punctuation('[') => {
                self.next += 1;
                let items = self.deeper(|parser| parser.arguments(']'))?;
                let list = Operand::Call(Function::List, items);
                // A list of constants is made once.
                return Ok(match list.constant() {
                    Some(Ok(literal)) => Operand::Literal(literal),
                    _ => list,
                });
            }
            Kind::Punctuation('{') => return Err(SyntaxError::new(column, "maps are not supported yet")),
            _ => return Err(self.unexpected("a value")),
        };
        self.next += 1;
        let literal = match name.as_str() {
            "nil" => Some(Literal::Nil),
            "true" => Some(Literal::Bool(true)),
            "false" => Some(Literal::Bool(false)),
            "and" | "or" | "not" => return Err(SyntaxError::new(column, format!("expected a value, found `{name}`"))),
            _ => None,
        };
        if let Some(literal) = literal {
            return Ok(Operand::Literal(literal));
        }
        if self.is_punctuation('(') {
            let called = self.deeper(|parser| parser.call(&name, column))?;
            return self.keys(called);
        }
        if name.starts_with(|c: char| c.is_ascii_uppercase()) {
            let number = enumeration(&name);
            let number =
                number.ok_or_else(|| SyntaxError::new(column, format!("`{name}` is no enum that is known here")))?;
            return Ok(Operand::Literal(Literal::Int(number)));
        }
        self.path(name, column)
    }

    fn column_of(&mut self, path: Path) -> Operand {
        self.paths.push(path);
        Operand::Column(self.paths.len() - 1)
    }

    /// The rest of a path after its first name.
    fn path(&mut self, first: String, column: usize) -> Result<Operand, SyntaxError> {
        let mut parts = vec![first];
        while self.skip_if(self.is_punctuation('.')) {
            match self.peek() {
                Kind::Name(name) => parts.push(name.clone()),
                _ => return Err(self.unexpected("a name")),
            }
            self.next += 1;
        }
        let whole = parts.join(".");
        let named = if parts.len() > 1 { parts.first().and_then(|name| Context::named(name)) } else { None };
        let context = match (named, self.context) {
            (Some(named), Some(context)) if named as u8 > context as u8 => {
                return Err(SyntaxError::new(column, format!("`{whole}` is of another context than the condition")));
            }
            (Some(named), _) => named,
            (None, Some(context)) => context,
            (None, None) => {
                let message = format!("`{whole}` must begin with its context: resource, scope, span or spanevent");
                return Err(SyntaxError::new(column, message));
            }
        };
        let field = parts.get(usize::from(named.is_some())..).unwrap_or_default().join(".");
        let has_key = self.is_punctuation('[');
        let found = match field.as_str() {
            "attributes" if has_key => {
                self.next += 1;
                let Kind::Literal(Literal::String(key)) = self.peek().clone() else {
                    return Err(self.unexpected("a string"));
                };
                self.next += 1;
                self.expect(']')?;
                Some(Column::Attribute(key))
            }
            "attributes" => {
                return Err(SyntaxError::new(column, "all attributes as one value are not supported yet: name a key"));
            }
            field => context.field(field),
        };
        let found =
            found.ok_or_else(|| SyntaxError::new(column, format!("the path `{whole}` is not supported yet")))?;
        let (is_state, is_attribute) =
            (found == Column::Text(fields::TRACE_STATE), matches!(found, Column::Attribute(_)));
        let operand = self.column_of(Path { table: context.table(), column: found });
        match (is_state && context == Context::Span, is_attribute) {
            (true, _) if has_key => {
                let key = self.key()?;
                Ok(Operand::Call(Function::Member, vec![operand, key]))
            }
            (_, true) => self.keys(operand),
            _ if has_key => Err(SyntaxError::new(column, format!("a key of `{whole}` is not supported yet"))),
            _ => Ok(operand),
        }
    }

    /// Keys within a value.
    fn keys(&mut self, mut operand: Operand) -> Result<Operand, SyntaxError> {
        let mut count = 0;
        while self.is_punctuation('[') {
            count += 1;
            if count > MAX_DEPTH {
                return Err(SyntaxError::new(self.column(), format!("more than {MAX_DEPTH} keys")));
            }
            let key = self.key()?;
            operand = Operand::Call(Function::Index, vec![operand, key]);
        }
        Ok(operand)
    }

    fn key(&mut self) -> Result<Operand, SyntaxError> {
        self.expect('[')?;
        let literal = match self.peek() {
            Kind::Literal(literal @ (Literal::String(_) | Literal::Int(_))) => literal.clone(),
            _ => return Err(self.unexpected("a string or an index")),
        };
        self.next += 1;
        self.expect(']')?;
        Ok(Operand::Literal(literal))
    }
}

#[cfg(test)]
mod tests;
