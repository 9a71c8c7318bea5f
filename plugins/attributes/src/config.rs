//! The processor's keys.

use serde::de::IgnoredAny;
use sluice_sdk::Rows;
use sluice_sdk::prelude::*;
use sluice_sdk::serde_json::Value;

/// The processor's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    actions: Vec<ActionConfig>,
    // Of the Collector, refused by name.
    include: Option<IgnoredAny>,
    exclude: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionConfig {
    key: Option<String>,
    action: String,
    value: Option<Value>,
    from_attribute: Option<String>,
    // Of the Collector, refused by name.
    from_context: Option<IgnoredAny>,
    default_value: Option<IgnoredAny>,
    pattern: Option<IgnoredAny>,
    converted_type: Option<IgnoredAny>,
}

/// One action.
pub(crate) struct Action {
    pub key: String,
    pub effect: Effect,
    /// Whether a later action reads what this one leaves.
    pub is_read_later: bool,
    /// Whether it is the first action on its key, so that the host still knows which rows have it.
    pub is_first: bool,
}

/// What an action does with its key.
pub(crate) enum Effect {
    /// Sets it in spans that have it, in spans that lack it, or in both.
    Set { from: Source, present: bool, absent: bool },
    /// Removes it.
    Delete,
}

/// Where a value comes from.
pub(crate) enum Source {
    Constant(Values),
    Attribute(String),
}

impl Action {
    /// What the host is going to set by itself, because no later action must know of it.
    pub(crate) fn filled(&self) -> Option<(&Values, Rows)> {
        self.fill().filter(|_| !self.is_read_later)
    }

    /// The constant that the host could set by itself, and in which rows.
    fn fill(&self) -> Option<(&Values, Rows)> {
        let Effect::Set { from: Source::Constant(value), present, absent } = &self.effect else { return None };
        match (present, absent) {
            (true, true) => Some((value, Rows::All)),
            (false, true) if self.is_first => Some((value, Rows::Without)),
            (true, false) if self.is_first => Some((value, Rows::With)),
            _ => None,
        }
    }

    /// The keys whose values it needs.
    pub(crate) fn reads(&self) -> impl Iterator<Item = &str> {
        let (own, other) = match &self.effect {
            Effect::Delete => (None, None),
            Effect::Set { .. } if self.fill().is_some() => (None, None),
            Effect::Set { from, present, absent } => {
                let own = (!(*present && *absent)).then_some(self.key.as_str());
                let other = if let Source::Attribute(other) = from { Some(other.as_str()) } else { None };
                (own, other)
            }
        };
        own.into_iter().chain(other)
    }
}

impl Config {
    pub(crate) fn actions(self) -> Result<Vec<Action>, Vec<ConfigError>> {
        let mut problems = Vec::new();
        for (key, given) in [("include", self.include.is_some()), ("exclude", self.exclude.is_some())] {
            if given {
                problems.push(ConfigError::new(key, format!("`{key}` is not supported yet")));
            }
        }
        if self.actions.is_empty() {
            problems.push(ConfigError::new("actions", "at least one action is needed"));
        }
        let mut actions = Vec::new();
        for (i, action) in self.actions.into_iter().enumerate() {
            match action.read(&format!("actions[{i}]")) {
                Ok(action) => actions.push(action),
                Err(problem) => problems.push(problem),
            }
        }
        note_first(&mut actions);
        note_readers(&mut actions);
        if problems.is_empty() { Ok(actions) } else { Err(problems) }
    }
}

fn note_first(actions: &mut [Action]) {
    for i in 0..actions.len() {
        if let Some((action, before)) = actions.get_mut(..=i).and_then(<[_]>::split_last_mut) {
            action.is_first = before.iter().all(|other| other.key != action.key);
        }
    }
}

fn note_readers(actions: &mut [Action]) {
    let mut rest = actions;
    while let Some((first, later)) = rest.split_first_mut() {
        first.is_read_later = later.iter().any(|action| action.reads().any(|key| key == first.key));
        rest = later;
    }
}

impl ActionConfig {
    fn read(self, path: &str) -> Result<Action, ConfigError> {
        self.refused(path)?;
        let Self { key, action, value, from_attribute, .. } = self;
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            return Err(ConfigError::new(format!("{path}.key"), "a key is needed"));
        };
        let (present, absent) = match action.as_str() {
            "insert" => (false, true),
            "update" => (true, false),
            "upsert" => (true, true),
            "delete" if value.is_none() && from_attribute.is_none() => {
                return Ok(Action { key, effect: Effect::Delete, is_read_later: false, is_first: false });
            }
            "delete" => return Err(ConfigError::new(path, "`delete` takes neither `value` nor `from_attribute`")),
            "hash" | "extract" | "convert" => {
                let message = format!("`{action}` is not supported yet");
                return Err(ConfigError::new(format!("{path}.action"), message));
            }
            _ => {
                let message = format!("unknown action `{action}`: use insert, update, upsert or delete");
                return Err(ConfigError::new(format!("{path}.action"), message));
            }
        };
        let from = match (value, from_attribute) {
            (Some(value), None) => {
                let message = "must be a string, a number or a boolean";
                let value = constant(&value).ok_or_else(|| ConfigError::new(format!("{path}.value"), message))?;
                Source::Constant(value)
            }
            (None, Some(from)) => Source::Attribute(from),
            _ => return Err(ConfigError::new(path, format!("`{action}` takes either `value` or `from_attribute`"))),
        };
        Ok(Action { key, effect: Effect::Set { from, present, absent }, is_read_later: false, is_first: false })
    }

    fn refused(&self, path: &str) -> Result<(), ConfigError> {
        let keys = [
            ("from_context", self.from_context.is_some()),
            ("default_value", self.default_value.is_some()),
            ("pattern", self.pattern.is_some()),
            ("converted_type", self.converted_type.is_some()),
        ];
        match keys.iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((key, _)) => Err(ConfigError::new(format!("{path}.{key}"), format!("`{key}` is not supported yet"))),
        }
    }
}

fn constant(value: &Value) -> Option<Values> {
    Some(match value {
        Value::String(text) => Values::string(text),
        Value::Bool(value) => Values::bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Values::int(integer),
            None => Values::double(number.as_f64()?),
        },
        _ => return None,
    })
}
