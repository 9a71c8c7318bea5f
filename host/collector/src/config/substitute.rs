//! `${env:NAME}`, `${env:NAME:-default}`, `${NAME}`, `${file:PATH}` and `$$` in values.
//!
//! A value that is one substitution and nothing else becomes what YAML makes of the text, which
//! may be a number or a whole mapping; a substitution within a longer text stays text. What a
//! variable or file holds is not searched for further substitutions: a `$` in a password is one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::Diagnostics;
use super::mark::{Mark, Origin};
use super::source::{self, Pipes};
use super::tree::{Tree, Value};
use super::yaml;

/// Looks a variable up.
pub type Environment<'e> = &'e dyn Fn(&str) -> Result<Option<String>, String>;

/// Puts values in place of substitutions.
pub struct Substitution<'s> {
    /// The process environment.
    pub environment: Environment<'s>,
    /// Whether a file that is named may be a pipe.
    pub pipes: Pipes,
    /// What cannot be substituted.
    pub problems: &'s mut Diagnostics,
    /// The files that were read, or were to be.
    pub files: Vec<PathBuf>,
}

/// A part of a text.
#[derive(Debug, PartialEq)]
enum Part<'t> {
    Text(&'t str),
    /// What stands between `${` and `}`.
    Reference(&'t str),
}

impl Substitution<'_> {
    /// Does so in all values of a tree. Keys stay as they are.
    pub fn apply(&mut self, tree: &mut Tree) {
        match &mut tree.value {
            Value::List(list) => list.iter_mut().for_each(|value| self.apply(value)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| self.apply(&mut entry.value)),
            Value::Text(text) if text.contains('$') => {
                let text = std::mem::take(text);
                *tree = self.text(&text, &tree.mark);
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str, mark: &Mark) -> Tree {
        let parts = parts(text);
        if let [Part::Reference(reference)] = parts.as_slice() {
            return match self.resolve(reference, mark) {
                Some(text) => value_of(text, mark),
                None => Tree::null(mark.clone()),
            };
        }
        let part = |part: &Part<'_>| match part {
            Part::Text(text) => (*text).to_owned(),
            Part::Reference(reference) => self.resolve(reference, mark).unwrap_or_default(),
        };
        Tree::new(mark.clone(), Value::Text(parts.iter().map(part).collect()))
    }

    /// What a reference stands for; `None` after telling why there is nothing.
    fn resolve(&mut self, reference: &str, mark: &Mark) -> Option<String> {
        if reference.contains("${") {
            self.problems
                .error(mark, format!("`${{{reference}}}`: a substitution within a substitution is not supported"));
            return None;
        }
        match reference.split_once(':') {
            Some(("env", name)) => self.variable(name, mark),
            Some(("file", path)) => self.file(&mark.resolve(path), mark),
            Some((scheme @ ("http" | "https" | "yaml"), _)) => {
                self.problems.error(mark, format!("`${{{scheme}:…}}` is not supported yet"));
                None
            }
            // `${NAME:-default}`, where the scheme is left out.
            Some((_, rest)) if rest.starts_with('-') => self.variable(reference, mark),
            Some((scheme, _)) => {
                self.problems.error(
                    mark,
                    format!("`${{{scheme}:…}}` is not known; there are `${{env:NAME}}` and `${{file:PATH}}`"),
                );
                None
            }
            None => self.variable(reference, mark),
        }
    }

    fn variable(&mut self, reference: &str, mark: &Mark) -> Option<String> {
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        if !is_name(name) {
            self.problems.error(mark, format!("`{name}` is no name of an environment variable"));
            return None;
        }
        match (self.environment)(name) {
            Ok(Some(value)) => Some(value),
            Ok(None) if default.is_some() => default.map(str::to_owned),
            Ok(None) => {
                self.problems
                    .warning(mark, format!("the environment variable `{name}` is not set; the value is empty"));
                None
            }
            Err(error) => {
                self.problems.error(mark, format!("the environment variable `{name}` {error}"));
                None
            }
        }
    }

    fn file(&mut self, path: &Path, mark: &Mark) -> Option<String> {
        self.files.push(path.to_owned());
        match source::read(path, self.pipes) {
            Ok(mut text) => {
                // Whoever puts a password into a file ends the line.
                if text.ends_with('\n') {
                    text.pop();
                }
                Some(text)
            }
            Err(reason) => {
                self.problems.error(mark, format!("cannot read `{}`: {reason}", path.display()));
                None
            }
        }
    }
}

/// Looks a variable up in the environment of the process.
pub fn process_environment(name: &str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err("is not UTF-8".to_owned()),
    }
}

fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// What YAML makes of a text that has been put here; its parts all stand where the substitution
/// stands. What is no YAML is a string.
fn value_of(text: String, mark: &Mark) -> Tree {
    let parsed = yaml::parse(&Arc::new(Origin::default()), &text, &mut Diagnostics::default());
    let mut tree = parsed.unwrap_or_else(|| Tree::null(mark.clone()));
    let is_text =
        matches!(tree.value, Value::Text(_)) || (matches!(tree.value, Value::Null) && !text.trim().is_empty());
    if is_text && text != "~" && !text.eq_ignore_ascii_case("null") {
        tree.value = Value::Text(text.clone());
    }
    place(&mut tree, mark);
    tree.original = Some(text);
    tree
}

fn place(tree: &mut Tree, mark: &Mark) {
    tree.mark = mark.clone();
    match &mut tree.value {
        Value::List(list) => list.iter_mut().for_each(|value| place(value, mark)),
        Value::Map(entries) => {
            for entry in entries {
                entry.mark = mark.clone();
                place(&mut entry.value, mark);
            }
        }
        _ => {}
    }
}

/// Splits a text at its substitutions. `$$` is a `$`, and so is one that begins nothing.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let (before, from) = rest.split_at(dollar);
        let after = from.get(1..).unwrap_or_default();
        let mut taken = 1;
        if let Some(length) = after.strip_prefix('{').and_then(closing) {
            parts.push(Part::Text(before));
            parts.push(Part::Reference(after.get(1..=length).unwrap_or_default()));
            taken = length + 3;
        } else {
            parts.push(Part::Text(before));
            parts.push(Part::Text("$"));
            if after.starts_with('$') {
                taken = 2;
            }
        }
        rest = from.get(taken..).unwrap_or_default();
    }
    parts.push(Part::Text(rest));
    parts.retain(|part| *part != Part::Text(""));
    parts
}

/// Where the brace closes that is open at the start.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0usize;
    for (index, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(index),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}
