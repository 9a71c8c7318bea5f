//! One value of the configuration that is being read.

use std::fmt::Display;

use super::mark::Mark;
use super::section::{Problems, Section};
use super::tree::{Tree, Value};

/// A value, with where it stands and where to tell what is wrong with it.
#[derive(Debug, Clone, Copy)]
pub struct Node<'c> {
    name: &'c str,
    /// Where its key stands, or itself if it has none.
    place: &'c Mark,
    tree: &'c Tree,
    problems: &'c Problems,
}

impl<'c> Node<'c> {
    pub(super) fn new(name: &'c str, place: &'c Mark, tree: &'c Tree, problems: &'c Problems) -> Self {
        Self { name, place, tree, problems }
    }

    /// Where the value stands.
    pub fn mark(&self) -> &'c Mark {
        &self.tree.mark
    }

    /// The value itself.
    pub fn value(&self) -> &'c Value {
        &self.tree.value
    }

    /// The value with all that is in it.
    pub fn tree(&self) -> &'c Tree {
        self.tree
    }

    /// The value as text: a string, or what a substitution put there, whatever YAML makes of it.
    pub fn text(&self) -> Option<&'c str> {
        match &self.tree.value {
            Value::Text(text) => Some(text),
            _ => self.tree.original.as_deref(),
        }
    }

    /// A string; anything else is an error.
    pub fn str(&self) -> Option<String> {
        match (self.text(), self.value()) {
            (Some(text), _) => Some(text.to_owned()),
            (None, Value::Bool(_) | Value::Integer(_) | Value::Float(_)) => {
                self.expected("a string (put it in quotes)", None)
            }
            _ => self.expected("a string", None),
        }
    }

    /// The elements of a list; anything but a list or null is an error.
    pub fn list(&self) -> Vec<Node<'c>> {
        match &self.tree.value {
            Value::List(list) => list.iter().map(|tree| Self { tree, place: &tree.mark, ..*self }).collect(),
            Value::Null => Vec::new(),
            _ => self.expected("a list", Vec::new()),
        }
    }

    /// See [`Node::list`].
    pub fn into_list(self) -> Vec<Node<'c>> {
        self.list()
    }

    /// A mapping; null is an empty one, anything else is an error.
    pub fn into_section(self) -> Option<Section<'c>> {
        match &self.tree.value {
            Value::Map(entries) => Some(Section::new(entries, self.place.clone(), self.problems)),
            Value::Null => Some(Section::new(&[], self.place.clone(), self.problems)),
            _ => self.expected("a mapping", None),
        }
    }

    /// Tells an error at the value's place.
    pub fn error(&self, message: impl Display) {
        self.problems.borrow_mut().error(&self.tree.mark, message.to_string());
    }

    /// Tells that something else was expected here, and goes on with `instead`.
    pub(super) fn expected<T>(&self, what: &str, instead: T) -> T {
        self.error(format!("`{}` must be {what}, not {}", self.name, self.tree.value.kind()));
        instead
    }
}
