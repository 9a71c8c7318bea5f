//! A sink for measuring: takes gRPC requests, counts the spans in them as their bytes pass by,
//! keeps nothing and answers success. What it costs is taken from the process that is measured,
//! so it speaks HTTP/2 without a framework, on one thread, copies nothing, and has its answers ready.
//!
//! It takes uncompressed messages only. Anything else ends the connection, so that a measurement
//! of it fails. What a client says of its requests (path, headers) is not looked at.

mod spans;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Totals;
use crate::http2::{self, Block, Frames, Head, Peer};

use spans::SpanCounter;

/// Bytes that a sender may have on its way, so that it never waits for us.
const WINDOW_BYTES: u32 = 64 << 20;

/// Senders are told of new room when half of it is used up.
const TELL_BYTES: u32 = WINDOW_BYTES / 2;

/// What is read at once, at most. It fits into a core's own cache.
const READ_BYTES: usize = 256 * 1024;

/// A gRPC message without content, which is OTLP's full success: not compressed, no bytes.
const EMPTY_MESSAGE: &[u8] = &[0; MESSAGE_HEAD];

/// The head of a gRPC message: whether it is compressed, and its length.
const MESSAGE_HEAD: usize = 5;

/// `:status: 200` in the table that everybody has (RFC 7541, appendix A).
const STATUS_OK: u8 = 0x88;

/// A running sink that counts. It runs until the process ends.
pub struct CountingSink {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    spans: AtomicU64,
    bytes: AtomicU64,
}

impl CountingSink {
    /// Starts one on a thread of its own.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(address: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(address)).with_context(|| address.to_owned())?;
        let (address, counts) = (listener.local_addr()?, Arc::new(Counts::default()));
        let shared = Arc::clone(&counts);
        thread::Builder::new().name("sink".to_owned()).spawn(move || runtime.block_on(accept(listener, shared)))?;
        Ok(Self { address, counts })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What arrived so far.
    pub fn totals(&self) -> Totals {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let requests = count(&self.counts.requests);
        Totals { attempts: requests, requests, spans: count(&self.counts.spans), bytes: count(&self.counts.bytes) }
    }
}

async fn accept(listener: TcpListener, counts: Arc<Counts>) {
    while let Ok((stream, _)) = listener.accept().await {
        let counts = Arc::clone(&counts);
        tokio::spawn(async move {
            if let Err(error) = connection(stream, counts).await {
                eprintln!("sink: {error:#}");
            }
        });
    }
}

