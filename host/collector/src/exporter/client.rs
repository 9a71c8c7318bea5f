//! The HTTP client that the OTLP exporters share: one pool of connections a destination, made
//! when there is something to send, over TLS or not.

mod gathering;
mod rope;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower_service::Service;

use self::gathering::Gathering;
use super::sender::{Refusal, Retry};
use crate::config::section::Section;
use crate::otlp::compression::Encoding;
use crate::tls;

pub(super) use crate::tls::client::Tls;
pub(super) use rope::Rope;

/// OTLP: a client bounds what it reads of an answer.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Chunks below this are copied together: one write takes only so many pieces.
const SMALL_BYTES: usize = 2 * 1024;
/// How large the copies become.
const PIECE_BYTES: usize = 64 * 1024;

/// A body below this is compressed where it is; a larger one would keep the core from others.
const INLINE_BYTES: usize = 16 * 1024;

/// A peer that does not acknowledge what we sent has vanished; without this the kernel would
/// wait for a quarter of an hour.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// The Collector's `idle_conn_timeout`.
const IDLE: Duration = Duration::from_secs(90);

/// What an answer may keep unread; answers are tiny.
const WINDOW: u32 = 1024 * 1024;

/// What goes to a HTTP/2 connection before it is written: more than a whole request.
const SEND_BUFFER: usize = 4 * 1024 * 1024;

/// Copies small neighbours together and leaves large chunks as they are.
pub(super) fn gather(chunks: Vec<Bytes>) -> Vec<Bytes> {
    if chunks.len() < 2 {
        return chunks;
    }
    let (mut pieces, mut small) = (Vec::new(), BytesMut::new());
    for chunk in chunks {
        if chunk.len() < SMALL_BYTES {
            small.extend_from_slice(&chunk);
            if small.len() >= PIECE_BYTES {
                pieces.push(small.split().freeze());
            }
        } else {
            if !small.is_empty() {
                pieces.push(small.split().freeze());
            }
            pieces.push(chunk);
        }
    }
    if !small.is_empty() {
        pieces.push(small.freeze());
    }
    pieces
}

/// Compresses the chunks of one request, a large one beside the core's other work.
pub(super) async fn compress(encoding: Encoding, chunks: Vec<Bytes>) -> Result<Bytes, Refusal> {
    let bytes: usize = chunks.iter().map(Bytes::len).sum();
    let compressed = if bytes <= INLINE_BYTES {
        encoding.compress(&chunks)
    } else {
        let task = tokio::task::spawn_blocking(move || encoding.compress(&chunks));
        task.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    };
    compressed.map(Bytes::from).map_err(|error| Refusal {
        reason: "internal".to_owned(),
        message: format!("cannot compress: {error}"),
        retry: Retry::Never,
        maybe_taken: false,
    })
}

/// Makes connections that gather their writes.
#[derive(Debug, Clone)]
struct Connector(HttpConnector);

impl Service<Uri> for Connector {
    type Response = Gathering<TokioIo<TcpStream>>;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move { Ok(Gathering::new(connecting.await?)) })
    }
}

/// A pool of connections. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    client: hyper_util::client::legacy::Client<tls::client::Connector<Connector>, Full<Rope>>,
}

/// What differs between the pools of gRPC and of HTTP.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Speak HTTP/2 without asking.
    pub http2_only: bool,
    /// Silence after which a connection with requests in flight is probed, and how long the answer
    /// may take.
    pub keepalive: Option<(Duration, Duration)>,
    /// Probe without requests in flight as well.
    pub keepalive_while_idle: bool,
}

impl Pool {
    /// A pool without connections.
    pub fn new(tls: &Tls, shape: Shape) -> Result<Self, String> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(15)));
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let connector = tls::client::Connector::new(tls, shape.http2_only, Connector(tcp))?;
        let mut builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http2_only(shape.http2_only)
            .http2_initial_stream_window_size(WINDOW)
            .http2_initial_connection_window_size(WINDOW)
            .http2_max_send_buf_size(SEND_BUFFER)
            .http2_keep_alive_while_idle(shape.keepalive_while_idle);
        if let Some((time, timeout)) = shape.keepalive {
            builder.http2_keep_alive_interval(time).http2_keep_alive_timeout(timeout);
        }
        Ok(Self { client: builder.build(connector) })
    }

    /// Sends a request; the answer's body is still to be read.
    pub async fn send(&self, request: Request<Rope>) -> Result<Response<Incoming>, Lost> {
        self.client
            .request(request.map(Full::new))
            .await
            .map_err(|error| Lost { message: with_causes(&error), maybe_taken: !error.is_connect() })
    }
}

