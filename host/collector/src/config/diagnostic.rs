//! What is wrong with a configuration, and where.

use std::fmt;
use std::io::Write as _;

use super::mark::Mark;
use crate::terminal::plain;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but probably does not do what was meant.
    Warning,
}

/// One thing that is wrong. Shown as `FILE:LINE:COLUMN: error: MESSAGE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where.
    pub mark: Mark,
    /// How bad.
    pub severity: Severity,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}: {severity}: {}", self.mark, plain(&self.message))
    }
}

/// All that is wrong, in the order of places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Adds an error.
    pub fn error(&mut self, mark: &Mark, message: impl Into<String>) {
        self.add(mark, Severity::Error, message.into());
    }

    /// Adds a warning.
    pub fn warning(&mut self, mark: &Mark, message: impl Into<String>) {
        self.add(mark, Severity::Warning, message.into());
    }

    fn add(&mut self, mark: &Mark, severity: Severity, message: String) {
        let added = Diagnostic { mark: mark.clone(), severity, message };
        // Each is put in its place, after those of the same place.
        let place = self.0.partition_point(|known| known.mark <= added.mark);
        // An anchor is read as often as it is used, but it is wrong in one place only.
        if !self.0.contains(&added) {
            self.0.insert(place, added);
        }
    }

    /// Adds all of `others`.
    pub fn extend(&mut self, others: Self) {
        for Diagnostic { mark, severity, message } in others.0 {
            self.add(&mark, severity, message);
        }
    }

    /// In the order of places.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// Whether there is any error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One a line.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|diagnostic| writeln!(f, "{diagnostic}"))
    }
}

impl std::error::Error for Diagnostics {}

/// Writes diagnostics to stderr, one a line.
pub fn print(diagnostics: &Diagnostics) {
    // Who closed stderr does not want to know.
    let _ = std::io::stderr().lock().write_all(diagnostics.to_string().as_bytes());
}
