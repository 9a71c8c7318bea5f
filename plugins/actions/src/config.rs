//! The keys of an action.

use regex_lite::Regex;
use serde::de::IgnoredAny;
use sluice_sdk::Rows;
use sluice_sdk::pattern::{Flavor, from_go};
use sluice_sdk::prelude::*;

use crate::constant::Constant;
use crate::value::Target;

/// The keys of one action, the Collector's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionConfig {
    key: Option<String>,
    action: String,
    value: Option<Constant>,
    from_attribute: Option<String>,
    default_value: Option<Constant>,
    pattern: Option<String>,
    converted_type: Option<String>,
    // Of the Collector, refused by name.
    from_context: Option<IgnoredAny>,
}

/// One action.
pub(crate) struct Action {
    pub keys: Keys,
    pub effect: Effect,
    /// Whether a later action reads what this one leaves.
    pub is_read_later: bool,
    /// Whether it is the first action on its key, so that the host still knows which rows have it.
    pub is_first: bool,
}

/// What an action is about.
pub(crate) enum Keys {
    One(String),
    /// All keys that match.
    Matching(Regex),
}

/// What an action does with its keys.
pub(crate) enum Effect {
    /// Sets it in rows that have it, in rows that lack it, or in both.
    Set { from: Source, present: bool, absent: bool },
    /// Removes it.
    Delete,
    /// Puts its hash in its place.
    Hash,
    /// Sets what the groups of a pattern find in it. The names of the groups, in their order.
    Extract(Regex, Vec<String>),
    /// Gives its value another type.
    Convert(Target),
}

/// Where a value comes from.
pub(crate) enum Source {
    Constant(Values),
    /// An attribute, and what is taken where it is not there.
    Attribute(String, Option<Values>),
}

impl Keys {
    pub(crate) fn include(&self, key: &str) -> bool {
        match self {
            Self::One(one) => one == key,
            Self::Matching(pattern) => pattern.is_match(key),
        }
    }

    fn one(&self) -> Option<&str> {
        if let Self::One(key) = self { Some(key) } else { None }
    }
}

impl Action {
    fn new(keys: Keys, effect: Effect) -> Self {
        Self { keys, effect, is_read_later: false, is_first: false }
    }

    /// What the host is going to set by itself, because no later action must know of it.
    pub(crate) fn filled(&self) -> Option<(&str, &Values, Rows)> {
        self.fill().filter(|_| !self.is_read_later)
    }

    /// The constant that the host could set by itself, and in which rows.
    fn fill(&self) -> Option<(&str, &Values, Rows)> {
        let Effect::Set { from: Source::Constant(value), present, absent } = &self.effect else { return None };
        let key = self.keys.one()?;
        match (present, absent) {
            (true, true) => Some((key, value, Rows::All)),
            (false, true) if self.is_first => Some((key, value, Rows::Without)),
            (true, false) if self.is_first => Some((key, value, Rows::With)),
            _ => None,
        }
    }

    /// The keys whose values it needs, but for those that its pattern finds. `chosen` says that it is for some rows
    /// only, which the host cannot find by itself.
    pub(crate) fn reads(&self, chosen: bool) -> impl Iterator<Item = &str> {
        let (own, other) = match &self.effect {
            Effect::Delete => (None, None),
            Effect::Set { .. } if !chosen && self.fill().is_some() => (None, None),
            Effect::Set { from, present, absent } => {
                let own = if *present && *absent { None } else { self.keys.one() };
                let other = if let Source::Attribute(other, _) = from { Some(other.as_str()) } else { None };
                (own, other)
            }
            Effect::Hash | Effect::Extract(..) | Effect::Convert(_) => (self.keys.one(), None),
        };
        own.into_iter().chain(other)
    }

    /// The keys that it may set or remove, but for those that its pattern finds.
    pub(crate) fn writes(&self) -> impl Iterator<Item = &str> {
        let (own, groups) = match &self.effect {
            Effect::Extract(_, names) => (None, names.as_slice()),
            _ => (self.keys.one(), &[][..]),
        };
        own.into_iter().chain(groups.iter().map(String::as_str))
    }

    /// Whether it may change what a key has.
    fn may_write(&self, key: &str) -> bool {
        let matching = matches!(&self.keys, Keys::Matching(pattern) if pattern.is_match(key));
        matching || self.writes().any(|written| written == key)
    }

    /// Whether it needs the value of a key.
    fn may_read(&self, key: &str, chosen: bool) -> bool {
        let hashes = matches!(self.effect, Effect::Hash) && self.keys.include(key);
        hashes || self.reads(chosen).any(|read| read == key)
    }
}

/// Notes what the actions know of each other.
pub(crate) fn relate(actions: &mut [Action], chosen: bool) {
    for i in 0..actions.len() {
        if let Some((action, before)) = actions.get_mut(..=i).and_then(<[_]>::split_last_mut) {
            action.is_first = action.keys.one().is_some_and(|key| before.iter().all(|other| !other.may_write(key)));
        }
    }
    let mut rest = actions;
    while let Some((first, later)) = rest.split_first_mut() {
        let is_read = first.writes().any(|key| later.iter().any(|action| action.may_read(key, chosen)));
        first.is_read_later = is_read;
        rest = later;
    }
}

