//! `connections`: many connections that are slow, half-open, greedy or broken, and some clients beside
//! them that are none of that. Memory stays within 60 MB and the budget of what is on its way in, and the
//! good ones hardly notice.

mod hostile;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tonic::Code;

use super::{Arrived, SpanId, ids, resident};
use crate::collector::{Config, Folder, Sluice};
use crate::send::Grpc;
use crate::shop::otlp::Exporter;
use crate::sink::Sink;
use crate::wait;
use hostile::{Again, Kind};

/// What may be on its way in: `limit_mib` less a fifth.
const LIMIT_MIB: u64 = 160;
const BUDGET: u64 = 128 << 20;
/// What the process may take beside that.
const BESIDE: u64 = 60_000_000;
/// What the good ones wait for an answer, but for one in a hundred.
const P99: Duration = Duration::from_millis(100);
/// Good clients that come before the others, and as many after them.
const GOOD: u64 = 2;
const SPANS: usize = 10;
/// Between two requests of a good client.
const PACE: Duration = Duration::from_millis(20);
/// Requests of the good ones, at least.
const ENOUGH: usize = 200;
/// How many hostile ones connect at a time.
const WAVE: usize = 100;

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// `connections`.
    pub soak: &'static str,
    /// For another run like it.
    pub seed: u64,
    /// How many connections there were beside the good ones and those that come again and again.
    pub connections: usize,
    /// How many of them were refused. Anything but 0 is a failure.
    pub not_connected: usize,
    /// How long all were to be there.
    pub seconds: u64,
    /// The most resident memory.
    pub rss_max_bytes: u64,
    /// 60 MB and the budget.
    pub rss_limit_bytes: u64,
    /// Requests of the good clients.
    pub requests: usize,
    /// Of those, how many were asked to come again.
    pub refused_requests: usize,
    /// Of those, what failed otherwise. Anything but none is a failure.
    pub failures: Vec<String>,
    /// How long the good ones waited for an answer, in microseconds.
    pub p50_us: u64,
    /// The same.
    pub p99_us: u64,
    /// The same.
    pub longest_us: u64,
    /// Spans of requests of the good ones that were answered with success and never arrived. Anything but
    /// 0 is a failure.
    pub lost_spans: u64,
    /// Spans that the account does not explain. Anything but 0 is a failure.
    pub missing_spans: i64,
}

impl Outcome {
    /// Whether nothing failed and memory was kept. How long it took does not matter.
    pub fn is_safe(&self) -> bool {
        let served = self.requests > 0 && self.refused_requests == 0 && self.failures.is_empty();
        let whole = self.not_connected == 0 && self.lost_spans == 0 && self.missing_spans == 0;
        served && whole && self.rss_max_bytes <= self.rss_limit_bytes
    }

    /// Whether all that was promised was kept.
    pub fn is_good(&self) -> bool {
        self.is_safe() && u128::from(self.p99_us) <= P99.as_micros()
    }
}

/// A request of a good client.
struct Sent {
    spans: Vec<SpanId>,
    lasted: Duration,
    answer: Result<(), tonic::Status>,
}

