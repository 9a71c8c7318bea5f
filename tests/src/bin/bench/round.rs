//! One run: a sink, the process that is measured, and load until so many spans were answered for.

use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluice_tests::process;
use sluice_tests::talk::Talk;

use crate::subject::{Shape, Subject, cpu};

/// What the load generator is to do.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Over how many connections it sends.
    pub connections: usize,
    /// Requests on their way at a time, over all connections together.
    pub in_flight: usize,
    /// Whether it sends what gzip made of the requests beforehand.
    pub gzip: bool,
    /// How long it sends.
    pub length: Length,
}

/// How long there is load.
#[derive(Debug, Clone, Copy)]
pub enum Length {
    /// Until so many spans were answered for.
    Spans(u64),
    /// So many seconds.
    Seconds(u64),
}

/// What one run gave.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// CPU time per span received, drain included, in nanoseconds.
    pub cpu_ns: f64,
    /// Spans answered for, a second.
    pub spans_per_second: f64,
    /// Cores that it kept busy while there was load.
    pub cores: f64,
    /// The same, and cores that it would have kept busy had others not had them.
    pub cores_wanted: f64,
    /// Cores that the load generator and the sink left it.
    pub cores_left: f64,
    /// Its own largest resident set, in bytes.
    pub peak_bytes: u64,
    /// The share of spans that arrived upstream.
    pub left: f64,
}

/// Measures one shape once.
pub fn measure(shape: Shape, load: Load) -> Result<Measured> {
    let mut sink = Talk::start(Command::new(process::release("sink")).arg("--count-only"))?;
    let upstream = sink.hear_event("listening")?["address"].as_str().context("an address")?.parse()?;
    let subject = Subject::start(shape, upstream)?;
    let sink_before = cpu(sink.pid())?;
    let waited_before = subject.waited()?;
    let load = load.run(&subject)?;
    let busy = subject.cpu()?;
    let waited = subject.waited()?.saturating_sub(waited_before);
    let sink_busy = cpu(sink.pid())?.saturating_sub(sink_before);
    let used = subject.end()?;
    let arrived = sink.ask("totals")?["spans"].as_f64().context("a number of spans")?;
    sink.finish()?;
    let sent = load["spans"].as_f64().context("a number of spans")?;
    let seconds = load["seconds"].as_f64().context("seconds")?;
    let others = sink_busy.as_secs_f64() + load["cpu_seconds"].as_f64().context("CPU seconds")?;
    let machine = thread::available_parallelism()?.get() as f64;
    ensure!(sent > 0.0, "no span was sent");
    Ok(Measured {
        cpu_ns: used.cpu.as_secs_f64() * 1e9 / sent,
        spans_per_second: sent / seconds,
        cores: busy.as_secs_f64() / seconds,
        cores_wanted: (busy + waited).as_secs_f64() / seconds,
        cores_left: machine - others / seconds,
        peak_bytes: used.peak.own,
        left: arrived / sent,
    })
}

impl Load {
    /// Runs the load generator to its end.
    pub fn run(self, subject: &Subject) -> Result<Value> {
        let mut command = Command::new(process::release("load"));
        command.arg("--target").arg(subject.address().to_string());
        command.arg("--connections").arg(self.connections.to_string());
        command.arg("--in-flight").arg(self.in_flight.to_string());
        match self.length {
            Length::Spans(spans) => command.arg("--spans").arg(spans.to_string()),
            Length::Seconds(seconds) => command.arg("--seconds").arg(seconds.to_string()),
        };
        if self.gzip {
            command.arg("--gzip");
        }
        let mut load = Talk::start(&mut command)?;
        let said = loop {
            if let Some(said) = load.hear_within(Duration::from_secs(600))? {
                break said;
            }
        };
        ensure!(load.finish()?.success(), "the load generator failed");
        Ok(said)
    }
}
