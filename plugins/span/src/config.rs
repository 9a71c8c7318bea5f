//! The processor's keys.

use std::collections::BTreeSet;

use regex_lite::Regex;
use sluice_actions::{MatchConfig, Selection};
use sluice_sdk::pattern::{Flavor, from_go};
use sluice_sdk::prelude::*;

use crate::SpanProcessor;
use crate::name::{FromAttributes, Rule, ToAttributes};
use crate::status::Status;

/// The processor's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    include: Option<MatchConfig>,
    exclude: Option<MatchConfig>,
    #[serde(default)]
    name: NameConfig,
    status: Option<StatusConfig>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct NameConfig {
    #[serde(default)]
    from_attributes: Vec<String>,
    #[serde(default)]
    separator: String,
    to_attributes: Option<ToAttributesConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToAttributesConfig {
    #[serde(default)]
    rules: Vec<String>,
    #[serde(default)]
    break_after_match: bool,
    #[serde(default)]
    keep_original_name: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusConfig {
    code: String,
    #[serde(default)]
    description: String,
}

impl Config {
    pub(crate) fn read(self) -> Result<SpanProcessor, Vec<ConfigError>> {
        let mut problems = Vec::new();
        let selection = Selection::read(self.include, self.exclude).map_err(|errors| problems.extend(errors)).ok();
        let NameConfig { from_attributes, separator, to_attributes } = self.name;
        let from = (!from_attributes.is_empty()).then_some(FromAttributes { keys: from_attributes, separator });
        let to = to_attributes.map(|config| config.read(&mut problems)).filter(|to| !to.rules.is_empty());
        let status = self.status.and_then(|config| config.read(&mut problems));
        if problems.is_empty() && from.is_none() && to.is_none() && status.is_none() {
            let message = "`name.from_attributes`, `name.to_attributes.rules` or `status` is needed";
            problems.push(ConfigError::new("", message));
        }
        match selection {
            Some(selection) if problems.is_empty() => Ok(SpanProcessor { selection, from, to, status }),
            _ => Err(problems),
        }
    }
}

impl ToAttributesConfig {
    fn read(self, problems: &mut Vec<ConfigError>) -> ToAttributes {
        let mut rules = Vec::new();
        for (i, pattern) in self.rules.iter().enumerate() {
            match rule(&format!("name.to_attributes.rules[{i}]"), pattern) {
                Ok(rule) => rules.push(rule),
                Err(problem) => problems.push(problem),
            }
        }
        ToAttributes { rules, break_after_match: self.break_after_match, keep_original_name: self.keep_original_name }
    }
}

fn rule(path: &str, pattern: &str) -> Result<Rule, ConfigError> {
    let regex = Regex::new(&from_go(pattern, Flavor::Lite))
        .map_err(|error| ConfigError::new(path, format!("the pattern cannot be read: {error}")))?;
    let names: Option<Vec<String>> = regex.capture_names().skip(1).map(|name| name.map(ToOwned::to_owned)).collect();
    let message = "a group needs a name, like `(?P<name>.*)`: it becomes an attribute; or write `(?:…)`";
    let names = names.ok_or_else(|| ConfigError::new(path, message))?;
    if names.iter().collect::<BTreeSet<_>>().len() != names.len() {
        return Err(ConfigError::new(path, "two groups have the same name"));
    }
    Ok(Rule { regex, names })
}

impl StatusConfig {
    fn read(self, problems: &mut Vec<ConfigError>) -> Option<Status> {
        let StatusConfig { code, description } = self;
        let status = match code.as_str() {
            "Unset" => Some(Status::UNSET),
            "Ok" => Some(Status::OK),
            "Error" => Some(Status::error(description.clone())),
            _ => None,
        };
        if status.is_none() {
            problems.push(ConfigError::new("status.code", "must be `Ok`, `Error` or `Unset`"));
        } else if !description.is_empty() && code != "Error" {
            problems.push(ConfigError::new("status.description", "is for the code `Error` only"));
        }
        status
    }
}