/// Opens so many connections and leaves them there for so long.
///
/// # Errors
/// When the collector ends otherwise than it should.
pub fn run(connections: usize, time: Duration, seed: u64) -> Result<Outcome> {
    let upstream = Sink::start();
    let limiter = format!("limit_mib: {LIMIT_MIB}");
    let sluice = Sluice::spawn(Folder::new(&Config::to(&upstream).processor("memory_limiter", &limiter).yaml()), &[]);
    sluice.ready()?;
    let (grpc, http) = (sluice.grpc(), sluice.http());
    let stop = Arc::new(AtomicBool::new(false));
    let mut good = Vec::new();
    let mut rss_max = resident(sluice.pid())?;
    let answered = Arc::new(AtomicUsize::new(0));
    let mut begin = |number: u64| -> Result<()> {
        let (client, exporter) = (Grpc::new(grpc)?, Exporter::new(seed ^ (number << 32)));
        good.push(wait::runtime().spawn(send_on(client, exporter, Arc::clone(&stop), Arc::clone(&answered))));
        Ok(())
    };
    (0..GOOD).try_for_each(&mut begin)?;
    let (request, refused) = (Exporter::new(!seed).request(SPANS), Arc::new(AtomicUsize::new(0)));
    let mut hostile = Vec::new();
    for number in 0..connections {
        let (request, refused) = (request.clone(), Arc::clone(&refused));
        hostile.push(wait::runtime().spawn(async move {
            // Hung up on is not refused.
            let connected = Kind::of(number).attack(grpc, http, request).await;
            let kind = connected.err().and_then(|error| error.downcast::<std::io::Error>().ok()).map(|it| it.kind());
            if kind == Some(std::io::ErrorKind::ConnectionRefused) {
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }));
        if number % WAVE == WAVE - 1 {
            std::thread::sleep(PACE);
            rss_max = rss_max.max(resident(sluice.pid())?);
        }
    }
    for again in Again::all(seed)? {
        hostile.push(wait::runtime().spawn(again.go_on(grpc, http)));
    }
    (GOOD..2 * GOOD).try_for_each(&mut begin)?;
    let all_there = Instant::now();
    // On a machine that does much else it takes longer until there is something to tell of.
    let is_enough = || answered.load(Ordering::Relaxed) >= ENOUGH || all_there.elapsed() > wait::PATIENCE;
    while all_there.elapsed() < time || !is_enough() {
        rss_max = rss_max.max(resident(sluice.pid())?);
        std::thread::sleep(PACE);
    }
    stop.store(true, Ordering::Relaxed);
    let mut sent = Vec::new();
    for task in good {
        sent.extend(wait::runtime().block_on(task).context("a good client has died")??);
    }
    hostile.iter().for_each(tokio::task::JoinHandle::abort);
    let end = sluice.terminate();
    ensure!(end.code == 0, "the process ended with code {}:\n{}", end.code, end.stderr);
    let mut arrived = Arrived::default();
    upstream.take().iter().try_for_each(|request| arrived.add(&request.wire))?;
    let taken = sent.iter().filter(|sent| sent.answer.is_ok()).flat_map(|sent| &sent.spans);
    let lost_spans = arrived.missing(taken);
    let mut waits: Vec<u64> = sent.iter().map(|sent| sent.lasted.as_micros() as u64).collect();
    waits.sort_unstable();
    let at = |part: usize| waits.get(waits.len() * part / 100).copied().unwrap_or_default();
    let is_refusal = |status: &&tonic::Status| status.code() == Code::Unavailable;
    let errors = || sent.iter().filter_map(|sent| sent.answer.as_ref().err());
    Ok(Outcome {
        soak: "connections",
        seed,
        connections,
        not_connected: refused.load(Ordering::Relaxed),
        seconds: time.as_secs(),
        rss_max_bytes: rss_max,
        rss_limit_bytes: BESIDE + BUDGET,
        requests: sent.len(),
        refused_requests: errors().filter(is_refusal).count(),
        failures: errors().filter(|status| !is_refusal(status)).map(ToString::to_string).take(5).collect(),
        p50_us: at(50),
        p99_us: at(99),
        longest_us: waits.last().copied().unwrap_or_default(),
        lost_spans,
        missing_spans: end.account.missing(),
    })
}

async fn send_on(
    client: Grpc,
    mut exporter: Exporter,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> Result<Vec<Sent>> {
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let request = exporter.request(SPANS);
        let (spans, began) = (ids(&request)?, Instant::now());
        let answer = client.export(request).await.map(drop);
        answered.fetch_add(1, Ordering::Relaxed);
        all.push(Sent { spans, lasted: began.elapsed(), answer });
        tokio::time::sleep(PACE).await;
    }
    Ok(all)
}
