//! The configuration: the Collector's keys and ours, and what is wrong with them.

use regex::bytes::Regex;
use serde::de::IgnoredAny;
use sluice_sdk::pattern::{Flavor, from_go};
use sluice_sdk::prelude::*;

use crate::detect::Detector;
use crate::replace::{Hash, Mode};
use crate::rules::{Rules, Scan};
use crate::sanitize::{self, Sanitizers};
use crate::summary::Summary;

/// Bytes of a key at least: fewer can be tried out.
const MIN_KEY: usize = 16;

/// The processor's configuration.
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
    redact_all_types: bool,
    hash_function: Option<String>,
    hmac_key: Option<String>,
    summary: Option<String>,
    url_sanitizer: Option<sanitize::Url>,
    db_sanitizer: Option<sanitize::Db>,
    // Refused by name.
    skip_conditions: Option<IgnoredAny>,
    // Beside the Collector's.
    #[serde(default)]
    detectors: Vec<String>,
    mode: Option<String>,
    hash_key: Option<String>,
    scan: Option<Vec<String>>,
    unknown_fields: Option<String>,
}

impl Config {
    /// Makes the rules, or says everything that is wrong.
    pub fn rules(self) -> Result<Rules, Vec<ConfigError>> {
        let mut problems = Problems(Vec::new());
        if self.skip_conditions.is_some() {
            problems.add("skip_conditions", "`skip_conditions` is not supported yet: nothing is passed by unlooked at");
        }
        let rules = Rules {
            allow_all_keys: self.allow_all_keys,
            drops_unknown_fields: problems.unknown_fields(&self),
            mode: problems.mode(&self),
            summary: problems.summary(self.summary.as_deref()),
            scan: problems.scan(self.scan.as_deref()),
            ignored_patterns: problems.patterns("ignored_key_patterns", &self.ignored_key_patterns),
            blocked_keys: problems.patterns("blocked_key_patterns", &self.blocked_key_patterns),
            blocked_values: problems.patterns("blocked_values", &self.blocked_values),
            allowed_values: problems.patterns("allowed_values", &self.allowed_values),
            detectors: problems.detectors(&self.detectors),
            sanitizers: Sanitizers::new(self.url_sanitizer, self.db_sanitizer),
            redact_all_types: self.redact_all_types,
            allowed: self.allowed_keys,
            ignored: self.ignored_keys,
        };
        if problems.0.is_empty() { Ok(rules) } else { Err(problems.0) }
    }
}

/// What is wrong so far.
struct Problems(Vec<ConfigError>);

impl Problems {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(ConfigError::new(path, message));
    }

    fn patterns(&mut self, key: &str, sources: &[String]) -> Vec<Regex> {
        let mut patterns = Vec::new();
        for (i, source) in sources.iter().enumerate() {
            match Regex::new(&from_go(source, Flavor::Regex)) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.add(format!("{key}[{i}]"), error.to_string()),
            }
        }
        patterns
    }

    fn detectors(&mut self, names: &[String]) -> Vec<Detector> {
        let mut detectors = Vec::new();
        for (i, name) in names.iter().enumerate() {
            match Detector::named(name) {
                Ok(detector) => detectors.push(detector),
                Err(message) => self.add(format!("detectors[{i}]"), message),
            }
        }
        detectors
    }

    fn scan(&mut self, places: Option<&[String]>) -> Scan {
        let Some(places) = places else { return Scan::ALL };
        let mut scan = Scan::default();
        for (i, place) in places.iter().enumerate() {
            match Scan::named(place) {
                Some(place) => scan = scan.and(place),
                None => {
                    self.add(format!("scan[{i}]"), format!("unknown place `{place}`: use {}", Scan::NAMES.join(", ")));
                }
            }
        }
        scan
    }

    fn summary(&mut self, summary: Option<&str>) -> Summary {
        match summary {
            None | Some("" | "silent") => Summary::Silent,
            Some("info") => Summary::Info,
            Some("debug") => Summary::Debug,
            Some(other) => {
                self.add("summary", format!("unknown summary `{other}`: use debug, info or silent"));
                Summary::Silent
            }
        }
    }

    fn unknown_fields(&mut self, config: &Config) -> bool {
        match config.unknown_fields.as_deref() {
            None => !config.allow_all_keys,
            Some("drop") => true,
            Some("keep") => {
                if !config.allow_all_keys {
                    self.add(
                        "unknown_fields",
                        "fields that OTLP does not know have no key that could be allowed: leave it out, or say `allow_all_keys: true`",
                    );
                }
                false
            }
            Some(other) => {
                self.add("unknown_fields", format!("`{other}` is neither `keep` nor `drop`"));
                true
            }
        }
    }

    fn mode(&mut self, config: &Config) -> Mode {
        let function = config.hash_function.as_deref().filter(|function| !function.is_empty());
        let mode = config.mode.as_deref().unwrap_or(if function.is_some() { "hash" } else { "mask" });
        let (mut key, mut key_path) = (config.hash_key.as_deref(), "hash_key");
        if let Some(hmac_key) = config.hmac_key.as_deref() {
            if key.is_some() {
                self.add("hmac_key", "it is the Collector's name of `hash_key`: give one of them");
            }
            (key, key_path) = (Some(hmac_key), "hmac_key");
        }
        if let Some(key) = key.filter(|key| key.len() < MIN_KEY) {
            self.add(key_path, format!("it has {} bytes and needs {MIN_KEY} at least", key.len()));
        }
        if let Some(function) = function.filter(|_| mode != "hash") {
            self.add(
                "hash_function",
                format!("`{function}` hashes nothing with `mode: {mode}`: say `mode: hash`, or leave one of them out"),
            );
        }
        let mut keyed = || {
            if key.is_none() {
                self.add(
                    "mode",
                    format!("`{mode}` needs `hash_key`: without it everybody can tell for what a value stands"),
                );
            }
            key.unwrap_or_default().as_bytes().to_vec()
        };
        let mode = match (mode, function.map(str::to_ascii_lowercase).as_deref()) {
            ("mask", _) => Mode::Mask,
            ("drop", _) => Mode::Drop,
            ("tokenise", _) => return Mode::Tokenise(keyed()),
            ("hash", None | Some("hmac-sha256")) => return Mode::Hash(Hash::HmacSha256(keyed())),
            ("hash", Some("hmac-sha512")) => return Mode::Hash(Hash::HmacSha512(keyed())),
            ("hash", Some("md5")) => Mode::Hash(Hash::Md5),
            ("hash", Some("sha1")) => Mode::Hash(Hash::Sha1),
            ("hash", Some("sha3")) => Mode::Hash(Hash::Sha3),
            ("hash", Some(other)) => {
                self.add(
                    "hash_function",
                    format!("unknown function `{other}`: use md5, sha1, sha3, hmac-sha256 or hmac-sha512"),
                );
                return Mode::Mask;
            }
            (other, _) => {
                self.add("mode", format!("unknown mode `{other}`: use mask, drop, hash or tokenise"));
                return Mode::Mask;
            }
        };
        if key.is_some() {
            self.add(key_path, "nothing uses it: say `mode: tokenise`, or `mode: hash` with an HMAC, or leave it out");
        }
        mode
    }
}
