//! Steady senders on connections of their own, each with one request at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rand::Rng as _;
use rand::rngs::StdRng;
use tonic::Code;

use crate::send::Grpc;
use crate::shop::otlp::Exporter;
use crate::soak::{SpanId, ids};
use crate::wait;

/// Connections that send at a time.
const SENDERS: u64 = 4;
/// Of a request, at least.
const SPANS: usize = 10;
/// From the start of a request of a sender to that of its next.
const PACE: Duration = Duration::from_millis(10);
/// Before a request that was refused for the moment is sent again: sooner than it is asked for, so
/// that what is measured is how long the collector refuses, not how long senders wait.
const RETRY: Duration = Duration::from_millis(5);

/// A request that was taken.
pub(super) struct Sent {
    /// Its spans.
    pub(super) spans: Vec<SpanId>,
    /// When it was first sent.
    pub(super) began: Instant,
    /// How long until it was taken, refusals included.
    pub(super) lasted: Duration,
    /// How often it was refused before.
    pub(super) refused: u64,
}

/// Senders that go on until told to stop.
pub(super) struct Load {
    tasks: Vec<tokio::task::JoinHandle<Result<Vec<Sent>>>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    pub(super) fn start(to: SocketAddr, chance: &mut StdRng) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for _ in 0..SENDERS {
            let (client, stop, mut exporter) = (Grpc::new(to)?, Arc::clone(&stop), Exporter::new(chance.random()));
            tasks.push(wait::runtime().spawn(async move {
                let mut all = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let sent = send(&client, &mut exporter, &stop).await?;
                    let rest = PACE.saturating_sub(sent.lasted);
                    all.push(sent);
                    tokio::time::sleep(rest).await;
                }
                Ok(all)
            }));
        }
        Ok(Self { tasks, stop })
    }

    /// Stops, and gives all requests.
    pub(super) fn end(self) -> Result<Vec<Sent>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(wait::runtime().block_on(task).context("a sender has died")??);
        }
        Ok(all)
    }
}

/// Sends a request until it is taken, as a client of OTLP has to.
async fn send(client: &Grpc, exporter: &mut Exporter, stop: &AtomicBool) -> Result<Sent> {
    let request = exporter.request(SPANS);
    let (spans, began, mut refused) = (ids(&request)?, Instant::now(), 0);
    loop {
        match client.export(request.clone()).await {
            Ok(answer) => {
                ensure!(answer.partial_success.is_none(), "taken in part: {answer:?}");
                return Ok(Sent { spans, began, lasted: began.elapsed(), refused });
            }
            Err(status) if status.code() == Code::Unavailable => {
                ensure!(!stop.load(Ordering::Relaxed), "refused until the end: {status}");
                refused += 1;
                tokio::time::sleep(RETRY).await;
            }
            Err(status) => bail!("refused for good: {status}"),
        }
    }
}
