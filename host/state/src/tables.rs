//! Look-up tables: files that the host keeps in memory for plugins, one column a text.
//!
//! What enters: a file, read whole before it serves. What is not well formed, has a key twice, or is
//! larger than its limit is refused whole; then the table before it serves on. What leaves: for many
//! keys, the values of one column.

mod csv_file;
mod files;
mod json_lines;
mod maxmind;
mod own;
mod rows;

#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use sluice_spans::{Refusal, RefusalCode, Texts};

use crate::Keys;
use maxmind::Database;
use rows::Rows;

pub use files::{Loaded, NotLoaded, Spec, Tables};
pub use own::{HOST_TABLE, NamedFile, NotItsFile, OwnFile};

/// Size of a column's name; of a `MaxMind` database it is the way through a record.
const COLUMN_BYTES: usize = 1 << 10;

/// How a table is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Comma-separated values; the first line names the columns.
    Csv,
    /// A JSON object a line; its members are the columns.
    JsonLines,
    /// A `MaxMind` database. Its keys are IP addresses.
    MaxMind,
}

impl Format {
    /// The format that a file's name says.
    pub fn of(file: &Path) -> Option<Self> {
        let extension = file.extension()?.to_str()?;
        match extension.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "mmdb" => Some(Self::MaxMind),
            _ => None,
        }
    }
}

/// Why bytes are no table.
#[derive(Debug, thiserror::Error)]
pub enum BadTable {
    /// They cannot be read, or are no CSV.
    #[error("{0}")]
    Csv(#[from] csv::Error),
    /// They cannot be read.
    #[error("line {line}: {error}")]
    Read {
        /// The line, from 1.
        line: usize,
        /// Why.
        error: std::io::Error,
    },
    /// They are no `MaxMind` database.
    #[error("{0}")]
    MaxMind(#[from] maxminddb::MaxMindDbError),
    /// It is another kind of `MaxMind` database than before, or none.
    #[error("it is not the database `{0}` that the table was before")]
    OtherDatabase(String),
    /// A line is no JSON object.
    #[error("line {line}: {error}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// Why.
        error: serde_json::Error,
    },
    /// The column of the keys is not there.
    #[error("no column is called `{0}`, which is the `key`")]
    NoKey(String),
    /// A row has no key.
    #[error("row {row} has no `{key}`, which is the `key`")]
    RowWithoutKey {
        /// The row, from 1.
        row: usize,
        /// The column of the keys.
        key: String,
    },
    /// A key stands twice.
    #[error("the key `{key}` stands in rows {first} and {second}")]
    Twice {
        /// The key.
        key: String,
        /// The first row, from 1.
        first: usize,
        /// The second row.
        second: usize,
    },
    /// A column stands twice.
    #[error("two columns are called `{0}`")]
    ColumnTwice(String),
    /// A column that the table had before is missing, which plugins may be asking for.
    #[error("the column `{0}`, which the table had before, is missing")]
    ColumnGone(String),
    /// It is over the limit.
    #[error("it needs more than the limit of {0} bytes")]
    TooLarge(usize),
}

/// A table.
#[derive(Debug)]
pub struct Table(Content);

#[derive(Debug)]
enum Content {
    Rows(Rows),
    Database(Database),
}

/// What a look-up has found: an item for each key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// 1 where there is a value.
    pub present: Vec<u8>,
    /// The values; empty where there is none.
    pub values: Texts,
}

impl Table {
    /// Reads a table whose rows are known by their column `key`, and that needs at most so many bytes.
    /// A `MaxMind` database has no such column.
    ///
    /// # Errors
    /// When it is not well formed or too large.
    pub fn read(format: Format, input: impl Read, key: &str, most_bytes: usize) -> Result<Self, BadTable> {
        Ok(Self(match format {
            Format::Csv => Content::Rows(csv_file::read(input, key, most_bytes)?),
            Format::JsonLines => Content::Rows(json_lines::read(input, key, most_bytes)?),
            Format::MaxMind => Content::Database(Database::read(input, most_bytes)?),
        }))
    }

