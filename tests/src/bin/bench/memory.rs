//! The largest resident set from start to end of a run at full load with an empty code cache: with
//! a healthy upstream, and with none, until the queue is full and beyond.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sluice_tests::process;
use sluice_tests::talk::Talk;

use crate::Tables;
use crate::round::{Length, Load};
use crate::subject::{Peak, Shape, Subject, free_address};
use crate::table::{grid, machine, verdict};

/// Connections under load: more than cores, as in real life.
const CONNECTIONS: usize = 4;

/// Requests on their way at a time, over all of them: as many on each as end to end. More of them get no more spans through.
const IN_FLIGHT: usize = CONNECTIONS * super::IN_FLIGHT;

/// The most that it may hold while upstream is well, in bytes.
const BAR: f64 = 60e6;

/// Measures both.
pub fn measure(seconds: u64) -> Result<Tables> {
    let load = Load { connections: CONNECTIONS, in_flight: IN_FLIGHT, gzip: false, length: Length::Seconds(seconds) };
    let mut sink = Talk::start(Command::new(process::release("sink")).arg("--count-only"))?;
    let upstream = sink.hear_event("listening")?["address"].as_str().context("an address")?.parse()?;
    let subject = Subject::start(Shape::Four, upstream)?;
    let sent = load.run(&subject)?;
    let healthy = subject.end()?.peak;
    sink.finish()?;

    let subject = Subject::start(Shape::Four, free_address()?)?;
    let refused = load.run(&subject)?;
    let full = subject.peak();
    drop(subject);

    let heads = ["four plugins, full load", "peak MB", "bar", "children, peak MB", "spans taken", "requests refused"];
    let lines = [
        heads.map(str::to_owned).to_vec(),
        line("upstream healthy", healthy, Some(BAR), &sent),
        line("upstream down, queue full", full, None, &refused),
    ];
    let text = format!(
        "{}; {seconds} s each, {CONNECTIONS} connections, {IN_FLIGHT} in flight, empty code cache.\n\n{}",
        machine(),
        grid(&lines)
    );
    let figures = json!({
        "seconds": seconds, "bar_bytes": BAR,
        "healthy": figures(healthy, &sent), "full": figures(full, &refused),
    });
    Ok((text, figures))
}

fn line(name: &str, peak: Peak, bar: Option<f64>, load: &Value) -> Vec<String> {
    let megabytes = |bytes: f64| format!("{:.1}", bytes / 1e6);
    vec![
        name.to_owned(),
        megabytes(peak.own as f64),
        bar.map_or_else(String::new, |bar| verdict(&format!("{:.0}", bar / 1e6), peak.own as f64 <= bar)),
        megabytes(peak.children as f64),
        load["spans"].to_string(),
        load["refused"].to_string(),
    ]
}

fn figures(peak: Peak, load: &Value) -> Value {
    json!({"peak_bytes": peak.own, "children_peak_bytes": peak.children, "spans": load["spans"], "refused": load["refused"]})
}
