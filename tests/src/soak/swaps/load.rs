//! Steady senders on connections of their own, each with one request at a time.
//!
//! Each has a thread, which does nothing else and sleeps until its answer is there. So what the rest of the machine
//! keeps it from running with an answer at hand can be told from what the collector takes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rand::Rng as _;
use rand::rngs::StdRng;
use tonic::Code;

use crate::process;
use crate::send::Grpc;
use crate::shop::otlp::Exporter;
use crate::soak::{SpanId, ids};

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
    /// For how long of that its sender was ready to go on, and the machine let others run.
    pub(super) held: Duration,
    /// How often it was refused before.
    pub(super) refused: u64,
}

/// Senders that go on until told to stop.
pub(super) struct Load {
    senders: Vec<JoinHandle<Result<Vec<Sent>>>>,
    stop: Arc<AtomicBool>,
}

/// Hardly more spans than this are sent in so much time.
pub(super) fn most_spans(time: Duration) -> usize {
    (time.as_millis() / PACE.as_millis()) as usize * SENDERS as usize * 2 * SPANS
}

impl Load {
    pub(super) fn start(to: SocketAddr, chance: &mut StdRng) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sender = |_| {
            let (exporter, stop) = (Exporter::new(chance.random()), Arc::clone(&stop));
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(send_on(to, exporter, &stop))
            })
        };
        Self { senders: (0..SENDERS).map(sender).collect(), stop }
    }

    /// Stops, and gives all requests.
    pub(super) fn end(self) -> Result<Vec<Sent>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for sender in self.senders {
            all.extend(sender.join().ok().context("a sender has died")??);
        }
        Ok(all)
    }
}

/// Sends request after request until told to stop.
async fn send_on(to: SocketAddr, mut exporter: Exporter, stop: &AtomicBool) -> Result<Vec<Sent>> {
    let (client, mut all) = (Grpc::here(to)?, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let sent = send(&client, &mut exporter, stop).await?;
        let rest = PACE.saturating_sub(sent.lasted);
        all.push(sent);
        tokio::time::sleep(rest).await;
    }
    Ok(all)
}

/// Sends a request until it is taken, as a client of OTLP has to.
async fn send(client: &Grpc, exporter: &mut Exporter, stop: &AtomicBool) -> Result<Sent> {
    let request = exporter.request(SPANS);
    let (spans, mut refused) = (ids(&request)?, 0);
    let (held, began) = (process::kept_from_running(None), Instant::now());
    loop {
        match client.export(request.clone()).await {
            Ok(answer) => {
                ensure!(answer.partial_success.is_none(), "taken in part: {answer:?}");
                let lasted = began.elapsed();
                let held = process::kept_from_running(None).saturating_sub(held);
                return Ok(Sent { spans, began, lasted, held, refused });
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
