//! One run: a sink, the process that is measured, and load until so many spans were answered for.

use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluice_tests::process;
use sluice_tests::talk::Talk;

use crate::subject::{Shape, Subject, cpu};

/// Requests on their way at a time, over all connections together.
const IN_FLIGHT: usize = 8;

/// What one run gave.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// CPU time per span received, drain included, in nanoseconds.
    pub cpu_ns: f64,
    /// Spans answered for, a second.
    pub spans_per_second: f64,
    /// Cores that it kept busy while there was load.
    pub cores: f64,
    /// Cores that the load generator and the sink left it.
    pub cores_left: f64,
    /// The largest resident set, in bytes.
    pub peak_bytes: u64,
    /// The share of spans that arrived upstream.
    pub left: f64,
}

/// Measures one shape once.
pub fn measure(shape: Shape, connections: usize, spans: u64) -> Result<Measured> {
    let mut sink = Talk::start(Command::new(process::release("sink")).arg("--count-only"))?;
    let upstream = sink.hear_event("listening")?["address"].as_str().context("an address")?.parse()?;
    let subject = Subject::start(shape, upstream)?;
    let sink_before = cpu(sink.pid())?;
    let load = load(&subject, connections, &["--spans", &spans.to_string()])?;
    let busy = subject.cpu()?;
    let sink_busy = cpu(sink.pid())?.saturating_sub(sink_before);
    let used = subject.end()?;
    let arrived = sink.ask("totals")?["spans"].as_f64().context("a number of spans")?;
    sink.finish()?;
    let sent = load["spans"].as_f64().context("a number of spans")?;
    let seconds = load["seconds"].as_f64().context("seconds")?;
    let others = sink_busy.as_secs_f64() + load["cpu_seconds"].as_f64().unwrap_or_default();
    let machine = thread::available_parallelism()?.get() as f64;
    ensure!(sent > 0.0, "no span was sent");
    Ok(Measured {
        cpu_ns: used.cpu.as_secs_f64() * 1e9 / sent,
        spans_per_second: sent / seconds,
        cores: busy.as_secs_f64() / seconds,
        cores_left: machine - others / seconds,
        peak_bytes: used.peak_bytes,
        left: arrived / sent,
    })
}

/// Runs the load generator to its end.
pub fn load(subject: &Subject, connections: usize, how_long: &[&str]) -> Result<Value> {
    let mut command = Command::new(process::release("load"));
    command.arg("--target").arg(subject.address().to_string());
    command.arg("--connections").arg(connections.to_string());
    command.arg("--in-flight").arg(IN_FLIGHT.to_string()).args(how_long);
    let mut load = Talk::start(&mut command)?;
    let said = loop {
        if let Some(said) = load.hear_within(Duration::from_secs(600))? {
            break said;
        }
    };
    ensure!(load.finish()?.success(), "the load generator failed");
    Ok(said)
}
