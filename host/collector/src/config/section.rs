//! Typed reading of the configuration.
//!
//! A [`Section`] is one YAML mapping. Whoever reads it asks for the keys that it knows; what is
//! wrong becomes a diagnostic and reads as the default, so that reading goes on and one run tells
//! everything. [`Section::finish`] complains about the keys that nobody has asked for.

use std::cell::RefCell;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::Diagnostics;
use super::duration;
use super::nearest::nearest;
use super::tree::{Entry, Tree, Value};

pub use super::mark::Mark;
pub use super::node::Node;

/// The reason for what will be supported in a later version.
pub const NOT_YET: &str = "not supported yet";

/// Where problems are gathered while the tree is read.
pub type Problems = RefCell<Diagnostics>;

/// One YAML mapping that is being read. Null and absent read as empty.
#[derive(Debug)]
pub struct Section<'c> {
    entries: &'c [Entry],
    mark: Mark,
    asked: Vec<String>,
    problems: &'c Problems,
}

impl<'c> Section<'c> {
    /// A section of these entries, which stands at `mark`.
    pub(super) fn new(entries: &'c [Entry], mark: Mark, problems: &'c Problems) -> Self {
        Self { entries, mark, asked: Vec::new(), problems }
    }

    /// A string.
    pub fn str(&mut self, key: &str) -> Option<String> {
        self.node(key)?.str()
    }

    /// A string, or `default` if the key is absent.
    pub fn str_or(&mut self, key: &str, default: &str) -> String {
        self.str(key).unwrap_or_else(|| default.to_owned())
    }

    /// A path; a relative one is relative to the file that it stands in.
    pub fn path(&mut self, key: &str) -> Option<PathBuf> {
        let node = self.node(key)?;
        let path = node.str()?;
        if path.is_empty() {
            node.error(format!("`{key}` must not be empty: write a path"));
            return None;
        }
        Some(node.mark().resolve(&path))
    }

    /// A boolean.
    pub fn bool_or(&mut self, key: &str, default: bool) -> bool {
        match self.node(key).map(|node| (node.value(), node)) {
            None => default,
            Some((Value::Bool(value), _)) => *value,
            Some((_, node)) => node.expected("true or false", default),
        }
    }

    /// A whole number from 0.
    pub fn u64(&mut self, key: &str) -> Option<u64> {
        let node = self.node(key)?;
        match node.value() {
            Value::Integer(value) if *value >= 0 => u64::try_from(*value).ok(),
            // `1e6` is a whole number to whoever writes it.
            Value::Float(value) if *value >= 0.0 && value.fract() == 0.0 && *value < 2f64.powi(53) => {
                Some(*value as u64)
            }
            _ => node.expected("a whole number from 0", None),
        }
    }

    /// A whole number from 0, or `default` if the key is absent.
    pub fn u64_or(&mut self, key: &str, default: u64) -> u64 {
        self.u64(key).unwrap_or(default)
    }

    /// A whole number, or `default` if the key is absent or 0, which is how gRPC and the Collector say the same.
    pub fn nonzero_u64_or(&mut self, key: &str, default: u64) -> u64 {
        self.u64(key).filter(|value| *value != 0).unwrap_or(default)
    }

    /// A finite number.
    pub fn f64_or(&mut self, key: &str, default: f64) -> f64 {
        let Some(node) = self.node(key) else { return default };
        match node.value() {
            Value::Integer(value) => *value as f64,
            Value::Float(value) if value.is_finite() => *value,
            _ => node.expected("a number", default),
        }
    }

    /// A duration in Go's notation: `200ms`, `1m30s`, `0`.
    pub fn duration_or(&mut self, key: &str, default: Duration) -> Duration {
        let Some(node) = self.node(key) else { return default };
        if matches!(node.value(), Value::Integer(0)) {
            return Duration::ZERO;
        }
        let parsed = node.text().ok_or(duration::NotDuration::NoUnit).and_then(duration::parse);
        parsed.unwrap_or_else(|error| {
            node.error(format!("`{key}`: {error}"));
            default
        })
    }

    /// A duration, or `default` if the key is absent or 0, which is how gRPC and the Collector say the same.
    pub fn nonzero_duration_or(&mut self, key: &str, default: Duration) -> Duration {
        Some(self.duration_or(key, default)).filter(|value| !value.is_zero()).unwrap_or(default)
    }

    /// One of a few words, in whatever case: the Collector's users write `INFO` and `info`.
    pub fn one_of(&mut self, key: &str, allowed: &[&'static str], default: &'static str) -> &'static str {
        let Some(node) = self.node(key) else { return default };
        let Some(word) = node.str() else { return default };
        if let Some(known) = allowed.iter().find(|known| known.eq_ignore_ascii_case(&word)) {
            return known;
        }
        let list: Vec<_> = allowed.iter().map(|word| format!("`{word}`")).collect();
        node.error(format!("`{key}` must be {}", list.join(" or ")));
        default
    }

    /// A list of strings.
    pub fn strings(&mut self, key: &str) -> Vec<String> {
        self.nodes(key).iter().filter_map(Node::str).collect()
    }

