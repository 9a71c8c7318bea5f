//! The `resource` processor: the actions of `attributes`, on the attributes of resources, with the
//! Collector's keys. What the actions do is in `sluice_actions`.

use sluice_actions::{ActionConfig, Actions};
use sluice_sdk::prelude::*;

/// The processor's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    attributes: Vec<ActionConfig>,
}

/// The plugin.
pub struct Resource(Actions);

impl Plugin for Resource {
    type Config = Config;

    fn describe() -> Description {
        let description = Description::new("resource", env!("CARGO_PKG_VERSION"));
        description.read("resources.attributes:*").write("resources.attributes:*")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        let actions = Actions::read(config.attributes, "attributes", Table::Resources, false)?;
        let access = actions.access(Access::default());
        Ok(Configured::with_access(Self(actions), access))
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        self.0.apply(batch, None)
    }
}

sluice_sdk::export!(Resource);
