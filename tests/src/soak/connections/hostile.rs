//! Who is connected and means harm, or is only very slow.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::wire::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, MAX_FRAME, PREFACE, bombs, frame, head, header, http1_head,
};

/// How slow slow is: a byte a second.
const SLOW: Duration = Duration::from_secs(1);
/// What their sockets hold for them.
const LITTLE: u32 = 4096;
/// Requests at a time whose answers are not read.
const ASKED: usize = 1000;
/// Between two attacks of those that come again and again.
const PAUSE: Duration = Duration::from_millis(200);
/// How long they wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one connection does for as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Says nothing.
    HalfOpen,
    /// A byte of an HTTP/1 head a second.
    SlowHead,
    /// A byte of an HTTP/1 body a second.
    SlowBody,
    /// A byte of a gRPC message a second.
    SlowStream,
    /// Requests over HTTP/1 whose answers are not read.
    SlowReader,
    /// The same over gRPC.
    SlowGrpcReader,
    /// As much of a message as the server lets it send, and no more.
    Filler,
    /// A thousand streams that are begun and never ended.
    Crowd,
}

impl Kind {
    /// Of twenty connections.
    pub(super) const OF_TWENTY: [Self; 20] = [
        Self::HalfOpen,
        Self::SlowHead,
        Self::SlowBody,
        Self::SlowStream,
        Self::SlowReader,
        Self::Filler,
        Self::HalfOpen,
        Self::SlowHead,
        Self::SlowBody,
        Self::SlowStream,
        Self::Crowd,
        Self::HalfOpen,
        Self::SlowHead,
        Self::SlowBody,
        Self::SlowStream,
        Self::SlowGrpcReader,
        Self::Filler,
        Self::HalfOpen,
        Self::SlowReader,
        Self::HalfOpen,
    ];

    /// What `number` of so many does.
    pub(super) fn of(number: usize) -> Self {
        Self::OF_TWENTY[number % Self::OF_TWENTY.len()]
    }

    fn speaks_grpc(self) -> bool {
        matches!(self, Self::SlowStream | Self::SlowGrpcReader | Self::Filler | Self::Crowd)
    }

    /// Connects and does it, until the server has enough of it.
    pub(super) async fn attack(self, grpc: SocketAddr, http: SocketAddr, request: Bytes) -> Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(LITTLE)?;
        let mut stream = socket.connect(if self.speaks_grpc() { grpc } else { http }).await?;
        let prefix = [0, 0, 64, 0, 0];
        match self {
            Self::HalfOpen => {}
            Self::SlowHead => slowly(&mut stream, http1_head(10, "").as_bytes()).await?,
            Self::SlowBody => {
                stream.write_all(http1_head(request.len(), "").as_bytes()).await?;
                slowly(&mut stream, &request).await?;
            }
            Self::SlowStream => {
                stream.write_all(&[PREFACE, &head(1), &frame(DATA, 0, 1, &prefix)].concat()).await?;
                loop {
                    stream.write_all(&frame(DATA, 0, 1, b"x")).await?;
                    sleep(SLOW).await;
                }
            }
            // More answers than sockets hold.
            Self::SlowReader => stream.write_all(&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(ASKED)).await?,
            Self::SlowGrpcReader => {
                stream.write_all(PREFACE).await?;
                let length = (request.len() as u32).to_be_bytes();
                let message = [&[0], &length[..], &request].concat();
                for number in 0.. {
                    let id = number * 2 + 1;
                    stream.write_all(&[head(id), frame(DATA, END_STREAM, id, &message)].concat()).await?;
                    sleep(SLOW).await;
                }
            }
            Self::Filler => {
                stream.write_all(&[PREFACE, &head(1), &frame(DATA, 0, 1, &prefix)].concat()).await?;
                let mut left = window(&mut stream).await? - prefix.len();
                while left > 0 {
                    let size = left.min(MAX_FRAME);
                    stream.write_all(&frame(DATA, 0, 1, &vec![0; size])).await?;
                    left -= size;
                }
            }
            Self::Crowd => {
                stream.write_all(PREFACE).await?;
                for number in 0..1000 {
                    stream.write_all(&head(number * 2 + 1)).await?;
                }
            }
        }
        // Until the server hangs up; nothing is read from it.
        std::future::pending().await
    }
}

async fn slowly(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        sleep(SLOW).await;
    }
    Ok(())
}

/// How much the server's settings let a client send on a stream: 65,535 if they do not say.
async fn window(stream: &mut TcpStream) -> Result<usize> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let mut settings = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut settings).await?;
    let initial = settings.chunks_exact(6).find(|setting| setting[..2] == [0, 4]);
    Ok(initial.map_or(65_535, |setting| u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]) as usize))
}

/// Attacks that end soon and come again and again.
#[derive(Debug, Clone)]
pub(super) enum Again {
    /// A body, and what it is packed by.
    Bomb(&'static str, Bytes),
    /// A head of 10 MB over HTTP/1.
    Head,
    /// A head of 10 MB over HTTP/2.
    Continuations,
    /// Frames of no meaning.
    Noise(u64),
}

impl Again {
    /// One of each.
    pub(super) fn all(seed: u64) -> Result<Vec<Self>> {
        let bombs = bombs()?.map(|(encoding, body)| Self::Bomb(encoding, body.into()));
        Ok([&bombs[..], &[Self::Head, Self::Continuations, Self::Noise(seed)]].concat())
    }

    /// Does it again and again; what becomes of one is of no interest.
    pub(super) async fn go_on(mut self, grpc: SocketAddr, http: SocketAddr) {
        loop {
            let _ = timeout(PATIENCE, self.once(grpc, http)).await;
            sleep(PAUSE).await;
        }
    }

    async fn once(&mut self, grpc: SocketAddr, http: SocketAddr) -> Result<()> {
        let (to, bytes) = match self {
            Self::Bomb(encoding, body) => {
                let head = http1_head(body.len(), &format!("content-encoding: {encoding}\r\nconnection: close\r\n"));
                (http, [head.as_bytes(), body].concat())
            }
            Self::Head => (http, http1_head(0, &format!("x-large: {}\r\n", "x".repeat(10_000_000))).into_bytes()),
            Self::Continuations => {
                let piece: Vec<u8> = header("x-large", &"x".repeat(100)).repeat(MAX_FRAME / 110);
                let mut frames = [PREFACE, &frame(HEADERS, 0, 1, &piece)].concat();
                while frames.len() < 10_000_000 {
                    frames.extend(frame(CONTINUATION, 0, 1, &piece));
                }
                frames.extend(frame(CONTINUATION, END_HEADERS, 1, &[]));
                (grpc, frames)
            }
            Self::Noise(seed) => {
                *seed += 1;
                let mut chance = StdRng::seed_from_u64(*seed);
                let mut frames = PREFACE.to_vec();
                for _ in 0..chance.random_range(1..50) {
                    let mut payload = vec![0; chance.random_range(0..100)];
                    chance.fill_bytes(&mut payload);
                    frames.extend(frame(
                        chance.random_range(0..12),
                        chance.random(),
                        chance.random_range(0..9),
                        &payload,
                    ));
                }
                (grpc, frames)
            }
        };
        let mut stream = TcpStream::connect(to).await?;
        // Who is hung up on in the middle has its answer.
        let _ = stream.write_all(&bytes).await;
        let mut answer = [0; 4096];
        while stream.read(&mut answer).await? > 0 {}
        Ok(())
    }
}
