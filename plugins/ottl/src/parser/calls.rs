//! Calls of functions.

use super::{Parser, SyntaxError};
use crate::evaluate::{Node, Operand, Type};
use crate::function::NAMED;
use crate::path::{Column, Context, Path};
use crate::pattern::Pattern;
use crate::value::{Literal, Operator};

impl Parser {
    /// Values with commas between them, and what closes them.
    pub(super) fn arguments(&mut self, close: char) -> Result<Vec<Operand>, SyntaxError> {
        let mut arguments = Vec::new();
        while !self.is_punctuation(close) {
            if !arguments.is_empty() {
                self.expect(',')?;
            }
            arguments.push(self.sum()?);
        }
        self.expect(close)?;
        Ok(arguments)
    }

    pub(super) fn call(&mut self, name: &str, column: usize) -> Result<Operand, SyntaxError> {
        self.expect('(')?;
        if let Some((_, function, count)) = NAMED.into_iter().find(|(known, _, _)| *known == name) {
            let arguments = self.arguments(')')?;
            if arguments.len() != count {
                let message = format!("`{name}` takes {count} arguments, and here are {}", arguments.len());
                return Err(SyntaxError::new(column, message));
            }
            let call = Operand::Call(function, arguments);
            // What is wrong with constants is wrong for every span.
            return match call.constant() {
                Some(Ok(literal)) => Ok(Operand::Literal(literal)),
                Some(Err(error)) => Err(SyntaxError::new(column, error.to_string())),
                None => Ok(call),
            };
        }
        let node = self.predicate(name, column)?;
        self.expect(')')?;
        Ok(Operand::Condition(Box::new(node)))
    }

    /// A function that is true or false.
    fn predicate(&mut self, name: &str, column: usize) -> Result<Node, SyntaxError> {
        let kind = match name {
            "IsString" => Some(Type::String),
            "IsInt" => Some(Type::Int),
            "IsDouble" => Some(Type::Double),
            "IsBool" => Some(Type::Bool),
            "IsMap" => Some(Type::Map),
            "IsList" => Some(Type::List),
            _ => None,
        };
        Ok(match (name, kind) {
            (_, Some(kind)) => Node::Is(kind, self.sum()?),
            ("IsRootSpan", _) => {
                let parent = self.column_of(Path { table: Context::Span.table(), column: Column::ParentSpanIdHex });
                Node::Compare(parent, Operator::Equal, Operand::Literal(Literal::String(String::new())))
            }
            ("HasPrefix", _) => self.pair(Node::HasPrefix)?,
            ("HasSuffix", _) => self.pair(Node::HasSuffix)?,
            ("ContainsValue", _) => self.pair(Node::ContainsValue)?,
            ("IsMatch", _) => {
                let target = self.sum()?;
                self.expect(',')?;
                Node::IsMatch(target, self.pattern()?)
            }
            _ => return Err(SyntaxError::new(column, format!("`{name}` is not supported yet"))),
        })
    }

    fn pair(&mut self, node: fn(Operand, Operand) -> Node) -> Result<Node, SyntaxError> {
        let first = self.sum()?;
        self.expect(',')?;
        Ok(node(first, self.sum()?))
    }

    fn pattern(&mut self) -> Result<Pattern, SyntaxError> {
        let column = self.column();
        let Operand::Literal(Literal::String(source)) = self.value()? else {
            return Err(SyntaxError::new(column, "a pattern that is no string literal is not supported yet"));
        };
        Pattern::new(&source).map_err(|error| SyntaxError::new(column, format!("the pattern is not valid: {error}")))
    }
}
