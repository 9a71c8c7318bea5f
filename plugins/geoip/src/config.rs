//! The processor's keys, which are the Collector's.

use sluice_sdk::prelude::*;

use crate::GeoIp;

/// Where the Collector looks for an address unless it is told.
const ATTRIBUTES: [&str; 2] = ["client.address", "source.address"];

/// The processor's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    providers: Providers,
    context: Option<String>,
    attributes: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Providers {
    maxmind: MaxMind,
}

/// The database itself is the host's, which opens the file of this path as a table of the plugin.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MaxMind {
    database_path: String,
}

impl Config {
    /// The plugin, and the path of its database.
    pub(crate) fn read(self) -> Result<(GeoIp, String), Vec<ConfigError>> {
        let mut problems = Vec::new();
        let path = self.providers.maxmind.database_path;
        if path.is_empty() {
            problems
                .push(ConfigError::new("providers.maxmind.database_path", "must be the path of a MaxMind database"));
        }
        let context = self.context.as_deref().unwrap_or("resource");
        let table = match context.to_ascii_lowercase().as_str() {
            "resource" => Table::Resources,
            "record" => Table::Spans,
            _ => {
                let message = format!("unknown context `{context}`: there are `resource` and `record`");
                problems.push(ConfigError::new("context", message));
                Table::Resources
            }
        };
        let attributes = self.attributes.unwrap_or_else(|| ATTRIBUTES.map(str::to_owned).into());
        if attributes.is_empty() {
            problems.push(ConfigError::new("attributes", "at least one attribute is needed"));
        }
        if problems.is_empty() { Ok((GeoIp { table, attributes }, path)) } else { Err(problems) }
    }
}
