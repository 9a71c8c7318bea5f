//! Clients that send every request once: eight on connections that they keep, others on a new connection
//! for each request.
//!
//! There is one exception, which gRPC calls a transparent retry: a client of HTTP/2 may have taken a
//! connection for a request when it learns that the server takes nothing new there (GOAWAY without an
//! error). The server has not seen that request, and the client knows. The client library that is used here
//! leaves that to its user.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use h2::Reason;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::send::Grpc;
use crate::shop::otlp::Exporter;
use crate::soak::{SpanId, ids};
use crate::wait;

/// Connections that are kept, of each protocol.
const KEPT: u64 = 4;
const SPANS: usize = 10;
/// Between two requests of a client.
const PACE: Duration = Duration::from_millis(5);

/// A request, once it is over.
pub(super) struct Sent {
    /// Its spans, if it was answered with success.
    pub(super) spans: Vec<SpanId>,
    /// Whether its connection had others before it or after it.
    pub(super) kept: bool,
    /// Until the answer.
    pub(super) lasted: Duration,
    /// Whether it was sent on another connection because of a GOAWAY.
    pub(super) moved: bool,
    /// What went wrong.
    pub(super) failure: Option<String>,
}

/// Clients that go on until told to stop.
pub(super) struct Load {
    tasks: Vec<tokio::task::JoinHandle<Result<Vec<Sent>>>>,
    stop: Arc<AtomicBool>,
}

/// Who sends.
enum Client {
    Grpc(Grpc),
    Http(Http),
    /// A gRPC connection for each request.
    NewGrpc(SocketAddr),
    /// Asks for figures.
    Figures(SocketAddr),
}

impl Load {
    pub(super) fn start(grpc: SocketAddr, http: SocketAddr, figures: SocketAddr, seed: u64) -> Result<Self> {
        let mut clients = vec![Client::NewGrpc(grpc), Client::Http(Http::new(http, false)), Client::Figures(figures)];
        for _ in 0..KEPT {
            clients.push(Client::Grpc(Grpc::new(grpc)?));
            clients.push(Client::Http(Http::new(http, true)));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let start = |(number, client): (u64, Client)| {
            wait::runtime().spawn(send_on(client, Exporter::new(seed ^ (number << 32)), Arc::clone(&stop)))
        };
        let tasks = (0..).zip(clients).map(start).collect();
        Ok(Self { tasks, stop })
    }

    /// Stops, and gives all requests.
    pub(super) fn end(self) -> Result<Vec<Sent>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(wait::runtime().block_on(task).context("a client has died")??);
        }
        Ok(all)
    }
}

async fn send_on(mut client: Client, mut exporter: Exporter, stop: Arc<AtomicBool>) -> Result<Vec<Sent>> {
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let request = exporter.request(SPANS);
        let began = Instant::now();
        let (answered, moved) = client.send_once(request.clone()).await;
        let lasted = began.elapsed();
        let (has_spans, kept) = (!matches!(client, Client::Figures(_)), client.is_kept());
        let spans = if answered.is_ok() && has_spans { ids(&request)? } else { Vec::new() };
        let failure = answered.err().map(|error| format!("{}: {error:#}", client.name()));
        all.push(Sent { spans, kept, lasted, moved, failure });
        tokio::time::sleep(PACE).await;
    }
    Ok(all)
}

/// Whether the server has not seen this request: its connection was on its way out before the request was
/// on it, or the server has said, without an error, that it takes nothing new.
fn is_unseen(error: &anyhow::Error) -> bool {
    if error.chain().filter_map(|error| error.downcast_ref()).any(hyper::Error::is_canceled) {
        return true;
    }
    let unseen =
        |error: &h2::Error| error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
    error.chain().filter_map(|error| error.downcast_ref()).any(unseen)
}

impl Client {
    /// Sends a request; tells whether it was moved to another connection.
    async fn send_once(&mut self, request: Bytes) -> (Result<()>, bool) {
        match self.send(request.clone()).await {
            Err(error) if is_unseen(&error) => (self.send(request).await, true),
            answered => (answered, false),
        }
    }

    async fn send(&mut self, request: Bytes) -> Result<()> {
        match self {
            Self::Grpc(grpc) => drop(grpc.export(request).await?),
            Self::NewGrpc(to) => drop(Grpc::new(*to)?.export(request).await?),
            Self::Http(http) => http.send(Method::POST, "/v1/traces", request).await?,
            Self::Figures(at) => Http::new(*at, false).send(Method::GET, "/metrics", Bytes::new()).await?,
        }
        Ok(())
    }

    fn is_kept(&self) -> bool {
        matches!(self, Self::Grpc(_) | Self::Http(Http { keeps: true, .. }))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Grpc(_) => "gRPC",
            Self::NewGrpc(_) => "gRPC, new connection",
            Self::Http(Http { keeps: true, .. }) => "HTTP",
            Self::Http(_) => "HTTP, new connection",
            Self::Figures(_) => "/metrics",
        }
    }
}

/// An HTTP/1.1 client that connects again when its connection was closed before it had sent anything, and
/// sends nothing twice.
struct Http {
    to: SocketAddr,
    keeps: bool,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Http {
    fn new(to: SocketAddr, keeps: bool) -> Self {
        Self { to, keeps, connection: None }
    }

    async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<()> {
        let mut connection = self.connected().await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.to.to_string())
            .header("content-type", "application/x-protobuf")
            .body(Full::new(body))?;
        let answer = connection.send_request(request).await?;
        let status = answer.status();
        answer.into_body().collect().await?;
        self.connection = Some(connection).filter(|_| self.keeps);
        ensure!(status.is_success(), "answered with {status}");
        Ok(())
    }

    async fn connected(&mut self) -> Result<SendRequest<Full<Bytes>>> {
        if let Some(mut connection) = self.connection.take()
            && connection.ready().await.is_ok()
        {
            return Ok(connection);
        }
        let stream = TcpStream::connect(self.to).await.context("cannot connect")?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(connection)
    }
}
