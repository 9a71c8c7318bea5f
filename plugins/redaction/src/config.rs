//! The configuration, and the rules made of it.

use regex::bytes::Regex;
use sluice_sdk::pattern::{Flavor, from_go};
use sluice_sdk::prelude::*;
use sluice_sdk::serde_json::Value;

use crate::detect::Detector;

/// The processor's configuration: the Collector's keys, and `detectors`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    allow_all_keys: bool,
    #[serde(default)]
    allowed_keys: Vec<String>,
    #[serde(default)]
    ignored_keys: Vec<String>,
    #[serde(default)]
    ignored_key_patterns: Vec<String>,
    #[serde(default)]
    blocked_key_patterns: Vec<String>,
    #[serde(default)]
    blocked_values: Vec<String>,
    #[serde(default)]
    allowed_values: Vec<String>,
    #[serde(default)]
    detectors: Vec<String>,
    mode: Option<String>,
    summary: Option<String>,
    #[serde(default)]
    redact_all_types: bool,
    // Not supported yet; named so that they are refused by name.
    hash_function: Option<Value>,
    hash_key: Option<Value>,
    url_sanitizer: Option<Value>,
    db_sanitizer: Option<Value>,
    sanitize_span_name: Option<Value>,
    scan: Option<Value>,
    unknown_fields: Option<Value>,
}

/// What a key alone decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Neither key nor value is looked at further.
    Keep,
    /// The attribute goes.
    Remove,
    /// The value is masked whole.
    Mask,
    /// The value is looked at.
    Scan,
}

/// The rules.
pub struct Rules {
    pub allow_all_keys: bool,
    allowed: Vec<String>,
    ignored: Vec<String>,
    ignored_patterns: Vec<Regex>,
    blocked_keys: Vec<Regex>,
    pub blocked_values: Vec<Regex>,
    pub allowed_values: Vec<Regex>,
    pub detectors: Vec<Detector>,
}

impl Config {
    /// Makes the rules, or says everything that is wrong.
    pub fn rules(self) -> Result<Rules, Vec<ConfigError>> {
        let mut problems = self.unsupported();
        let mut patterns = |key: &str, sources: &[String]| compile(key, sources, &mut problems);
        let rules = Rules {
            allow_all_keys: self.allow_all_keys,
            allowed: self.allowed_keys,
            ignored: self.ignored_keys,
            ignored_patterns: patterns("ignored_key_patterns", &self.ignored_key_patterns),
            blocked_keys: patterns("blocked_key_patterns", &self.blocked_key_patterns),
            blocked_values: patterns("blocked_values", &self.blocked_values),
            allowed_values: patterns("allowed_values", &self.allowed_values),
            detectors: Vec::new(),
        };
        let mut detectors = Vec::new();
        for (i, name) in self.detectors.iter().enumerate() {
            match Detector::named(name) {
                Ok(detector) => detectors.push(detector),
                Err(message) => problems.push(ConfigError::new(format!("detectors[{i}]"), message)),
            }
        }
        if problems.is_empty() { Ok(Rules { detectors, ..rules }) } else { Err(problems) }
    }

    fn unsupported(&self) -> Vec<ConfigError> {
        let keys = [
            ("hash_function", &self.hash_function),
            ("hash_key", &self.hash_key),
            ("url_sanitizer", &self.url_sanitizer),
            ("db_sanitizer", &self.db_sanitizer),
            ("sanitize_span_name", &self.sanitize_span_name),
            ("scan", &self.scan),
            ("unknown_fields", &self.unknown_fields),
        ];
        let given = keys.into_iter().filter(|(_, value)| value.is_some());
        let mut problems: Vec<_> =
            given.map(|(key, _)| ConfigError::new(key, format!("`{key}` is not supported yet"))).collect();
        if self.redact_all_types {
            problems.push(ConfigError::new(
                "redact_all_types",
                "numbers and booleans are not looked at yet: leave it out, or say `false`",
            ));
        }
        if let Some(mode) = self.mode.as_deref().filter(|mode| *mode != "mask") {
            problems
                .push(ConfigError::new("mode", format!("`{mode}` is not supported yet: leave it out, or say `mask`")));
        }
        if let Some(summary) = self.summary.as_deref().filter(|summary| *summary != "silent") {
            problems.push(ConfigError::new(
                "summary",
                format!("`{summary}` is not supported yet: leave it out, or say `silent`"),
            ));
        }
        problems
    }
}

fn compile(key: &str, sources: &[String], problems: &mut Vec<ConfigError>) -> Vec<Regex> {
    let mut patterns = Vec::new();
    for (i, source) in sources.iter().enumerate() {
        match Regex::new(&from_go(source, Flavor::Regex)) {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => problems.push(ConfigError::new(format!("{key}[{i}]"), error.to_string())),
        }
    }
    patterns
}

impl Rules {
    /// Whether keys must be looked at at all.
    pub fn looks_at_keys(&self) -> bool {
        !self.allow_all_keys
            || !self.blocked_keys.is_empty()
            || !self.ignored.is_empty()
            || !self.ignored_patterns.is_empty()
    }

    /// Whether values must be looked at at all.
    pub fn looks_at_values(&self) -> bool {
        !self.blocked_values.is_empty() || !self.detectors.is_empty()
    }

    /// What a key alone decides: as in the Collector, an ignored key passes whole, a key that is
    /// not allowed goes, a blocked key loses its value.
    pub fn key(&self, key: &str) -> Verdict {
        if self.ignored.iter().any(|ignored| ignored == key) || matches(&self.ignored_patterns, key) {
            return Verdict::Keep;
        }
        if !self.allow_all_keys && !self.allowed.iter().any(|allowed| allowed == key) {
            return Verdict::Remove;
        }
        if matches(&self.blocked_keys, key) { Verdict::Mask } else { Verdict::Scan }
    }
}

fn matches(patterns: &[Regex], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.is_match(text.as_bytes()))
}