    /// Strings by name, in the order written: a mapping, or a list of `{name, value}`.
    pub fn string_map(&mut self, key: &str) -> Vec<(String, String)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        if let Value::List(_) = node.value() {
            let pair = |mut section: Section<'c>| {
                let pair = section.str("name").zip(section.str("value"));
                if pair.is_none() {
                    section.complain("both `name` and `value` are needed");
                }
                section.finish();
                pair
            };
            return node.list().into_iter().filter_map(Node::into_section).filter_map(pair).collect();
        }
        let Some(mut section) = node.into_section() else { return Vec::new() };
        let pair = |(name, _, node): (String, Mark, Node<'c>)| Some((name, node.str()?));
        section.entries().into_iter().filter_map(pair).collect()
    }

    /// A mapping in this one: `None` if the key is absent, empty if it is null.
    pub fn section(&mut self, key: &str) -> Option<Section<'c>> {
        self.node_or_null(key)?.into_section()
    }

    /// A list of mappings.
    pub fn sections(&mut self, key: &str) -> Vec<Section<'c>> {
        self.nodes(key).into_iter().filter_map(Node::into_section).collect()
    }

    /// All entries, whatever their keys: name, place of the key, value.
    pub fn entries(&mut self) -> Vec<(String, Mark, Node<'c>)> {
        self.asked.extend(self.entries.iter().map(|entry| entry.key.clone()));
        let node = |entry: &'c Entry| (entry.key.clone(), entry.mark.clone(), self.node_of(entry));
        self.entries.iter().map(node).collect()
    }

    /// The value of a key; `None` if the key is absent or null.
    pub fn node(&mut self, key: &str) -> Option<Node<'c>> {
        self.node_or_null(key).filter(|node| !matches!(node.value(), Value::Null))
    }

    fn node_or_null(&mut self, key: &str) -> Option<Node<'c>> {
        self.asked.push(key.to_owned());
        self.entry(key).map(|entry| self.node_of(entry))
    }

    fn nodes(&mut self, key: &str) -> Vec<Node<'c>> {
        self.node(key).map(Node::into_list).unwrap_or_default()
    }

    fn node_of(&self, entry: &'c Entry) -> Node<'c> {
        Node::new(&entry.key, &entry.mark, &entry.value, self.problems)
    }

    fn entry(&self, key: &str) -> Option<&'c Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Whether the key is there, be it with null.
    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether the key is there and says something, right or wrong.
    pub fn says(&self, key: &str) -> bool {
        self.entry(key).is_some_and(|entry| !matches!(entry.value.value, Value::Null))
    }

    /// Tells of the key if it is there with nothing, as a variable that is not set leaves it: what narrows who may
    /// do what must not be left out by mistake.
    pub fn must_say(&mut self, key: &str) {
        if self.has(key) && !self.says(key) {
            self.error(key, format!("`{key}` says nothing: write its value, or leave the key out"));
        }
    }

    /// Where the key stands; where the section stands if it has no such key.
    pub fn mark(&self, key: &str) -> Mark {
        self.entry(key).map_or(&self.mark, |entry| &entry.mark).clone()
    }

    /// Where the section stands.
    pub fn here(&self) -> &Mark {
        &self.mark
    }

    /// Tells an error at the key's place.
    pub fn error(&mut self, key: &str, message: impl Display) {
        self.problems.borrow_mut().error(&self.mark(key), message.to_string());
    }

    /// Tells a warning at the key's place.
    pub fn warning(&mut self, key: &str, message: impl Display) {
        self.problems.borrow_mut().warning(&self.mark(key), message.to_string());
    }

    /// Tells a warning at the section's place.
    pub fn remark(&mut self, message: impl Display) {
        self.problems.borrow_mut().warning(&self.mark, message.to_string());
    }

    /// Tells an error at the section's place.
    pub fn complain(&mut self, message: impl Display) {
        self.problems.borrow_mut().error(&self.mark, message.to_string());
    }

    /// A key that the Collector has and we do not: an error if it is there.
    pub fn unsupported(&mut self, key: &str, why: &str) {
        self.asked.push(key.to_owned());
        if self.has(key) {
            let message =
                if why == NOT_YET { format!("`{key}` is {why}") } else { format!("`{key}` is not supported: {why}") };
            self.error(key, message);
        }
    }

    /// Tells of every key that nobody has asked for.
    pub fn finish(self) {
        let mut problems = self.problems.borrow_mut();
        for entry in self.entries.iter().filter(|entry| !self.asked.contains(&entry.key)) {
            let hint = match nearest(&entry.key, self.asked.iter().map(String::as_str)) {
                Some(known) => format!("; did you mean `{known}`?"),
                None => known_here(&self.asked),
            };
            problems.error(&entry.mark, format!("unknown key `{}`{hint}", entry.key));
        }
    }
}

/// Names what is known, while that can still be read.
fn known_here(asked: &[String]) -> String {
    let mut known: Vec<_> = asked.iter().map(|key| format!("`{key}`")).collect();
    known.sort();
    known.dedup();
    match known.len() {
        0 => "; no keys are known here".to_owned(),
        1..=12 => format!("; known here: {}", known.join(", ")),
        _ => String::new(),
    }
}

/// Reads a YAML text that stands alone: `read` gets its top mapping. For tests, and for what is
/// not a file.
pub fn read_text<T>(name: &str, yaml: &str, read: impl FnOnce(Section<'_>) -> T) -> (T, Diagnostics) {
    let origin = std::sync::Arc::new(super::mark::Origin { name: name.to_owned(), ..Default::default() });
    let problems = Problems::default();
    let tree = super::yaml::parse(&origin, yaml, &mut problems.borrow_mut());
    let tree = tree.unwrap_or_else(|| Tree::null(Mark::new(&origin, 1, 1)));
    let empty = Section::new(&[], tree.mark.clone(), &problems);
    let value = read(Node::new(name, &tree.mark, &tree, &problems).into_section().unwrap_or(empty));
    (value, problems.into_inner())
}