impl ActionConfig {
    /// Reads one action; of `delete` and `hash` with key and pattern two.
    pub(crate) fn read(self, path: &str) -> Result<Vec<Action>, ConfigError> {
        if self.from_context.is_some() {
            let message = "`from_context` is not supported yet: plugins do not see who sent a request";
            return Err(ConfigError::new(format!("{path}.from_context"), message));
        }
        match self.action.to_ascii_lowercase().as_str() {
            "insert" => self.set(path, false, true),
            "update" => self.set(path, true, false),
            "upsert" => self.set(path, true, true),
            "delete" => self.keys(path, || Effect::Delete),
            "hash" => self.keys(path, || Effect::Hash),
            "extract" => self.extract(path),
            "convert" => self.convert(path),
            other => {
                let message =
                    format!("unknown action `{other}`: use insert, update, upsert, delete, hash, extract or convert");
                Err(ConfigError::new(format!("{path}.action"), message))
            }
        }
    }

    /// Refuses the keys that are given and that the action has no use for.
    fn only(&self, path: &str, allowed: &[&str]) -> Result<(), ConfigError> {
        let given = [
            ("value", self.value.is_some()),
            ("from_attribute", self.from_attribute.is_some()),
            ("default_value", self.default_value.is_some()),
            ("pattern", self.pattern.is_some()),
            ("converted_type", self.converted_type.is_some()),
        ];
        match given.iter().find(|(key, given)| *given && !allowed.contains(key)) {
            None => Ok(()),
            Some((key, _)) => {
                let message = format!("`{}` has no use for `{key}`: leave it out", self.action);
                Err(ConfigError::new(format!("{path}.{key}"), message))
            }
        }
    }

    fn key(&self, path: &str) -> Result<Keys, ConfigError> {
        let key = self.key.clone().filter(|key| !key.is_empty());
        key.map(Keys::One).ok_or_else(|| ConfigError::new(format!("{path}.key"), "a key is needed"))
    }

    fn set(self, path: &str, present: bool, absent: bool) -> Result<Vec<Action>, ConfigError> {
        let key = self.key(path)?;
        self.only(path, &["value", "from_attribute", "default_value"])?;
        let constant =
            |key: &str, value: Option<Constant>| value.map(|value| value.read(&format!("{path}.{key}"))).transpose();
        let value = constant("value", self.value)?;
        let default = constant("default_value", self.default_value)?;
        let from = match (value, self.from_attribute.filter(|from| !from.is_empty()), default) {
            (Some(value), None, _) | (None, None, Some(value)) => Source::Constant(value),
            (None, Some(from), default) => Source::Attribute(from, default),
            (Some(_), Some(_), _) | (None, None, None) => {
                let message = format!("`{}` takes either `value` or `from_attribute`", self.action);
                return Err(ConfigError::new(path, message));
            }
        };
        Ok(vec![Action::new(key, Effect::Set { from, present, absent })])
    }

    fn keys(self, path: &str, effect: impl Fn() -> Effect) -> Result<Vec<Action>, ConfigError> {
        self.only(path, &["pattern"])?;
        let pattern = self.pattern.as_deref().filter(|pattern| !pattern.is_empty());
        let pattern = pattern.map(|pattern| compile(&format!("{path}.pattern"), pattern)).transpose()?;
        let key = self.key.filter(|key| !key.is_empty());
        if key.is_none() && pattern.is_none() {
            return Err(ConfigError::new(path, format!("`{}` needs a `key` or a `pattern`", self.action)));
        }
        let keys = key.map(Keys::One).into_iter().chain(pattern.map(Keys::Matching));
        Ok(keys.map(|keys| Action::new(keys, effect())).collect())
    }

    fn extract(self, path: &str) -> Result<Vec<Action>, ConfigError> {
        let key = self.key(path)?;
        self.only(path, &["pattern"])?;
        let path = format!("{path}.pattern");
        let Some(pattern) = self.pattern.filter(|pattern| !pattern.is_empty()) else {
            return Err(ConfigError::new(path, "`extract` needs a pattern with named groups"));
        };
        let pattern = compile(&path, &pattern)?;
        let names: Option<Vec<String>> =
            pattern.capture_names().skip(1).map(|name| name.map(ToOwned::to_owned)).collect();
        match names {
            Some(names) if !names.is_empty() => Ok(vec![Action::new(key, Effect::Extract(pattern, names))]),
            _ => Err(ConfigError::new(path, "needs groups, all of them with a name, like `(?P<name>.*)`")),
        }
    }

    fn convert(self, path: &str) -> Result<Vec<Action>, ConfigError> {
        let key = self.key(path)?;
        self.only(path, &["converted_type"])?;
        let target = Target::new(self.converted_type.as_deref().unwrap_or_default());
        let problem = || ConfigError::new(format!("{path}.converted_type"), "must be int, double or string");
        Ok(vec![Action::new(key, Effect::Convert(target.ok_or_else(problem)?))])
    }
}

/// A pattern in Go's syntax.
pub(crate) fn compile(path: &str, pattern: &str) -> Result<Regex, ConfigError> {
    let regex = Regex::new(&from_go(pattern, Flavor::Lite));
    regex.map_err(|error| ConfigError::new(path, format!("the pattern cannot be read: {error}")))
}
