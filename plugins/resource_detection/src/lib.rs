//! The `resource_detection` processor: tells on resources where Sluice runs, with the Collector's keys.
//!
//! What there is to know the host tells in its table `host`, which it makes for this processor by the same keys:
//! environment variables, the machine, the container, files of Kubernetes' downward API. A plugin could not find it out
//! by itself.

mod config;
mod variable;

use std::collections::BTreeSet;

use sluice_sdk::prelude::*;
use sluice_sdk::tables::{self, Found};
use sluice_sdk::{Rows, log};

pub use config::Config;

/// In the host's table: attributes of the process; their former name; the name of the service by itself.
const VARIABLES: [&str; 3] = ["env.OTEL_RESOURCE_ATTRIBUTES", "env.OTEL_RESOURCE", "env.OTEL_SERVICE_NAME"];

const SERVICE: &str = "service.name";

/// What finds something out.
#[derive(Clone)]
enum Detector {
    /// The environment; of its attributes these, if so told.
    Env(Option<Vec<String>>),
    /// Facts of the host's table.
    Facts(Vec<Fact>),
}

/// An attribute, and the name of its value in the host's table.
#[derive(Clone)]
struct Fact {
    attribute: String,
    name: String,
}

/// An attribute that was found out.
struct Detected {
    key: String,
    value: Values,
    rows: Rows,
}

/// The plugin.
pub struct ResourceDetection {
    detectors: Vec<Detector>,
    /// The resources whose attributes are set: all, or those that lack them.
    rows: Rows,
    /// Nothing but these attributes, if so told.
    allowed: Option<Vec<String>>,
    /// All names to look up, in the order of the detectors.
    names: Texts,
    /// What was looked up last, and what it came to.
    known: Option<(Found, Vec<Detected>)>,
}

impl Plugin for ResourceDetection {
    type Config = Config;

    fn describe() -> Description {
        let description = Description::new("resource_detection", env!("CARGO_PKG_VERSION"));
        description.capability("tables").capability("log").read("tables:host").write("resources.attributes:*")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        let plugin = config.read()?;
        let access = plugin.access();
        Ok(Configured::with_access(plugin, access))
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let found = tables::look_up(tables::HOST, "value", &self.names)?;
        if self.known.as_ref().is_none_or(|(known, _)| *known != found) {
            self.known = Some((found.clone(), self.detect(&found)));
        }
        for Detected { key, value, rows } in self.known.iter().flat_map(|(_, detected)| detected) {
            batch.fill_attribute(Table::Resources, key, *rows, value.clone())?;
        }
        Ok(())
    }
}

impl ResourceDetection {
    fn new(detectors: Vec<Detector>, overrides: bool, allowed: Option<Vec<String>>) -> Self {
        let mut names = Texts::default();
        for detector in &detectors {
            match detector {
                Detector::Env(_) => VARIABLES.iter().for_each(|name| names.push(name.as_bytes())),
                Detector::Facts(facts) => facts.iter().for_each(|fact| names.push(fact.name.as_bytes())),
            }
        }
        let rows = if overrides { Rows::All } else { Rows::Without };
        Self { detectors, rows, allowed, names, known: None }
    }

    /// What is set: of the environment nobody knows before, unless it is told.
    fn access(&self) -> Access {
        let mut keys = BTreeSet::new();
        for detector in &self.detectors {
            match (detector, &self.allowed) {
                (Detector::Env(None), None) => return grant(["*"]),
                (Detector::Env(Some(keys_of)), _) | (Detector::Env(None), Some(keys_of)) => {
                    keys.extend(keys_of.iter().map(String::as_str));
                }
                (Detector::Facts(facts), _) => keys.extend(facts.iter().map(|fact| fact.attribute.as_str())),
            }
        }
        grant(keys.into_iter().filter(|key| self.allows(key)))
    }

    fn allows(&self, key: &str) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.iter().any(|one| one == key))
    }

    /// What the detectors come to: the first that knows an attribute counts.
    fn detect(&self, found: &Found) -> Vec<Detected> {
        let mut detected: Vec<Detected> = Vec::new();
        let mut add = |key: &str, value: &str, rows| {
            if self.allows(key) && detected.iter().all(|known| known.key != key) {
                detected.push(Detected { key: key.to_owned(), value: Values::string(value), rows });
            }
        };
        let mut names = 0..self.names.len();
        let mut next = || found.str(names.next()?).filter(|value| !value.trim().is_empty());
        for detector in &self.detectors {
            match detector {
                Detector::Env(allowed) => {
                    let [attributes, former, service] = VARIABLES.map(|_| next());
                    let allows =
                        |key: &str| allowed.as_ref().is_none_or(|allowed| allowed.iter().any(|one| one == key));
                    for (key, value) in parse(attributes.or(former).unwrap_or_default()) {
                        if allows(&key) {
                            add(&key, &value, self.rows);
                        }
                    }
                    // It names this process: no reason to rename the services that have a name.
                    if let Some(service) = service.filter(|_| allows(SERVICE)) {
                        add(SERVICE, service, Rows::Without);
                    }
                }
                Detector::Facts(facts) => {
                    for fact in facts {
                        if let Some(value) = next() {
                            add(&fact.attribute, value, self.rows);
                        }
                    }
                }
            }
        }
        detected
    }
}

fn grant<'k>(keys: impl IntoIterator<Item = &'k str>) -> Access {
    let access = Access::default().read("tables:host");
    keys.into_iter().fold(access, |access, key| access.write(format!("resources.attributes:{key}")))
}

/// What is in the variable. One that cannot be read counts as one that is not there, as OpenTelemetry has it, and
/// the log says so.
fn parse(text: &str) -> Vec<(String, String)> {
    variable::parse(text).unwrap_or_else(|problem| {
        log::error(&format!("OTEL_RESOURCE_ATTRIBUTES cannot be read and is left out: {problem}"));
        Vec::new()
    })
}

sluice_sdk::export!(ResourceDetection);
