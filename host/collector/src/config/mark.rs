//! Places in configuration files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A source of configuration: a file, or an argument.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Origin {
    /// The place in the order of sources: a later one overrides an earlier one.
    pub order: usize,
    /// The name as the user gave it.
    pub name: String,
    /// Where relative paths start.
    pub folder: PathBuf,
}

/// A place in a source: shown as `FILE:LINE:COLUMN`, ordered as the sources are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Mark {
    origin: Arc<Origin>,
    line: usize,
    column: usize,
}

impl Mark {
    /// A place. `line` and `column` start at 1; line 0 is the source as a whole.
    pub fn new(origin: &Arc<Origin>, line: usize, column: usize) -> Self {
        Self { origin: Arc::clone(origin), line, column }
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// A path as it is meant here: relative to the file that it stands in.
    pub fn resolve(&self, path: &str) -> PathBuf {
        let folder: &Path = &self.origin.folder;
        folder.join(path)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str(&self.origin.name);
        }
        write!(f, "{}:{}:{}", self.origin.name, self.line, self.column)
    }
}
