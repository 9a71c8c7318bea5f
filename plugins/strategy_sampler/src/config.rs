//! The processor's keys: the contents of a Jaeger strategies file, and what is said about them.

use std::collections::BTreeMap;
use std::time::Duration;

use sluice_sampling::{HEX_DIGITS, MIN_PROBABILITY, Mode, Sampler, Threshold, duration};
use sluice_sdk::prelude::*;
use sluice_sdk::store::Bucket;

use crate::StrategySampler;
use crate::strategy::{Choice, MAX_SERVICE_BYTES, Service, Strategies};

/// What Jaeger does without a strategy.
const DEFAULT_PROBABILITY: f64 = 0.001;
/// Four hex digits are 16 bits: enough for any probability that people write.
const DEFAULT_PRECISION: usize = 4;
/// A trace seldom takes longer. As long as this lasts every trace costs some 250 bytes of the store.
const DEFAULT_TTL: &str = "30s";

/// The processor's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    strategies: StrategiesFile,
    #[serde(default = "default_ttl")]
    decision_ttl: String,
    #[serde(default = "yes")]
    fail_closed: bool,
    #[serde(default = "default_precision")]
    sampling_precision: usize,
}

/// Jaeger's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrategiesFile {
    #[serde(default)]
    service_strategies: Vec<ServiceStrategy>,
    default_strategy: Option<DefaultStrategy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceStrategy {
    service: String,
    #[serde(rename = "type")]
    kind: String,
    param: f64,
    #[serde(default)]
    operation_strategies: Vec<OperationStrategy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DefaultStrategy {
    #[serde(rename = "type")]
    kind: String,
    param: f64,
    #[serde(default)]
    operation_strategies: Vec<OperationStrategy>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OperationStrategy {
    operation: String,
    #[serde(rename = "type")]
    kind: String,
    param: f64,
}

fn yes() -> bool {
    true
}

fn default_precision() -> usize {
    DEFAULT_PRECISION
}

fn default_ttl() -> String {
    DEFAULT_TTL.to_owned()
}

/// Makes strategies and gathers what is wrong with them.
struct Reader {
    fail_closed: bool,
    precision: usize,
    problems: Vec<ConfigError>,
}

impl Config {
    pub(crate) fn read(self) -> Result<StrategySampler, Vec<ConfigError>> {
        let mut reader =
            Reader { fail_closed: self.fail_closed, precision: self.sampling_precision, problems: Vec::new() };
        if !(1..=HEX_DIGITS).contains(&self.sampling_precision) {
            reader.complain("sampling_precision", "must be between 1 and 14 hexadecimal digits");
        }
        let ttl = duration(&self.decision_ttl);
        if ttl.is_none() {
            reader.complain("decision_ttl", "must be a duration like `30s`, `1m` or `500ms`; `0s` remembers nothing");
        }
        let strategies = reader.strategies(self.strategies);
        if !reader.problems.is_empty() {
            return Err(reader.problems);
        }
        let ttl = ttl.filter(|ttl| *ttl > Duration::ZERO);
        let forced = reader.sampler(1.0);
        Ok(StrategySampler { strategies, forced, ttl, fail_closed: self.fail_closed })
    }
}

impl Reader {
    fn complain(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(ConfigError::new(path, message));
    }

    fn strategies(&mut self, file: StrategiesFile) -> Strategies {
        let mut default = Service { otherwise: self.probabilistic(DEFAULT_PROBABILITY), operations: BTreeMap::new() };
        if let Some(config) = file.default_strategy {
            let path = "strategies.default_strategy";
            default.otherwise = self.choice(&config.kind, config.param, path);
            default.operations = self.operations(config.operation_strategies, path);
        }
        let mut services = BTreeMap::new();
        for (i, config) in file.service_strategies.into_iter().enumerate() {
            let path = format!("strategies.service_strategies[{i}]");
            if config.service.is_empty() || config.service.len() > MAX_SERVICE_BYTES {
                self.complain(format!("{path}.service"), format!("must have 1 to {MAX_SERVICE_BYTES} bytes"));
            }
            let otherwise = self.choice(&config.kind, config.param, &path);
            let mut operations = self.operations(config.operation_strategies, &path);
            // As in Jaeger, operations that hold for all services hold for this one too, unless it has its own.
            for (operation, choice) in &default.operations {
                operations.entry(operation.clone()).or_insert_with(|| choice.clone());
            }
            let service = Service { otherwise, operations };
            if services.insert(config.service, service).is_some() {
                self.complain(format!("{path}.service"), "has a strategy already: one a service");
            }
        }
        Strategies { services, default }
    }

    fn operations(&mut self, configs: Vec<OperationStrategy>, path: &str) -> BTreeMap<String, Choice> {
        let mut operations = BTreeMap::new();
        for (i, config) in configs.into_iter().enumerate() {
            let path = format!("{path}.operation_strategies[{i}]");
            if config.kind == "ratelimiting" {
                self.complain(
                    format!("{path}.type"),
                    "`ratelimiting` is for services: an operation is `probabilistic` or `const`",
                );
                continue;
            }
            let choice = self.choice(&config.kind, config.param, &path);
            if operations.insert(config.operation, choice).is_some() {
                self.complain(format!("{path}.operation"), "has a strategy already: one an operation");
            }
        }
        operations
    }

    fn choice(&mut self, kind: &str, param: f64, path: &str) -> Choice {
        match kind {
            "const" if matches!(param, 0.0 | 1.0) => self.probabilistic(param),
            "const" => self.wrong(path, "of `const` must be 1 (keep all) or 0 (keep none)"),
            "probabilistic" if (0.0..=1.0).contains(&param) => self.probabilistic(param),
            "probabilistic" => self.wrong(path, "of `probabilistic` must be between 0 and 1"),
            // A second's worth, and one trace at least however small the rate is.
            "ratelimiting" if (0.0..=1e9).contains(&param) => {
                Choice::Limited(Bucket { rate_per_s: param, burst: param.ceil() as u64 })
            }
            "ratelimiting" => self.wrong(path, "of `ratelimiting` must be traces a second, from 0 to 1e9"),
            _ => {
                self.complain(format!("{path}.type"), "must be `const`, `probabilistic` or `ratelimiting`");
                self.probabilistic(0.0)
            }
        }
    }

    fn wrong(&mut self, path: &str, message: &str) -> Choice {
        self.complain(format!("{path}.param"), message);
        self.probabilistic(0.0)
    }

    fn probabilistic(&self, probability: f64) -> Choice {
        Choice::Sampled(self.sampler(probability))
    }

    fn sampler(&self, probability: f64) -> Sampler {
        let mode = if probability < MIN_PROBABILITY {
            Mode::Never
        } else {
            // At most this probability in all: two collectors with the same strategies in a row keep
            // what one does, and all of a trace's spans meet the same randomness.
            Mode::Equalizing { threshold: Threshold::of_probability(probability, self.precision) }
        };
        Sampler::new(mode, self.fail_closed)
    }
}