    /// A table of names and values: the columns `name`, which is the key, and `value`.
    ///
    /// # Errors
    /// When a name stands twice.
    pub fn of_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, BadTable> {
        let mut rows = rows::Builder::new(usize::MAX);
        let (names, values) = (rows.column("name")?, rows.column("value")?);
        for (name, value) in pairs {
            rows.set(names, name)?;
            rows.set(values, value)?;
            rows.end_row()?;
        }
        Ok(Self(Content::Rows(rows.finish("name")?)))
    }

    /// How many rows it has; of a `MaxMind` database, nodes of its search tree.
    pub fn rows(&self) -> usize {
        match &self.0 {
            Content::Rows(rows) => rows.len(),
            Content::Database(database) => database.nodes(),
        }
    }

    /// The names of its columns. A `MaxMind` database has none, but paths that differ from record to record.
    pub fn columns(&self) -> Option<impl Iterator<Item = &str>> {
        match &self.0 {
            Content::Rows(rows) => Some(rows.columns()),
            Content::Database(_) => None,
        }
    }

    /// How much memory it needs.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Content::Rows(rows) => rows.bytes(),
            Content::Database(database) => database.bytes(),
        }
    }

    /// The values of a column for these keys; so many bytes at most.
    ///
    /// # Errors
    /// When there is no such column, the keys are not well formed, or something is over a limit.
    pub fn look_up<'k>(&self, column: &str, keys: impl Into<Keys<'k>>, most_bytes: usize) -> Result<Found, Refusal> {
        let keys = keys.into().checked()?;
        if column.len() > COLUMN_BYTES {
            return Err(Refusal::limit("the name of a column is longer than the limit"));
        }
        let mut found = Found { present: Vec::with_capacity(keys.len()), values: Texts::with_capacity(keys.len(), 0) };
        match &self.0 {
            Content::Rows(rows) => {
                let Some(column) = rows.column(column) else {
                    let message = format!("the table has no column `{column}`");
                    return Err(Refusal { code: RefusalCode::Unknown, message });
                };
                for key in keys.each() {
                    found.push(rows.find(key?).and_then(|row| column.get(row)), most_bytes)?;
                }
            }
            Content::Database(database) => {
                let path = maxmind::path(column);
                for key in keys.each() {
                    found.push(database.find(&path, key?).as_deref().map(str::as_bytes), most_bytes)?;
                }
            }
        }
        Ok(found)
    }

    /// Why this cannot take the place of another table, if so.
    fn check_successor_of(&self, before: &Self) -> Result<(), BadTable> {
        match (&before.0, &self.0) {
            (Content::Rows(before), Content::Rows(after)) => {
                let gone = before.columns().find(|name| after.column(name).is_none());
                gone.map_or(Ok(()), |gone| Err(BadTable::ColumnGone(gone.to_owned())))
            }
            (Content::Database(before), Content::Database(after)) if before.kind() == after.kind() => Ok(()),
            (Content::Database(before), _) => Err(BadTable::OtherDatabase(before.kind().to_owned())),
            // The format is part of what a table is: this does not come from a file.
            (Content::Rows(_), Content::Database(after)) => Err(BadTable::OtherDatabase(after.kind().to_owned())),
        }
    }
}

impl Found {
    fn push(&mut self, value: Option<&[u8]>, most_bytes: usize) -> Result<(), Refusal> {
        if self.values.bytes.len().saturating_add(value.map_or(0, <[u8]>::len)) > most_bytes {
            return Err(Refusal::limit("more bytes of values at once than the limit"));
        }
        self.present.push(u8::from(value.is_some()));
        self.values.push(value.unwrap_or_default());
        Ok(())
    }
}

/// A table that is replaced as a whole while it serves.
#[derive(Debug)]
pub struct LiveTable(RwLock<Arc<Table>>);

impl LiveTable {
    /// Begins with this table.
    pub fn new(table: Table) -> Self {
        Self(RwLock::new(Arc::new(table)))
    }

    /// The table as it is now.
    pub fn now(&self) -> Arc<Table> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves another table from now on.
    ///
    /// # Errors
    /// When it lacks a column that the present one has, or is another kind of database: a plugin that
    /// asks for what was there would fail.
    pub fn replace(&self, table: Table) -> Result<(), BadTable> {
        table.check_successor_of(&self.now())?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        Ok(())
    }
}
