//! The processor's keys.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use sluice_ottl::{Columns, Context, Parsed};
use sluice_sdk::prelude::*;

use crate::Filter;
use crate::rules::{Condition, Rules};

/// What happens when a condition cannot be evaluated on a span.
#[derive(Deserialize, Default, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorMode {
    /// The condition does not apply, and a line is logged.
    Ignore,
    /// The condition does not apply.
    Silent,
    /// The batch fails, and the processor's failure policy applies.
    #[default]
    Propagate,
}

/// The processor's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    error_mode: ErrorMode,
    traces: Option<Traces>,
    trace_conditions: Option<Vec<Group>>,
    // Of the Collector, refused by name.
    spans: Option<IgnoredAny>,
    metrics: Option<IgnoredAny>,
    logs: Option<IgnoredAny>,
    profiles: Option<IgnoredAny>,
    metric_conditions: Option<IgnoredAny>,
    log_conditions: Option<IgnoredAny>,
    profile_conditions: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Traces {
    resource: Option<Vec<String>>,
    span: Option<Vec<String>>,
    spanevent: Option<Vec<String>>,
}

/// An item of `trace_conditions`.
enum Group {
    One(String),
    Many(Many),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    context: Option<String>,
    #[serde(rename = "conditions")]
    texts: Vec<String>,
    error_mode: Option<ErrorMode>,
}

impl<'de> Deserialize<'de> for Group {
    /// By hand, so that an error in a map says what and where: `untagged` would only say that it fits no form.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Group;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a condition or a map with `conditions`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Group, E> {
                Ok(Group::One(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Group, A::Error> {
                Many::deserialize(MapAccessDeserializer::new(map)).map(Group::Many)
            }
        }

        deserializer.deserialize_any(Form)
    }
}

/// Collects the conditions of both tables, and what is wrong with them.
#[derive(Default)]
struct Builder {
    spans: (Vec<Condition>, Columns),
    events: (Vec<Condition>, Columns),
    problems: Vec<ConfigError>,
}

impl Config {
    pub(crate) fn filter(self) -> Result<Filter, Vec<ConfigError>> {
        let mut builder = Builder { problems: self.refused(), ..Builder::default() };
        if self.traces.is_some() && self.trace_conditions.is_some() {
            builder.problems.push(ConfigError::new("trace_conditions", "use either `traces` or `trace_conditions`"));
        }
        let mode = self.error_mode;
        if let Some(traces) = self.traces {
            let lists = [
                ("traces.resource", traces.resource, Context::Resource),
                ("traces.span", traces.span, Context::Span),
                ("traces.spanevent", traces.spanevent, Context::SpanEvent),
            ];
            for (path, texts, context) in lists {
                for (i, text) in texts.into_iter().flatten().enumerate() {
                    builder.add(format!("{path}[{i}]"), text, Some(context), mode);
                }
            }
        }
        for (i, group) in self.trace_conditions.into_iter().flatten().enumerate() {
            builder.group(format!("trace_conditions[{i}]"), group, mode);
        }
        builder.finish()
    }

    fn refused(&self) -> Vec<ConfigError> {
        let keys = [
            (
                "spans",
                &self.spans,
                "`spans.include` and `spans.exclude` are not supported: write conditions in `traces.span`",
            ),
            ("metrics", &self.metrics, "only spans are filtered here"),
            ("logs", &self.logs, "only spans are filtered here"),
            ("profiles", &self.profiles, "only spans are filtered here"),
            ("metric_conditions", &self.metric_conditions, "only spans are filtered here"),
            ("log_conditions", &self.log_conditions, "only spans are filtered here"),
            ("profile_conditions", &self.profile_conditions, "only spans are filtered here"),
        ];
        let given = keys.into_iter().filter(|(_, value, _)| value.is_some());
        given.map(|(key, _, message)| ConfigError::new(key, message)).collect()
    }
}

impl Builder {
    fn group(&mut self, path: String, group: Group, mode: ErrorMode) {
        let group = match group {
            Group::One(text) => return self.add(path, text, None, mode),
            Group::Many(group) => group,
        };
        let context = match group.context.as_deref() {
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
        for (i, text) in group.texts.into_iter().enumerate() {
            self.add(format!("{path}.conditions[{i}]"), text, context, group.error_mode.unwrap_or(mode));
        }
    }

    /// Adds a condition; without a context its paths must name theirs.
    fn add(&mut self, path: String, text: String, context: Option<Context>, mode: ErrorMode) {
        let parsed = match Parsed::new(&text, context) {
            Ok(parsed) => parsed,
            Err(error) => return self.problems.push(ConfigError::new(path, error.to_string())),
        };
        // A condition on a resource or a scope drops all its spans.
        let (conditions, columns) = if parsed.of_events { &mut self.events } else { &mut self.spans };
        let expression = parsed.bind(columns);
        conditions.push(Condition { expression, text, mode });
    }

    fn finish(self) -> Result<Filter, Vec<ConfigError>> {
        let mut problems = self.problems;
        let is_empty = self.spans.0.is_empty() && self.events.0.is_empty();
        if is_empty && problems.is_empty() {
            problems
                .push(ConfigError::new("", "there is no condition: write one in `traces.span` or `traces.spanevent`"));
        }
        if problems.is_empty() {
            let rules = |(conditions, columns)| Rules { conditions, columns };
            Ok(Filter { spans: rules(self.spans), events: rules(self.events) })
        } else {
            Err(problems)
        }
    }
}