/// The bound on an attempt: a duration, or nothing where it is zero, as in the Collector.
pub(super) fn timeout(section: &mut Section<'_>, default: Duration) -> Option<Duration> {
    Some(section.duration_or("timeout", default)).filter(|timeout| !timeout.is_zero())
}

/// Waits for what comes of an attempt. An error says that nothing has, in time.
pub(super) async fn within<T>(timeout: Option<Duration>, attempt: impl Future<Output = T>) -> Result<T, String> {
    match timeout {
        None => Ok(attempt.await),
        Some(timeout) => {
            tokio::time::timeout(timeout, attempt).await.map_err(|_| format!("no answer within {timeout:?}"))
        }
    }
}

/// There is no answer.
#[derive(Debug)]
pub(super) struct Lost {
    /// Why.
    pub message: String,
    /// Something of the request may have arrived.
    pub maybe_taken: bool,
}

impl From<String> for Lost {
    /// What goes wrong while the answer is read.
    fn from(message: String) -> Self {
        Self { message, maybe_taken: true }
    }
}

/// Reads a whole answer with its trailers, within bounds.
pub(super) async fn read(mut body: Incoming) -> Result<(Bytes, Option<http::HeaderMap>), String> {
    let (mut whole, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| with_causes(&error))?.into_data() {
            Ok(data) if whole.len() + data.len() > MAX_ANSWER_BYTES => {
                return Err(format!("the answer is larger than {MAX_ANSWER_BYTES} bytes"));
            }
            Ok(data) => whole.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((whole.freeze(), trailers))
}

/// An endpoint with its scheme: the one it has, else what `tls.insecure` says.
pub(super) fn with_scheme(endpoint: &str, insecure: bool) -> String {
    let endpoint = endpoint.strip_prefix("dns:///").unwrap_or(endpoint);
    match endpoint.split_once("://") {
        Some(_) => endpoint.to_owned(),
        None if insecure => format!("http://{endpoint}"),
        None => format!("https://{endpoint}"),
    }
}

/// A URL that we can send to; `form` says how it is written.
pub(super) fn parse(url: &str, form: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|error| format!("`{url}` is no address: it has to be {form} ({error})"))?;
    // What follows the host can be anything to `Uri`.
    if let Some(port) = port_of(&uri).filter(|_| matches!(uri.port_u16(), None | Some(0))) {
        return Err(format!("`{url}` is no address: `{port}` is no port to send to"));
    }
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        _ => Err(format!("`{url}` is no address: it has to be {form}")),
    }
}

/// The port as it is written, if one is.
fn port_of(uri: &Uri) -> Option<&str> {
    let authority = uri.authority()?;
    let host_and_port = authority.as_str().rsplit('@').next()?;
    host_and_port.strip_prefix(authority.host())?.strip_prefix(':')
}

/// An error with what is behind it, which is where the reason is.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(url: &str) -> Result<Uri, String> {
        super::parse(url, "a URL")
    }

    #[test]
    fn small_chunks_are_gathered_in_order_and_large_ones_left_alone() {
        let large = Bytes::from(vec![9; SMALL_BYTES]);
        let chunks = vec![Bytes::from_static(b"a"), Bytes::from_static(b"b"), large.clone(), Bytes::from_static(b"c")];
        let pieces = gather(chunks.clone());
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces.concat(), chunks.concat());
        assert!(pieces.iter().any(|piece| piece.as_ptr() == large.as_ptr()), "not copied");
    }

    #[test]
    fn a_scheme_outweighs_insecure() {
        assert_eq!(with_scheme("host:4317", true), "http://host:4317");
        assert_eq!(with_scheme("host:4317", false), "https://host:4317");
        assert_eq!(with_scheme("http://host:4317", false), "http://host:4317");
        assert_eq!(with_scheme("https://host:4317", true), "https://host:4317");
        assert!(parse("ftp://host").is_err());
        assert!(parse("https://").is_err());
    }

    #[test]
    fn a_port_that_is_none_is_refused_and_none_at_all_is_the_scheme_s() {
        for good in ["http://h", "https://h:1", "http://me:99999@h:65535/v1", "http://[::1]:4317", "http://[::1]/x"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for port in ["0", "65536", "99999", "abc", "", "-1"] {
            let refused = parse(&format!("http://h:{port}/v1")).unwrap_err();
            assert!(refused.contains(&format!("h:{port}")), "{refused}");
        }
        let refused = parse("https://localhost:99999").unwrap_err();
        assert_eq!(refused, "`https://localhost:99999` is no address: `99999` is no port to send to");
    }
}
