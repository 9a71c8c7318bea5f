//! Conditions: a subset of the OpenTelemetry Transformation Language (OTTL).
//!
//! ```text
//! condition  = term { "or" term }
//! term       = factor { "and" factor }
//! factor     = [ "not" ] ( comparison | "true" | "false" | call | "(" condition ")" )
//! comparison = value ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) value
//! value      = "nil" | "true" | "false" | STRING | INT | FLOAT | BYTES | ENUM | call | path
//! call       = NAME "(" [ value { "," value } ] ")"
//! path       = [ CONTEXT "." ] FIELD { "." FIELD } [ "[" STRING "]" ]
//! ```
//!
//! Whatever else OTTL has is refused by name and column. What is here means what it means there;
//! in particular a missing attribute is nil, values of different types are unequal and in no
//! order, but integers and doubles compare as numbers.

mod columns;
mod evaluate;
mod lexer;
mod parser;
mod path;
mod pattern;
mod value;

pub use columns::{Columns, Loaded};
pub use evaluate::{EvaluationError, Expression};
pub use parser::{Parsed, SyntaxError};
pub use path::Context;
