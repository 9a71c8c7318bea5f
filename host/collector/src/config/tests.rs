#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod broken;
mod connectors;
mod docs;
mod failover;
mod files;
mod listeners;
mod outputs;
mod problems;
mod substitution;

use super::{Config, Diagnostics, Loaded, Source, load_in};

/// A configuration that has nothing wrong; tests add to it.
pub(super) const GOOD: &str = "\
receivers: { otlp: { protocols: { grpc: } } }
exporters: { debug: }
service: { pipelines: { traces: { receivers: [otlp], exporters: [debug] } } }
";

fn text(yaml: &str) -> Source {
    Source::Text("c.yaml".to_owned(), yaml.to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "what an environment is")]
fn environment(name: &str) -> Result<Option<String>, String> {
    let value = match name {
        "PORT" => "4317",
        "HOST" => "collector.example",
        "EMPTY" => "",
        "YES" => "true",
        "LIST" => "[a, b]",
        "MAP" => "{endpoint: localhost:1}",
        "SECRET" => "00123",
        "HASH" => "# not a comment",
        "DOLLAR" => "a$$b${HOST}",
        "BROKEN" => "[unclosed",
        _ => return Ok(None),
    };
    Ok(Some(value.to_owned()))
}

fn load(sources: &[Source]) -> Result<Loaded, Diagnostics> {
    load_in(sources, &environment).map_err(|broken| broken.problems)
}

fn config(sources: &[Source]) -> Config {
    load(sources).map_err(|problems| problems.to_string()).unwrap().config
}

/// All diagnostics of one text, as they are shown.
fn told(yaml: &str) -> Vec<String> {
    let problems = match load(&[text(yaml)]) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    problems.iter().map(ToString::to_string).collect()
}
