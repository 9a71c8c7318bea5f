//! The processor's keys.

use sluice_sampling::{HEX_DIGITS, MIN_PROBABILITY, Mode, Sampler, Threshold};
use sluice_sdk::prelude::*;

/// Four hex digits are 16 bits: enough for any percentage that people write.
const DEFAULT_PRECISION: usize = 4;

/// The processor's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    sampling_percentage: f32,
    #[serde(default)]
    mode: ModeName,
    #[serde(default)]
    hash_seed: u32,
    #[serde(default = "yes")]
    fail_closed: bool,
    #[serde(default = "default_precision")]
    sampling_precision: usize,
    // Of the Collector, for logs. Its users have one configuration for all signals; to spans these
    // mean nothing there either.
    attribute_source: Option<Source>,
    from_attribute: Option<String>,
    sampling_priority: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// What spans are judged by in any case.
    #[serde(rename = "traceID", alias = "")]
    TraceId,
    #[serde(rename = "record")]
    Record,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum ModeName {
    // Not set, to the Collector.
    #[default]
    #[serde(alias = "")]
    HashSeed,
    Proportional,
    Equalizing,
}

fn yes() -> bool {
    true
}

fn default_precision() -> usize {
    DEFAULT_PRECISION
}

impl Config {
    pub(crate) fn sampler(self) -> Result<Sampler, Vec<ConfigError>> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Sampler::new(self.mode(), self.fail_closed))
    }

    /// Keys that are set and change nothing, because they are about logs.
    pub(crate) fn of_logs(&self) -> impl Iterator<Item = &'static str> {
        let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let keys = [
            ("attribute_source", self.attribute_source == Some(Source::Record)),
            ("from_attribute", set(&self.from_attribute)),
            ("sampling_priority", set(&self.sampling_priority)),
        ];
        keys.into_iter().filter_map(|(key, set)| set.then_some(key))
    }

    fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        let ratio = f64::from(self.sampling_percentage) / 100.0;
        if ratio < 0.0 || !ratio.is_finite() {
            problems.push(ConfigError::new("sampling_percentage", "must be between 0 and 100"));
        } else if ratio > 0.0 && ratio < MIN_PROBABILITY {
            problems.push(ConfigError::new("sampling_percentage", "is too small: at least 100 / 2^56, or 0"));
        }
        if !(1..=HEX_DIGITS).contains(&self.sampling_precision) {
            problems.push(ConfigError::new("sampling_precision", "must be between 1 and 14 hexadecimal digits"));
        }
        problems
    }

    fn mode(&self) -> Mode {
        let percentage = self.sampling_percentage.min(100.0);
        if percentage == 0.0 {
            return Mode::Never;
        }
        let ratio = f64::from(percentage) / 100.0;
        match self.mode {
            ModeName::HashSeed => match Threshold::of_buckets(percentage) {
                Some(threshold) => Mode::HashSeed { threshold, seed: self.hash_seed },
                None => Mode::Never,
            },
            ModeName::Proportional => Mode::Proportional { ratio, precision: self.sampling_precision },
            ModeName::Equalizing => {
                Mode::Equalizing { threshold: Threshold::of_probability(ratio, self.sampling_precision) }
            }
        }
    }
}
