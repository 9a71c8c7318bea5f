//! Tables as JSON lines: an object a line, its members are the columns. A string is its text,
//! everything else its JSON; null is no value. Empty lines are passed over.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value};

use super::BadTable;
use super::rows::{Builder, Rows};

pub(super) fn read(input: impl Read, key: &str, most_bytes: usize) -> Result<Rows, BadTable> {
    let mut rows = Builder::new(most_bytes);
    for (number, text) in BufReader::new(input).lines().enumerate() {
        let line = number + 1;
        let text = text.map_err(|error| BadTable::Read { line, error })?;
        if text.trim().is_empty() {
            continue;
        }
        let row: Map<String, Value> = serde_json::from_str(&text).map_err(|error| BadTable::Json { line, error })?;
        for (name, value) in row {
            let column = rows.column(&name)?;
            match value {
                Value::Null => {}
                Value::String(text) => rows.set(column, &text)?,
                other => rows.set(column, &other.to_string())?,
            }
        }
        rows.end_row()?;
    }
    rows.finish(key)
}
