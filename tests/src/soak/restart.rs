//! `restart`: the collector is followed by another process of its binary again and again under load. The
//! clients never send a request twice: not one may fail, whether its connection is kept or new, and no
//! span may be lost.

mod load;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::{Arrived, SpanId};
use crate::collector::{Config, End, Folder, Sluice, config};
use crate::sink::Sink;
use load::{Load, Sent};

/// How long each process serves before it is followed.
const LIFE: Duration = Duration::from_millis(400);

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// `restart`.
    pub soak: &'static str,
    /// For another run like it.
    pub seed: u64,
    /// How often a process was followed by another.
    pub restarts: u32,
    /// Requests over connections that are kept, with spans.
    pub kept_requests: usize,
    /// Requests that had a connection each, with spans or for figures.
    pub new_requests: usize,
    /// Of all these, those that a client of HTTP/2 had not sent yet when it was told that its connection takes
    /// nothing new, and that it sent on another.
    pub moved_requests: usize,
    /// Those that were not answered with success. Anything but 0 is a failure.
    pub failed_requests: usize,
    /// What the first of them were told.
    pub failures: Vec<String>,
    /// Spans of requests that were answered with success.
    pub acknowledged_spans: u64,
    /// Acknowledged and never arrived. Anything but 0 is a failure.
    pub lost_spans: u64,
    /// Arrived again.
    pub duplicate_spans: u64,
    /// Spans that an account does not explain, over all processes. Anything but 0 is a failure.
    pub missing_spans: i64,
    /// The longest that a connection can have waited to be accepted, as the processes tell it.
    pub longest_wait_milliseconds: u64,
    /// The longest that a client waited for an answer.
    pub slowest_request_milliseconds: u64,
    /// How long it took.
    pub seconds: u64,
}

impl Outcome {
    /// Whether all that was promised was kept.
    pub fn is_good(&self) -> bool {
        let lossless = self.lost_spans == 0 && self.missing_spans == 0;
        self.failed_requests == 0 && lossless && self.kept_requests > 0 && self.new_requests > 0
    }
}

/// Has the process followed so many times.
///
/// # Errors
/// When a process does not come up, or ends otherwise than it should.
pub fn run(restarts: u32, seed: u64) -> Result<Outcome> {
    let started = Instant::now();
    let (upstream, disk) = (Sink::start(), tempfile::tempdir()?);
    let config = Config::new()
        .extension("file_storage", &format!("directory: '{}'", disk.path().join("queues").display()))
        .extension("sluice", &format!("state_dir: '{}'", disk.path().join("state").display()))
        .exporter(
            "otlp_grpc",
            &config::grpc(&upstream, "sending_queue: { storage: file_storage, batch: { flush_timeout: 20ms } }"),
        );
    let mut sluice = Sluice::spawn(Folder::new(&config.yaml()), &[]);
    sluice.ready()?;
    // The next ones name the ports that the first one got.
    let (grpc, http, figures) = (sluice.grpc(), sluice.http(), sluice.address("telemetry", ""));
    let receiver = format!("protocols: {{ grpc: {{ endpoint: '{grpc}' }}, http: {{ endpoint: '{http}' }} }}");
    let yaml = config.receiver("otlp", &receiver).yaml().replace("port: 0", &format!("port: {}", figures.port()));
    let load = Load::start(grpc, http, figures, seed)?;
    let (mut ends, mut longest_wait) = (Vec::new(), 0);
    for _ in 0..restarts {
        std::thread::sleep(LIFE);
        let next = Sluice::spawn_with(Folder::new(&yaml), &["--take-over"], &[]);
        next.ready()?;
        longest_wait = longest_wait.max(waited(&next)?);
        ends.push(std::mem::replace(&mut sluice, next).wait_end());
    }
    std::thread::sleep(LIFE);
    let sent = load.end()?;
    ends.push(sluice.terminate());
    let mut arrived = Arrived::default();
    upstream.take().iter().try_for_each(|request| arrived.add(&request.wire))?;
    judge(&ends)?;
    let acknowledged: Vec<SpanId> = sent.iter().flat_map(|sent| sent.spans.iter().copied()).collect();
    let failures = || sent.iter().filter_map(|sent| sent.failure.clone());
    let slowest = sent.iter().map(|sent| sent.lasted).max().unwrap_or_default();
    let count = |which: fn(&&Sent) -> bool| sent.iter().filter(which).count();
    Ok(Outcome {
        soak: "restart",
        seed,
        restarts,
        kept_requests: count(|sent| sent.kept),
        new_requests: count(|sent| !sent.kept),
        moved_requests: count(|sent| sent.moved),
        failed_requests: failures().count(),
        failures: failures().take(5).collect(),
        acknowledged_spans: acknowledged.len() as u64,
        lost_spans: arrived.missing(&acknowledged),
        duplicate_spans: arrived.duplicates(),
        missing_spans: ends.iter().map(|end| end.account.missing().abs()).sum(),
        longest_wait_milliseconds: longest_wait,
        slowest_request_milliseconds: slowest.as_millis() as u64,
        seconds: started.elapsed().as_secs(),
    })
}

/// How long connections may have waited for this process, in milliseconds.
fn waited(sluice: &Sluice) -> Result<u64> {
    let events = sluice.log().events("handover");
    let taken_over = events.iter().find(|event| event["outcome"] == "taken_over");
    let waited = taken_over.and_then(|event| event["longest_wait_ms"].as_u64());
    waited.with_context(|| format!("it has not taken over:\n{}", sluice.log().text()))
}

fn judge(ends: &[End]) -> Result<()> {
    for end in ends {
        ensure!(end.code == 0, "a process ended with code {}:\n{}", end.code, end.stderr);
    }
    Ok(())
}
