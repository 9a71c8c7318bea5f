//! One run: a sink, the process that is measured, and load until so many spans were answered for.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluice_tests::process;
use sluice_tests::talk::Talk;
use sluice_tests::wait;

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
    /// So many seconds, more than [`EDGES`]. What is told of cores is told of all but these.
    Seconds(u64),
}

/// CPU time of the measured process after which it is at full speed: connections are made, queues filled.
const WARM: Duration = Duration::from_millis(300);

/// Of a load that lasts, what is no part of what is told of cores: its beginning and its end.
const EDGES: Duration = Duration::from_secs(1);

/// How long it may take until there is load.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one run gave.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// CPU time per span received, drain included, in nanoseconds.
    pub cpu_ns: f64,
    /// Spans answered for, a second.
    pub spans_per_second: f64,
    /// Cores that it kept busy while there was load, see [`Length`].
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

/// CPU time that was used in a time.
struct Window {
    seconds: f64,
    /// By the measured process.
    busy: Duration,
    /// How long its threads were ready and waited for a core.
    waited: Duration,
    /// By the load generator and the sink.
    others: Duration,
}

/// Measures one shape once.
pub fn measure(shape: Shape, load: Load) -> Result<Measured> {
    let mut sink = Talk::start(Command::new(process::release("sink")).arg("--count-only"))?;
    let upstream = sink.hear_event("listening")?["address"].as_str().context("an address")?.parse()?;
    let subject = Subject::start(shape, upstream)?;
    let sink_before = cpu(sink.pid())?;
    let waited_before = subject.waited()?;
    let mut sender = load.start(&subject)?;
    let middle = match load.length {
        Length::Spans(_) => None,
        Length::Seconds(seconds) => Some(Window::in_the_middle(seconds, &subject, &sink, &sender)?),
    };
    let load = end(&mut sender)?;
    let busy = subject.cpu()?;
    let waited = subject.waited()?.saturating_sub(waited_before);
    let sink_busy = cpu(sink.pid())?.saturating_sub(sink_before);
    let used = subject.end()?;
    let arrived = sink.ask("totals")?["spans"].as_f64().context("a number of spans")?;
    sink.finish()?;
    let number = |name: &str| load[name].as_f64().with_context(|| format!("{name} of the load"));
    let (sent, seconds) = (number("spans")?, number("seconds")?);
    ensure!(sent > 0.0, "no span was sent");
    let others = sink_busy + Duration::from_secs_f64(number("cpu_seconds")?);
    let window = middle.unwrap_or(Window { seconds, busy, waited, others });
    let machine = thread::available_parallelism()?.get() as f64;
    Ok(Measured {
        cpu_ns: used.cpu.as_secs_f64() * 1e9 / sent,
        spans_per_second: sent / seconds,
        cores: window.busy.as_secs_f64() / window.seconds,
        cores_wanted: (window.busy + window.waited).as_secs_f64() / window.seconds,
        cores_left: machine - window.others.as_secs_f64() / window.seconds,
        peak_bytes: used.peak.own,
        left: arrived / sent,
    })
}

impl Window {
    /// Waits until all are at full speed, and nearly until the load ends.
    fn in_the_middle(seconds: u64, subject: &Subject, sink: &Talk, sender: &Talk) -> Result<Self> {
        let warm = wait::within(PATIENCE, || subject.cpu().map_or(Some(false), |used| (used > WARM).then_some(true)));
        ensure!(warm == Some(true), "there is no load");
        let others = || anyhow::Ok(cpu(sink.pid())? + cpu(sender.pid())?);
        let (began, busy, waited, used) = (Instant::now(), subject.cpu()?, subject.waited()?, others()?);
        let said = sender.hear_within(Duration::from_secs(seconds).saturating_sub(EDGES))?;
        ensure!(said.is_none(), "the load has ended early: {said:?}");
        Ok(Self {
            seconds: began.elapsed().as_secs_f64(),
            busy: subject.cpu()?.saturating_sub(busy),
            waited: subject.waited()?.saturating_sub(waited),
            others: others()?.saturating_sub(used),
        })
    }
}

/// What the load generator says in the end.
fn end(sender: &mut Talk) -> Result<Value> {
    let said = loop {
        if let Some(said) = sender.hear_within(Duration::from_secs(600))? {
            break said;
        }
    };
    ensure!(sender.finish()?.success(), "the load generator failed");
    Ok(said)
}

impl Load {
    /// Runs the load generator to its end.
    pub fn run(self, subject: &Subject) -> Result<Value> {
        end(&mut self.start(subject)?)
    }

    fn start(self, subject: &Subject) -> Result<Talk> {
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
        Talk::start(&mut command)
    }
}
