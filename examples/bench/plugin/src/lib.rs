//! The plugin that `cargo xtask bench` measures the sandbox with: it does nothing, or a small job
//! on two keys.

use memchr::memchr;
use sluice_sdk::kind;
use sluice_sdk::prelude::*;

const PATH: &str = "url.path";
const URL: &str = "url.full";

/// The keys under `config:`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    job: Job,
}

/// What the plugin does.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Nothing at all.
    Nothing,
    /// Drops spans whose `url.path` is `/health`, cuts the query off `url.full` of the others.
    TwoKeys,
}

/// The plugin.
pub struct BenchPlugin(Job);

impl Plugin for BenchPlugin {
    type Config = Config;

    fn describe() -> Description {
        Description::new("bench-plugin", env!("CARGO_PKG_VERSION"))
            .read("spans.attributes:url.path")
            .read("spans.attributes:url.full")
            .write("spans.attributes:url.full")
            .write("spans.drop")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        Ok(match config.job {
            Job::Nothing => Configured::with_access(Self(config.job), Access::default()),
            Job::TwoKeys => Configured::new(Self(config.job)),
        })
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        match self.0 {
            Job::Nothing => Ok(()),
            Job::TwoKeys => two_keys(batch),
        }
    }
}

fn two_keys(batch: &Batch<'_>) -> Result<(), Failure> {
    let paths = batch.attribute(Table::Spans, PATH)?.values;
    let urls = batch.attribute(Table::Spans, URL)?.values;
    let (mut dropped, mut cut, mut short) = (Vec::new(), Vec::with_capacity(urls.len()), Texts::default());
    for row in 0..urls.len() {
        let is_text = |values: &Values| values.kind(row) == kind::STRING;
        if is_text(&paths) && paths.texts.get(row) == b"/health" {
            dropped.push(row as u32);
            continue;
        }
        let url = urls.texts.get(row);
        let Some(query) = memchr(b'?', url).filter(|_| is_text(&urls)) else { continue };
        cut.push(row as u32);
        short.push(url.get(..query).unwrap_or_default());
    }
    if !dropped.is_empty() {
        batch.drop_rows(Table::Spans, &dropped)?;
    }
    if !cut.is_empty() {
        batch.set_attribute(Table::Spans, URL, &cut, Values::strings(short))?;
    }
    Ok(())
}

sluice_sdk::export!(BenchPlugin);
