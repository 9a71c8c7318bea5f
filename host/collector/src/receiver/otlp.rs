//! The `otlp` receiver: OTLP over gRPC and over HTTP, each on a port of its own.

mod answer;
mod body;
mod connection;
mod grpc;
mod http;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::watch;

use answer::Problem;

use super::listener::accept;
use super::{Admission, BindError, Context, Counters, Endpoint, Listener, Phase, Running, Submit};
use crate::config::section::{NOT_YET, Section};
use crate::cores::Dealer;
use crate::intake::Refused;
use crate::otlp::TRACES_PATH;

/// What OTLP recommends, after decompression.
const MAX_REQUEST_MIB: u64 = 64;

/// Streams of one connection at a time. The Collector has no limit; this one no client meets that
/// waits for answers, and an attacker's streams stay countable.
const MAX_STREAMS: u64 = 1024;

/// gRPC's own default: a ping after two hours of silence.
const KEEPALIVE_TIME: Duration = Duration::from_hours(2);
/// How long the answer to it may take.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The settings of an `otlp` receiver. A protocol that is not configured is off.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// OTLP/gRPC.
    pub grpc: Option<Grpc>,
    /// OTLP/HTTP.
    pub http: Option<Http>,
}

/// How OTLP/gRPC is served.
#[derive(Debug, Clone, PartialEq)]
pub struct Grpc {
    /// Where.
    pub endpoint: Endpoint,
    /// The largest request after decompression.
    pub max_request_bytes: usize,
    /// Streams of one connection at a time.
    pub max_streams: u32,
    /// Silence after which a connection is probed.
    pub keepalive_time: Duration,
    /// How long the answer to a probe may take.
    pub keepalive_timeout: Duration,
    /// A connection that is older is asked to come again; zero is never.
    pub max_age: Duration,
}

/// How OTLP/HTTP is served.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Where.
    pub endpoint: Endpoint,
    /// The path of requests with traces.
    pub traces_path: String,
    /// The largest request, before and after decompression.
    pub max_request_bytes: usize,
}

impl Settings {
    /// Reads the settings.
    pub fn read(mut section: Section<'_>) -> Self {
        let mut settings = Self { grpc: None, http: None };
        if let Some(mut protocols) = section.section("protocols") {
            settings.grpc = protocols.section("grpc").map(Grpc::read);
            settings.http = protocols.section("http").map(Http::read);
            protocols.finish();
        }
        if settings.grpc.is_none() && settings.http.is_none() {
            section.error("protocols", "name at least one of `grpc` and `http`");
        }
        section.finish();
        settings
    }
}

fn endpoint(section: &mut Section<'_>, default: &str) -> Endpoint {
    Endpoint { text: section.str_or("endpoint", default), mark: section.mark("endpoint") }
}

fn only_tcp(section: &mut Section<'_>) {
    section.one_of("transport", &["tcp"], "tcp");
}

impl Grpc {
    fn read(mut section: Section<'_>) -> Self {
        let mut settings = Self {
            endpoint: endpoint(&mut section, "localhost:4317"),
            max_request_bytes: mebibytes(section.u64_or("max_recv_msg_size_mib", MAX_REQUEST_MIB)),
            max_streams: u32::try_from(section.u64_or("max_concurrent_streams", MAX_STREAMS)).unwrap_or(u32::MAX),
            keepalive_time: KEEPALIVE_TIME,
            keepalive_timeout: KEEPALIVE_TIMEOUT,
            max_age: Duration::ZERO,
        };
        only_tcp(&mut section);
        if let Some(mut keepalive) = section.section("keepalive") {
            if let Some(mut server) = keepalive.section("server_parameters") {
                settings.keepalive_time = server.duration_or("time", KEEPALIVE_TIME);
                settings.keepalive_timeout = server.duration_or("timeout", KEEPALIVE_TIMEOUT);
                settings.max_age = server.duration_or("max_connection_age", Duration::ZERO);
                for key in ["max_connection_idle", "max_connection_age_grace"] {
                    server.unsupported(key, NOT_YET);
                }
                server.finish();
            }
            keepalive.unsupported("enforcement_policy", NOT_YET);
            keepalive.finish();
        }
        for key in ["tls", "auth", "include_metadata", "middlewares"] {
            section.unsupported(key, NOT_YET);
        }
        for key in ["read_buffer_size", "write_buffer_size"] {
            section.unsupported(key, "buffers grow as needed");
        }
        section.finish();
        settings
    }
}

