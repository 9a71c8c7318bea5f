//! A load generator: so many requests in flight, all encoded beforehand, over so many gRPC
//! connections, the next one sent when an answer comes. Prints one JSON line in the end.

#![expect(clippy::print_stdout, reason = "stdout is this program's interface")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::Parser;
use serde_json::json;
use sluice_tests::codec::{EXPORT, Raw};
use sluice_tests::{traffic, wire};
use tokio::task::JoinSet;
use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};

/// Sends spans as fast as they are answered for.
#[derive(Parser)]
struct Args {
    /// Where to.
    #[arg(long)]
    target: SocketAddr,
    /// Over how many connections.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// How many requests are on their way at a time, over all connections together.
    #[arg(long, default_value_t = 8)]
    in_flight: usize,
    /// How many spans to send at least. Ignored with `--seconds`.
    #[arg(long, default_value_t = 1_000_000)]
    spans: u64,
    /// How long to send.
    #[arg(long)]
    seconds: Option<u64>,
}

#[derive(Default)]
struct Tally {
    next: AtomicU64,
    requests: AtomicU64,
    spans: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
}

/// What all workers share.
struct Work {
    requests: Vec<(Bytes, u64)>,
    tally: Tally,
    spans: u64,
    deadline: Option<Instant>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let requests = traffic::requests()?.requests;
    let counted: Result<Vec<_>> =
        requests.into_iter().map(|request| Ok((request.clone(), wire::count(&request)?))).collect();
    let mut channels = Vec::with_capacity(args.connections);
    for _ in 0..args.connections.max(1) {
        channels.push(Endpoint::from_shared(format!("http://{}", args.target))?.connect().await?);
    }
    let started = Instant::now();
    let work = Arc::new(Work {
        requests: counted?,
        tally: Tally::default(),
        spans: args.spans,
        deadline: args.seconds.map(|seconds| started + Duration::from_secs(seconds)),
    });
    let mut workers = JoinSet::new();
    for number in 0..args.in_flight {
        // Each worker has its share of the connections and takes them in turn.
        let own = channels.iter().skip(number % channels.len()).step_by(args.in_flight).cloned().collect();
        workers.spawn(send(Arc::clone(&work), own));
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let Tally { requests, spans, bytes, refused, .. } = &work.tally;
    println!(
        "{}",
        json!({
            "requests": count(requests), "spans": count(spans), "bytes": count(bytes),
            "refused": count(refused), "seconds": started.elapsed().as_secs_f64(), "cpu_seconds": cpu_seconds(),
        })
    );
    Ok(())
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call writes to the place given and keeps no reference; zeros are a valid value.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

async fn send(work: Arc<Work>, channels: Vec<Channel>) -> Result<()> {
    let add = |counter: &AtomicU64, number: u64| counter.fetch_add(number, Ordering::Relaxed);
    let mut clients: Vec<_> = channels.into_iter().map(tonic::client::Grpc::new).collect();
    let Some(mut turn) = (!clients.is_empty()).then_some(0usize) else { bail!("a worker without a connection") };
    loop {
        let over = match work.deadline {
            Some(deadline) => Instant::now() >= deadline,
            None => work.tally.spans.load(Ordering::Relaxed) >= work.spans,
        };
        if over {
            return Ok(());
        }
        let number = add(&work.tally.next, 1) as usize % work.requests.len().max(1);
        let Some((request, spans)) = work.requests.get(number) else { bail!("there is nothing to send") };
        turn = (turn + 1) % clients.len();
        let Some(client) = clients.get_mut(turn) else { bail!("a worker without a connection") };
        loop {
            client.ready().await?;
            let path = PathAndQuery::from_static(EXPORT);
            match client.unary(tonic::Request::new(request.clone()), path, Raw).await {
                Ok(_) => break,
                // Full is an answer too: the same request again, a little later.
                Err(status) if status.code() == Code::Unavailable => {
                    add(&work.tally.refused, 1);
                    if work.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        return Ok(());
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(status) => return Err(status.into()),
            }
        }
        add(&work.tally.requests, 1);
        add(&work.tally.spans, *spans);
        add(&work.tally.bytes, request.len() as u64);
    }
}
