//! `kill9`: the collector is killed at random moments under load, while the upstream flaps. No span
//! whose request was answered with success may be missing in the end; what came twice is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;

use super::{Arrived, SpanId, ids};
use crate::collector::{Config, Sluice, config};
use crate::send::Grpc;
use crate::shop::otlp::Exporter;
use crate::sink::{Answer, Sink};
use crate::wait;

/// Connections that send at a time.
const SENDERS: u64 = 4;
/// Small requests, so that many are on their way whenever the process dies.
const SPANS: usize = 10;
/// Between two requests of a sender: the sink keeps what it gets.
const PACE: Duration = Duration::from_millis(3);
/// How long the process lives after it has become ready.
const LIFE: std::ops::Range<u64> = 5..600;
/// How long the upstream stays as it is.
const WEATHER: std::ops::Range<u64> = 20..300;
/// How long the last process may take to deliver what is left.
const REST: Duration = Duration::from_mins(2);

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// `kill9`.
    pub soak: &'static str,
    /// For another run like it.
    pub seed: u64,
    /// How often the process was killed.
    pub kills: u32,
    /// Spans of requests that were answered with success.
    pub acknowledged_spans: u64,
    /// Different spans that arrived upstream.
    pub arrived_spans: u64,
    /// Acknowledged and never arrived. Anything but 0 is a failure.
    pub lost_spans: u64,
    /// Arrived again.
    pub duplicate_spans: u64,
    /// Spans that the last process's account does not explain. Anything but 0 is a failure.
    pub missing_spans: i64,
    /// How long it took.
    pub seconds: u64,
}

impl Outcome {
    /// Whether all that was promised was kept.
    pub fn is_good(&self) -> bool {
        self.lost_spans == 0 && self.missing_spans == 0 && self.acknowledged_spans > 0
    }
}

/// Kills it `kills` times.
///
/// # Errors
/// When a process does not come up, or ends otherwise than it should.
pub fn run(kills: u32, seed: u64) -> Result<Outcome> {
    let started = Instant::now();
    let mut chance = StdRng::seed_from_u64(seed);
    let (upstream, folder) = (Arc::new(Sink::start()), tempfile::tempdir()?);
    let config =
        Config::new().extension("file_storage", &format!("directory: '{}'", folder.path().display())).exporter(
            "otlp_grpc",
            &config::grpc(
                &upstream,
                "timeout: 200ms\nsending_queue: { storage: file_storage, batch: { flush_timeout: 20ms } }",
            ),
        );
    let weather = Weather::start(&upstream, chance.random());
    let (mut acknowledged, mut arrived) = (Vec::new(), Arrived::default());
    for _ in 0..kills {
        let sluice = Sluice::spawn(crate::collector::Folder::new(&config.yaml()), &[]);
        sluice.ready()?;
        let load = Load::start(sluice.grpc(), &mut chance)?;
        thread::sleep(Duration::from_millis(chance.random_range(LIFE)));
        sluice.signal(libc::SIGKILL);
        let end = sluice.wait_end();
        ensure!(end.code == 128 + libc::SIGKILL, "the process ended by itself with code {}:\n{}", end.code, end.stderr);
        acknowledged.extend(load.end()?);
        take(&upstream, &mut arrived)?;
    }
    drop(weather);
    upstream.always(Answer::Ok);
    let sluice = Sluice::spawn(crate::collector::Folder::new(&config.yaml()), &[]);
    sluice.ready()?;
    let empty = || {
        (sluice.metrics().sum("sluice_account_spans", &[("level", "destination"), ("outcome", "held")]) == 0.0)
            .then_some(())
    };
    // What is left then is counted as lost below.
    let _ = wait::within(REST, empty);
    let end = sluice.terminate();
    ensure!(end.code == 0, "the last process ended with code {}:\n{}", end.code, end.stderr);
    take(&upstream, &mut arrived)?;
    Ok(Outcome {
        soak: "kill9",
        seed,
        kills,
        acknowledged_spans: acknowledged.len() as u64,
        arrived_spans: arrived.distinct(),
        lost_spans: arrived.missing(&acknowledged),
        duplicate_spans: arrived.duplicates(),
        missing_spans: end.account.missing(),
        seconds: started.elapsed().as_secs(),
    })
}

fn take(upstream: &Sink, arrived: &mut Arrived) -> Result<()> {
    upstream.take().iter().try_for_each(|request| arrived.add(&request.wire))
}

/// An upstream that takes, refuses, is slow and does not answer, in turns. It stops when dropped.
struct Weather {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Weather {
    fn start(upstream: &Arc<Sink>, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, upstream) = (Arc::clone(&stop), Arc::clone(upstream));
        let thread = thread::spawn(move || {
            let mut chance = StdRng::seed_from_u64(seed);
            while !stopped.load(Ordering::Relaxed) {
                upstream.always(match chance.random_range(0..6) {
                    0 => Answer::UNAVAILABLE,
                    1 => Answer::Disconnect,
                    2 => Answer::Silence,
                    3 => Answer::Late(Duration::from_millis(50)),
                    _ => Answer::Ok,
                });
                thread::sleep(Duration::from_millis(chance.random_range(WEATHER)));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Weather {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // If it has panicked the upstream stays as it is, and the run shows that.
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// Senders that go on until the process is gone.
struct Load {
    tasks: Vec<tokio::task::JoinHandle<Result<Vec<SpanId>>>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(to: std::net::SocketAddr, chance: &mut StdRng) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for _ in 0..SENDERS {
            let (client, stop, mut exporter) = (Grpc::new(to)?, Arc::clone(&stop), Exporter::new(chance.random()));
            tasks.push(wait::runtime().spawn(async move {
                let mut taken = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let request = exporter.request(SPANS);
                    // One that got no answer may have been taken or not: it is not counted on.
                    if client.export(request.clone()).await.is_ok() {
                        taken.extend(ids(&request)?);
                    }
                    tokio::time::sleep(PACE).await;
                }
                Ok(taken)
            }));
        }
        Ok(Self { tasks, stop })
    }

    fn end(self) -> Result<Vec<SpanId>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut taken = Vec::new();
        for task in self.tasks {
            taken.extend(wait::runtime().block_on(task).context("a sender has died")??);
        }
        Ok(taken)
    }
}
