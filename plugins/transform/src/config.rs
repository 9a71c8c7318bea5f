//! The processor's keys.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use sluice_ottl::{Context, ParsedStatement, Statements};
use sluice_sdk::prelude::*;

use crate::{Group, Transform};

/// What happens when a statement cannot be done on a row.
#[derive(Deserialize, Default, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorMode {
    /// It is left out there, and a line is logged.
    #[default]
    Ignore,
    /// It is left out there.
    Silent,
    /// The batch fails, and the processor's failure policy applies.
    Propagate,
}

/// The processor's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    error_mode: ErrorMode,
    #[serde(default)]
    trace_statements: Vec<Item>,
    // Of the Collector, refused by name.
    metric_statements: Option<IgnoredAny>,
    log_statements: Option<IgnoredAny>,
    profile_statements: Option<IgnoredAny>,
    flatten_data: Option<IgnoredAny>,
}

/// An item of `trace_statements`.
enum Item {
    One(String),
    Many(Many),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    context: Option<String>,
    #[serde(rename = "statements")]
    texts: Vec<String>,
    error_mode: Option<ErrorMode>,
    conditions: Option<IgnoredAny>,
}

impl<'de> Deserialize<'de> for Item {
    /// By hand, so that an error in a map says what and where: `untagged` would only say that it fits no form.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a statement or a map with `statements`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
                Ok(Item::One(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Item, A::Error> {
                Many::deserialize(MapAccessDeserializer::new(map)).map(Item::Many)
            }
        }

        deserializer.deserialize_any(Form)
    }
}

/// Collects the statements of all tables, and what is wrong with them.
struct Builder {
    groups: Vec<Group>,
    problems: Vec<ConfigError>,
}

impl Config {
    pub(crate) fn read(self) -> Result<Transform, Vec<ConfigError>> {
        let mut builder = Builder { groups: Vec::new(), problems: self.refused() };
        for (i, item) in self.trace_statements.into_iter().enumerate() {
            builder.item(&format!("trace_statements[{i}]"), item, self.error_mode);
        }
        builder.finish()
    }

    fn refused(&self) -> Vec<ConfigError> {
        let keys = [
            ("metric_statements", &self.metric_statements, "only spans are transformed here"),
            ("log_statements", &self.log_statements, "only spans are transformed here"),
            ("profile_statements", &self.profile_statements, "only spans are transformed here"),
            ("flatten_data", &self.flatten_data, "is about logs: leave it out"),
        ];
        let given = keys.into_iter().filter(|(_, value, _)| value.is_some());
        given.map(|(key, _, message)| ConfigError::new(key, message)).collect()
    }
}

impl Builder {
    fn item(&mut self, path: &str, item: Item, mode: ErrorMode) {
        let many = match item {
            Item::One(text) => return self.add(path, &text, None, mode),
            Item::Many(many) => many,
        };
        if many.conditions.is_some() {
            let message = "not supported yet: write `where` behind each statement";
            self.problems.push(ConfigError::new(format!("{path}.conditions"), message));
        }
        let context = match many.context.as_deref() {
            None => None,
            Some("resource") => Some(Context::Resource),
            Some("scope") => Some(Context::Scope),
            Some("span") => Some(Context::Span),
            Some("spanevent") => Some(Context::SpanEvent),
            Some(other) => {
                let message = format!("unknown context `{other}`: use resource, scope, span or spanevent");
                return self.problems.push(ConfigError::new(format!("{path}.context"), message));
            }
        };
        for (i, text) in many.texts.iter().enumerate() {
            self.add(&format!("{path}.statements[{i}]"), text, context, many.error_mode.unwrap_or(mode));
        }
    }

    /// Adds a statement; without a context its paths must name theirs.
    fn add(&mut self, path: &str, text: &str, context: Option<Context>, mode: ErrorMode) {
        let parsed = match ParsedStatement::new(text, context) {
            Ok(parsed) => parsed,
            Err(error) => return self.problems.push(ConfigError::new(path, error.to_string())),
        };
        // Statements on different tables do not meet, so the order within a table is all there is to keep.
        let table = parsed.table();
        let place = self.groups.iter().position(|group| group.table == table).unwrap_or_else(|| {
            self.groups.push(Group { table, statements: Statements::new(table), modes: Vec::new() });
            self.groups.len() - 1
        });
        if let Some(group) = self.groups.get_mut(place) {
            group.statements.add(parsed);
            group.modes.push(mode);
        }
        let Some(group) = self.groups.get(place) else { return };
        let meets = |other: &Group| {
            other.statements.are_read_by(&group.statements) || group.statements.are_read_by(&other.statements)
        };
        if self.groups.iter().any(|other| other.table != table && meets(other)) {
            let message = "not supported yet: one statement sets what another one, of another context, reads; \
                           put the first into a `transform` of its own before this one";
            self.problems.push(ConfigError::new(path, message));
        }
    }

    fn finish(self) -> Result<Transform, Vec<ConfigError>> {
        let mut problems = self.problems;
        if self.groups.is_empty() && problems.is_empty() {
            problems.push(ConfigError::new("trace_statements", "there is no statement: write one"));
        }
        if problems.is_empty() { Ok(Transform { groups: self.groups }) } else { Err(problems) }
    }
}
