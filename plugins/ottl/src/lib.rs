//! Conditions and statements: a subset of the OpenTelemetry Transformation Language (OTTL).
//!
//! ```text
//! statement  = EDITOR "(" arguments ")" [ "where" condition ]
//! condition  = term { "or" term }
//! term       = factor { "and" factor }
//! factor     = [ "not" ] ( comparison | "true" | "false" | predicate | "(" condition ")" )
//! comparison = sum ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) sum
//! sum        = product { ( "+" | "-" ) product }
//! product    = value { ( "*" | "/" ) value }
//! value      = "nil" | "true" | "false" | STRING | INT | FLOAT | BYTES | ENUM
//!            | list | call | predicate | path | "(" sum ")" | "(" condition ")"
//! list       = "[" [ sum { "," sum } ] "]"
//! call       = NAME "(" [ sum { "," sum } ] ")" { key }
//! predicate  = NAME "(" [ sum { "," sum } ] ")"
//! path       = [ CONTEXT "." ] FIELD { "." FIELD } { key }
//! key        = "[" ( STRING | INT ) "]"
//! ```
//!
//! Whatever else OTTL has is refused by name and column. What is here means what it means there;
//! in particular a missing attribute is nil, values of different types are unequal and in no
//! order, but integers and doubles compare as numbers.

mod case;
mod columns;
mod duration;
mod evaluate;
mod function;
mod lexer;
mod nested;
mod parser;
mod path;
mod pattern;
mod select;
mod sheet;
mod statements;
mod value;

pub use columns::{Columns, Loaded};
pub use evaluate::{EvaluationError, Expression};
pub use parser::{Parsed, ParsedStatement, SyntaxError};
pub use path::Context;
pub use select::without;
pub use statements::Statements;