impl Http {
    fn read(mut section: Section<'_>) -> Self {
        let max_request_bytes = section.u64_or("max_request_body_size", 0);
        let settings = Self {
            endpoint: endpoint(&mut section, "localhost:4318"),
            traces_path: section.str_or("traces_url_path", TRACES_PATH),
            max_request_bytes: match usize::try_from(max_request_bytes) {
                Ok(0) => mebibytes(MAX_REQUEST_MIB),
                bytes => bytes.unwrap_or(usize::MAX),
            },
        };
        only_tcp(&mut section);
        for key in
            ["tls", "auth", "cors", "include_metadata", "middlewares", "response_headers", "compression_algorithms"]
        {
            section.unsupported(key, NOT_YET);
        }
        for key in ["read_timeout", "read_header_timeout", "write_timeout", "idle_timeout", "keep_alives_enabled"] {
            section.unsupported(key, "the bounds on slow senders are fixed");
        }
        for key in ["metrics_url_path", "logs_url_path", "profiles_url_path"] {
            section.unsupported(key, "only traces are taken");
        }
        section.finish();
        settings
    }
}

fn mebibytes(count: u64) -> usize {
    usize::try_from(count.saturating_mul(1024 * 1024)).unwrap_or(usize::MAX)
}

/// What serving one port needs; shared by its connections.
struct Server {
    protocol: Protocol,
    admission: Admission,
    counters: Counters,
}

enum Protocol {
    Grpc(Grpc),
    Http(Http),
}

impl Protocol {
    /// The key in the configuration, and the word in events and metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Grpc(_) => "grpc",
            Self::Http(_) => "http",
        }
    }

    fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Grpc(grpc) => &grpc.endpoint,
            Self::Http(http) => &http.endpoint,
        }
    }
}

/// A receiver whose sockets are bound.
pub struct Bound {
    id: String,
    ports: Vec<(Arc<Server>, Listener)>,
}

impl Bound {
    /// Binds the endpoints of the configured protocols.
    ///
    /// # Errors
    /// When one of them cannot be listened on.
    pub(super) fn new(id: &str, settings: &Settings, context: &Context) -> Result<Self, BindError> {
        let protocols = [settings.grpc.clone().map(Protocol::Grpc), settings.http.clone().map(Protocol::Http)];
        let mut ports = Vec::new();
        for protocol in protocols.into_iter().flatten() {
            let listener = Listener::bind(id, protocol.name(), protocol.endpoint())?;
            let counters = context.metrics.counters(id, protocol.name());
            let server = Server { protocol, admission: context.admission.clone(), counters };
            ports.push((Arc::new(server), listener));
        }
        Ok(Self { id: id.to_owned(), ports })
    }

    /// Starts to accept connections and tells where.
    pub(super) fn serve(self, dealer: &Dealer) -> Running {
        let (phase, changes) = watch::channel(Phase::Serve);
        for (server, listener) in self.ports {
            for (address, socket) in listener.sockets {
                tracing::info!(event = "listening", component = self.id, protocol = server.protocol.name(), address = %address);
                tokio::spawn(deal(socket, Arc::clone(&server), dealer.clone(), changes.clone()));
            }
        }
        Running { phase }
    }
}

/// Accepts connections and deals them to the cores until the receiver closes.
async fn deal(socket: TcpListener, server: Arc<Server>, dealer: Dealer, phase: watch::Receiver<Phase>) {
    let mut closing = phase.clone();
    loop {
        let stream = tokio::select! {
            stream = accept(&socket) => stream,
            // An error tells that the receiver itself is gone.
            _ = closing.wait_for(|phase| *phase > Phase::Serve) => return,
        };
        // A socket that cannot be moved to another runtime has failed already.
        let Ok(stream) = stream.into_std() else { continue };
        let (server, phase) = (Arc::clone(&server), phase.clone());
        dealer.deal(move |intake| Box::pin(connection::serve(stream, intake, server, phase))).await;
    }
}

/// Hands a request in and counts its spans.
async fn hand_in<S: Submit>(server: &Server, submit: &S, wire: Bytes) -> Result<(), Problem> {
    match submit.submit(wire.clone()).await {
        Ok(accepted) => {
            server.counters.accepted.inc_by(u64::from(accepted.spans));
            Ok(())
        }
        Err(refused) => {
            // What is malformed has no number of spans.
            let spans = if matches!(refused, Refused::Malformed(_)) {
                0
            } else {
                sluice_spans::count_spans(&wire).unwrap_or(0)
            };
            server.counters.refused.inc_by(u64::from(spans));
            Err(refused.into())
        }
    }
}
