//! The `enrich` processor: adds to spans what follows from what they have. A block of keys a function, all of them off
//! unless they are there.
//!
//! Nothing that a span has is replaced. Every function sees the batch as it came, not what the others add.

mod envoy;
mod insert;
mod lookup;
mod span_name;
mod url;
mod user_agent;

use sluice_sdk::prelude::*;
use sluice_sdk::serde::Deserializer;

use envoy::Envoy;
use lookup::Lookup;
use span_name::SpanName;
use url::Url;
use user_agent::UserAgent;

/// The processor's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    lookups: Vec<Lookup>,
    #[serde(default, deserialize_with = "there")]
    envoy: Option<Envoy>,
    #[serde(default, deserialize_with = "there")]
    url: Option<Url>,
    #[serde(default, deserialize_with = "there")]
    user_agent: Option<UserAgent>,
    #[serde(default, deserialize_with = "there")]
    span_name: Option<SpanName>,
}

/// A block that is there is on, `url:` with nothing in it as well.
fn there<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(block: D) -> Result<Option<T>, D::Error> {
    Option::<T>::deserialize(block).map(|block| Some(block.unwrap_or_default()))
}

/// The plugin.
pub struct Enrich(Config);

impl Plugin for Enrich {
    type Config = Config;

    fn describe() -> Description {
        let mut description =
            Description::new("enrich", env!("CARGO_PKG_VERSION")).capability("tables").read("tables:*");
        for table in ["spans", "resources"] {
            let grant = format!("{table}.attributes:*");
            description = description.read(&grant).write(&grant);
        }
        description.read("spans.name").write("spans.name")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        let mut problems = Vec::new();
        for (i, lookup) in config.lookups.iter().enumerate() {
            lookup.check(&format!("lookups[{i}]"), &mut problems);
        }
        let Config { lookups, envoy, url, user_agent, span_name } = &config;
        if lookups.is_empty() && envoy.is_none() && url.is_none() && user_agent.is_none() && span_name.is_none() {
            let message = "at least one of `lookups`, `envoy`, `url`, `user_agent` and `span_name` is needed";
            problems.push(ConfigError::new("", message));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut access = lookups.iter().fold(Access::default(), |access, lookup| lookup.access(access));
        if envoy.is_some() {
            access = envoy::access(access);
        }
        if url.is_some() {
            access = url::access(access);
        }
        if user_agent.is_some() {
            access = user_agent::access(access);
        }
        if span_name.is_some() {
            access = access.read("spans.name").write("spans.name");
        }
        Ok(Configured::with_access(Self(config), access))
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let Config { lookups, envoy, url, user_agent, span_name } = &self.0;
        for lookup in lookups {
            lookup.apply(batch)?;
        }
        if envoy.is_some() {
            envoy::apply(batch)?;
        }
        if url.is_some() {
            url::apply(batch)?;
        }
        if user_agent.is_some() {
            user_agent::apply(batch)?;
        }
        if span_name.is_some() {
            span_name::apply(batch)?;
        }
        Ok(())
    }
}

sluice_sdk::export!(Enrich);
