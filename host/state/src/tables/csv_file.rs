//! Tables as comma-separated values (RFC 4180): the first line names the columns, every other line
//! is a row with as many fields. Text is UTF-8.

use std::io::Read;

use super::BadTable;
use super::rows::{Builder, Rows};

pub(super) fn read(input: impl Read, key: &str, most_bytes: usize) -> Result<Rows, BadTable> {
    let mut reader = csv::Reader::from_reader(input);
    let mut rows = Builder::new(most_bytes);
    for name in reader.headers()? {
        if rows.has_column(name) {
            return Err(BadTable::ColumnTwice(name.to_owned()));
        }
        rows.column(name)?;
    }
    if !rows.has_column(key) {
        return Err(BadTable::NoKey(key.to_owned()));
    }
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        for (column, text) in record.iter().enumerate() {
            rows.set(column, text)?;
        }
        rows.end_row()?;
    }
    rows.finish(key)
}
