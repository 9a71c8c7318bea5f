//! The largest resident set from start to end of a run at full load with an empty code cache: with
//! a healthy upstream, and with none, until the queue is full and beyond.

use std::process::Command;

use anyhow::{Context as _, Result};
use sluice_tests::process;
use sluice_tests::talk::Talk;

use crate::round;
use crate::subject::{Shape, Subject, free_address};
use crate::table::grid;

/// Connections under load: more than cores, as in real life.
const CONNECTIONS: usize = 4;

/// Measures both and gives the table.
pub fn measure(seconds: u64, markdown: bool) -> Result<String> {
    let load = seconds.to_string();
    let load = ["--seconds", load.as_str()];

    let mut sink = Talk::start(Command::new(process::release("sink")).arg("--count-only"))?;
    let upstream = sink.hear_event("listening")?["address"].as_str().context("an address")?.parse()?;
    let subject = Subject::start(Shape::Four, upstream)?;
    let sent = round::load(&subject, CONNECTIONS, &load)?;
    let healthy = subject.end()?.peak_bytes;
    sink.finish()?;

    let subject = Subject::start(Shape::Four, free_address()?)?;
    let refused = round::load(&subject, CONNECTIONS, &load)?;
    let full = subject.peak_bytes();
    drop(subject);

    let lines = [
        vec![
            "four plugins, full load, empty code cache".to_owned(),
            "peak MB".to_owned(),
            "spans taken".to_owned(),
            "refused".to_owned(),
        ],
        line("upstream healthy", healthy, &sent),
        line("upstream down, queue full", full, &refused),
    ];
    Ok(format!("\n{seconds} s each, {CONNECTIONS} connections.\n\n{}", grid(&lines, markdown)))
}

fn line(name: &str, peak: u64, load: &serde_json::Value) -> Vec<String> {
    vec![
        name.to_owned(),
        format!("{:.1}", peak as f64 / 1e6),
        load["spans"].to_string(),
        format!("{} requests", load["refused"]),
    ]
}