async fn connection(mut stream: TcpStream, counts: Arc<Counts>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut preface = [0; http2::PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    ensure!(preface == *http2::PREFACE, "this is not HTTP/2 without TLS");
    let (mut frames, mut server) = (Frames::default(), Server::new(counts));
    let mut buffer = vec![0; READ_BYTES];
    loop {
        stream.write_all(&server.out).await?;
        server.out.clear();
        let read = match stream.read(&mut buffer).await {
            // A client that is gone has nothing to be told.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            read => read?,
        };
        if read == 0 {
            return Ok(());
        }
        frames.read(buffer.get(..read).unwrap_or_default(), &mut server)?;
    }
}

/// The server's side of a connection.
struct Server {
    counts: Arc<Counts>,
    requests: HashMap<u32, Request>,
    /// Bytes that came since the client was last told of room.
    taken: u32,
    has_answered: bool,
    head: Block,
    trailers: Block,
    /// What is to be written.
    out: Vec<u8>,
}

/// A request that is coming in.
#[derive(Default)]
struct Request {
    /// The head of its message, as far as it is there.
    head: Vec<u8>,
    spans: SpanCounter,
    /// The bytes of its message so far.
    bytes: u64,
    /// Bytes that came since the client was last told of room.
    taken: u32,
}

impl Server {
    fn new(counts: Arc<Counts>) -> Self {
        let mut out = Vec::new();
        http2::put_settings(&mut out, &[(http2::INITIAL_WINDOW_SIZE, WINDOW_BYTES)]);
        http2::put(&mut out, http2::WINDOW_UPDATE, 0, 0, &(WINDOW_BYTES - http2::WINDOW).to_be_bytes());
        Self {
            counts,
            requests: HashMap::new(),
            taken: 0,
            has_answered: false,
            head: Block::new(&[STATUS_OK], &[("content-type", "application/grpc")], 1),
            trailers: Block::new(&[], &[("grpc-status", "0")], 0),
            out,
        }
    }

    /// Counts a request that is whole, and answers it.
    fn answer(&mut self, stream: u32, request: Request) -> Result<()> {
        let length = request.head.last_chunk().map(|length| u64::from(u32::from_be_bytes(*length)));
        let is_whole = request.head.first() == Some(&0) && length == Some(request.bytes);
        ensure!(is_whole, "a message that is compressed or cut off");
        let spans = request.spans.finish()?;
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        self.counts.spans.fetch_add(spans, Ordering::Relaxed);
        self.counts.bytes.fetch_add(request.bytes, Ordering::Relaxed);
        let (head, trailers) = if std::mem::replace(&mut self.has_answered, true) {
            (&self.head.later, &self.trailers.later)
        } else {
            (&self.head.first, &self.trailers.first)
        };
        http2::put(&mut self.out, http2::HEADERS, http2::END_HEADERS, stream, head);
        http2::put(&mut self.out, http2::DATA, 0, stream, EMPTY_MESSAGE);
        http2::put(&mut self.out, http2::HEADERS, http2::END_HEADERS | http2::END_STREAM, stream, trailers);
        Ok(())
    }
}

impl Peer for Server {
    fn data(&mut self, stream: u32, piece: &[u8], is_last: bool) -> Result<()> {
        let length = piece.len() as u32;
        give_room(&mut self.out, &mut self.taken, 0, length);
        // What comes of a request that its client broke off counts for the connection only.
        let Some(request) = self.requests.get_mut(&stream) else { return Ok(()) };
        let missing = (MESSAGE_HEAD - request.head.len()).min(piece.len());
        let (first, rest) = piece.split_at(missing);
        request.head.extend_from_slice(first);
        request.spans.read(rest)?;
        request.bytes += rest.len() as u64;
        if !is_last {
            give_room(&mut self.out, &mut request.taken, stream, length);
            return Ok(());
        }
        let request = self.requests.remove(&stream).unwrap_or_default();
        self.answer(stream, request)
    }

    fn frame(&mut self, head: Head, payload: &[u8]) -> Result<()> {
        match head.kind {
            http2::HEADERS => {
                ensure!(head.flags & http2::END_STREAM == 0, "a request without a message, or with trailers");
                self.requests.insert(head.stream, Request::default());
            }
            http2::RST_STREAM => drop(self.requests.remove(&head.stream)),
            http2::SETTINGS if head.flags & http2::ACK == 0 => {
                for (setting, value) in http2::settings(payload)? {
                    let is_small = setting == http2::HEADER_TABLE_SIZE && value < http2::TABLE_BYTES;
                    ensure!(!is_small, "a table of headers of {value} bytes is not supported");
                }
                http2::put(&mut self.out, http2::SETTINGS, http2::ACK, 0, &[]);
            }
            http2::PING if head.flags & http2::ACK == 0 => {
                http2::put(&mut self.out, http2::PING, http2::ACK, 0, payload);
            }
            // Answers are smaller than any window. Nothing else asks for anything.
            _ => {}
        }
        Ok(())
    }
}

/// Notes that bytes came, and tells the client of new room for a stream when it is time.
fn give_room(out: &mut Vec<u8>, taken: &mut u32, stream: u32, length: u32) {
    *taken += length;
    if *taken >= TELL_BYTES {
        http2::put(out, http2::WINDOW_UPDATE, 0, stream, &taken.to_be_bytes());
        *taken = 0;
    }
}
