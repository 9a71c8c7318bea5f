//! A load generator: so many requests in flight, all encoded beforehand, over so many gRPC
//! connections, the next one sent when an answer comes. Prints one JSON line in the end.
//!
//! What it costs is taken from the process that is measured, so it uses HTTP/2 directly, on one
//! thread, and sends the same bytes again and again without a copy.

#![expect(clippy::print_stdout, reason = "stdout is this program's interface")]

use std::cell::Cell;
use std::io::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use clap::Parser;
use flate2::Compression;
use flate2::write::GzEncoder;
use h2::client::{self, SendRequest};
use http::{HeaderMap, Request};
use serde_json::json;
use sluice_tests::codec::EXPORT;
use sluice_tests::{traffic, wire};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

/// gRPC's code for: not now, try again.
const UNAVAILABLE: &str = "14";

/// When a request is sent again that was refused.
const AGAIN: Duration = Duration::from_millis(20);

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
    /// Send what gzip made of the requests beforehand.
    #[arg(long)]
    gzip: bool,
}

#[derive(Default)]
struct Tally {
    next: Cell<usize>,
    requests: Cell<u64>,
    spans: Cell<u64>,
    bytes: Cell<u64>,
    refused: Cell<u64>,
}

/// A request, ready to be sent.
struct Ready {
    /// A gRPC message with its head.
    message: Bytes,
    spans: u64,
    /// Its size before it was compressed.
    bytes: u64,
}

/// What all workers share.
struct Work {
    /// The head of every request.
    head: Request<()>,
    requests: Vec<Ready>,
    tally: Tally,
    spans: u64,
    deadline: Option<Instant>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let requests = traffic::requests()?.requests;
    let requests = requests.iter().map(|request| ready(request, args.gzip)).collect::<Result<Vec<_>>>()?;
    ensure!(!requests.is_empty(), "there is nothing to send");
    LocalSet::new().run_until(run(&args, requests)).await
}

async fn run(args: &Args, requests: Vec<Ready>) -> Result<()> {
    let mut connections = Vec::with_capacity(args.connections);
    for _ in 0..args.connections.max(1) {
        connections.push(connect(args.target).await?);
    }
    let started = Instant::now();
    let work = Rc::new(Work {
        head: head(args)?,
        requests,
        tally: Tally::default(),
        spans: args.spans,
        deadline: args.seconds.map(|seconds| started + Duration::from_secs(seconds)),
    });
    let mut workers = JoinSet::new();
    for number in 0..args.in_flight {
        // Each worker has its share of the connections and takes them in turn.
        let own = connections.iter().skip(number % connections.len()).step_by(args.in_flight).cloned().collect();
        workers.spawn_local(send(Rc::clone(&work), own));
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    let Tally { requests, spans, bytes, refused, .. } = &work.tally;
    println!(
        "{}",
        json!({
            "requests": requests.get(), "spans": spans.get(), "bytes": bytes.get(),
            "refused": refused.get(), "seconds": started.elapsed().as_secs_f64(), "cpu_seconds": cpu_seconds(),
        })
    );
    Ok(())
}

fn ready(request: &Bytes, gzip: bool) -> Result<Ready> {
    let body = if gzip {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(request)?;
        encoder.finish()?
    } else {
        request.to_vec()
    };
    let length = u32::try_from(body.len())?.to_be_bytes();
    let message = [&[u8::from(gzip)], &length[..], &body].concat().into();
    Ok(Ready { message, spans: wire::count(request)?, bytes: request.len() as u64 })
}

fn head(args: &Args) -> Result<Request<()>> {
    let uri = format!("http://{}{EXPORT}", args.target);
    let mut head = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
    if args.gzip {
        head = head.header("grpc-encoding", "gzip");
    }
    Ok(head.body(())?)
}

/// Opens a connection; a task of its own serves it.
async fn connect(target: SocketAddr) -> Result<SendRequest<Bytes>> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = client::handshake(stream).await?;
    // When it breaks, whoever sends on it is told.
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(sender)
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

async fn send(work: Rc<Work>, mut connections: Vec<SendRequest<Bytes>>) -> Result<()> {
    let add = |counter: &Cell<u64>, number: u64| counter.set(counter.get() + number);
    let Work { requests, tally, .. } = &*work;
    let mut turn = 0;
    loop {
        let over = match work.deadline {
            Some(deadline) => Instant::now() >= deadline,
            None => tally.spans.get() >= work.spans,
        };
        if over {
            return Ok(());
        }
        let number = tally.next.replace(tally.next.get() + 1) % requests.len().max(1);
        let request = requests.get(number).context("there is nothing to send")?;
        turn = (turn + 1) % connections.len().max(1);
        let connection = connections.get_mut(turn).context("a worker without a connection")?;
        while !is_taken(connection, &work.head, &request.message).await? {
            // Full is an answer too: the same request again, a little later.
            add(&tally.refused, 1);
            if work.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(());
            }
            tokio::time::sleep(AGAIN).await;
        }
        add(&tally.requests, 1);
        add(&tally.spans, request.spans);
        add(&tally.bytes, request.bytes);
    }
}

/// Sends a request; whether it was taken, or refused for now.
async fn is_taken(connection: &mut SendRequest<Bytes>, head: &Request<()>, message: &Bytes) -> Result<bool> {
    let mut sender = connection.clone().ready().await?;
    let (answer, mut body) = sender.send_request(head.clone(), false)?;
    // HTTP/2 keeps what the receiver has no room for yet; there are only so many in flight.
    body.send_data(message.clone(), true)?;
    let answer = answer.await?;
    if let Some(status) = status(answer.headers()) {
        return is_success(status, answer.headers());
    }
    let mut body = answer.into_body();
    while let Some(chunk) = body.data().await {
        body.flow_control().release_capacity(chunk?.len())?;
    }
    let trailers = body.trailers().await?.context("an answer without trailers")?;
    is_success(status(&trailers).context("an answer without a status")?, &trailers)
}

fn status(headers: &HeaderMap) -> Option<&str> {
    headers.get("grpc-status")?.to_str().ok()
}

fn is_success(status: &str, headers: &HeaderMap) -> Result<bool> {
    match status {
        "0" => Ok(true),
        UNAVAILABLE => Ok(false),
        other => bail!("answered with status {other}: {:?}", headers.get("grpc-message")),
    }
}
