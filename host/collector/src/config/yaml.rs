//! YAML text → [`Tree`].
//!
//! Built on the parser's events rather than on its values: so every key and value keeps its place,
//! a key that stands twice is an error at the second place, and depth and size are bounded before
//! anything is built, aliases included.

use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr::{Scalar, ScalarStyle, Tag};
use saphyr_parser::{Event, Marker, Parser, Span, StrInput};

use super::diagnostic::Diagnostics;
use super::mark::{Mark, Origin};
use super::tree::{Entry, Tree, Value};

/// Mappings and lists in each other. The deepest configuration known has twelve.
const MAX_DEPTH: usize = 64;

/// Values in one text, each use of an anchor counted: bounds what a few nested anchors expand to.
const MAX_VALUES: usize = 100_000;

/// Reads one YAML document; `None` and an error at the place if it is none.
pub fn parse(origin: &Arc<Origin>, yaml: &str, problems: &mut Diagnostics) -> Option<Tree> {
    let mut reader =
        Reader { parser: Parser::new_from_str(yaml), origin, anchors: BTreeMap::new(), values: 0, problems };
    reader.document().inspect_err(|Wrong { mark, message }| reader.problems.error(mark, message.as_str())).ok()
}

/// Why a text cannot be read any further.
struct Wrong {
    mark: Mark,
    message: String,
}

struct Reader<'y, 'p> {
    parser: Parser<'y, StrInput<'y>>,
    origin: &'p Arc<Origin>,
    anchors: BTreeMap<usize, Tree>,
    values: usize,
    problems: &'p mut Diagnostics,
}

impl<'y> Reader<'y, '_> {
    fn mark(&self, marker: &Marker) -> Mark {
        Mark::new(self.origin, marker.line(), marker.col() + 1)
    }

    fn wrong<T>(&self, marker: &Marker, message: impl Into<String>) -> Result<T, Wrong> {
        Err(Wrong { mark: self.mark(marker), message: message.into() })
    }

    fn next(&mut self) -> Result<(Event<'y>, Span), Wrong> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => self.wrong(error.marker(), error.info()),
            None => self.wrong(&Marker::new(0, 1, 0), "the text ends early"),
        }
    }

    fn document(&mut self) -> Result<Tree, Wrong> {
        let mut document = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(document.unwrap_or_else(|| Tree::null(self.mark(&Marker::new(0, 1, 0))))),
                Event::DocumentStart(_) if document.is_some() => {
                    return self.wrong(&span.start, "one document a file; give the other in a file of its own");
                }
                Event::DocumentStart(_) => {
                    let (event, span) = self.next()?;
                    document = Some(self.value(event, span, 0)?);
                }
                _ => {}
            }
        }
    }

    fn value(&mut self, event: Event<'y>, span: Span, depth: usize) -> Result<Tree, Wrong> {
        if depth > MAX_DEPTH {
            return self.wrong(&span.start, format!("more than {MAX_DEPTH} levels"));
        }
        self.count(1, &span)?;
        let mark = self.mark(&span.start);
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (self.scalar(&text, style, tag.as_deref(), &span)?, anchor),
            Event::SequenceStart(anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(depth)?, anchor),
            Event::Alias(anchor) => return self.alias(anchor, &span, depth),
            _ => return self.wrong(&span.start, "a value was expected here"),
        };
        let tree = Tree::new(mark, value);
        if anchor > 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        Ok(tree)
    }

    fn count(&mut self, values: usize, span: &Span) -> Result<(), Wrong> {
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES {
            return self.wrong(&span.start, format!("more than {MAX_VALUES} values"));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: &Span, depth: usize) -> Result<Tree, Wrong> {
        let Some(tree) = self.anchors.get(&anchor) else {
            return self.wrong(&span.start, "an anchor cannot be used within itself");
        };
        let (values, levels) = extent(tree);
        let tree = (values <= MAX_VALUES && depth + levels <= MAX_DEPTH).then(|| tree.clone());
        self.count(values, span)?;
        match tree {
            Some(tree) => Ok(tree),
            None => self.wrong(&span.start, format!("more than {MAX_DEPTH} levels")),
        }
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Result<Value, Wrong> {
        let tag = tag.map(std::borrow::Cow::Borrowed);
        let Some(scalar) = Scalar::parse_from_cow_and_metadata(text.into(), style, tag.as_ref()) else {
            return self.wrong(&span.start, "the value does not have the type that its tag says");
        };
        Ok(match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => Value::Bool(value),
            Scalar::Integer(value) => Value::Integer(value),
            Scalar::FloatingPoint(value) => Value::Float(value.into_inner()),
            Scalar::String(text) => Value::Text(text.into_owned()),
        })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Wrong> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(list)),
                (event, span) => list.push(self.value(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Wrong> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(key, ..) => key.into_owned(),
                _ => return self.wrong(&span.start, "a key must be a plain word"),
            };
            let mark = self.mark(&span.start);
            let (event, span) = self.next()?;
            let value = self.value(event, span, depth + 1)?;
            if key == "<<" {
                merged.push(value);
            } else if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let first = first.mark.line();
                self.problems.error(&mark, format!("`{key}` stands here twice; the first is in line {first}"));
            } else {
                entries.push(Entry { key, mark, value });
            }
        }
        for value in merged {
            self.merge(&mut entries, value);
        }
        Ok(Value::Map(entries))
    }

    /// Adds what the merge key `<<` names and the mapping does not have.
    fn merge(&mut self, entries: &mut Vec<Entry>, value: Tree) {
        match value.value {
            Value::Map(more) => {
                for entry in more {
                    if !entries.iter().any(|known| known.key == entry.key) {
                        entries.push(entry);
                    }
                }
            }
            Value::List(list) => list.into_iter().for_each(|value| self.merge(entries, value)),
            _ => self.problems.error(&value.mark, "`<<` needs a mapping"),
        }
    }
}

/// How many values a tree holds, and on how many levels.
fn extent(tree: &Tree) -> (usize, usize) {
    let all = |children: &mut dyn Iterator<Item = &Tree>| {
        let (values, levels) = children.map(extent).fold((0, 0), |all, one| (all.0 + one.0, all.1.max(one.1)));
        (values + 1, levels + 1)
    };
    match &tree.value {
        Value::List(list) => all(&mut list.iter()),
        Value::Map(entries) => all(&mut entries.iter().map(|entry| &entry.value)),
        _ => (1, 0),
    }
}
