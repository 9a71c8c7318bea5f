//! The `otlp` receiver: OTLP over gRPC and over HTTP, each on a port of its own.

mod answer;
mod body;
mod connection;
mod grpc;
mod heard;
mod http;
mod port;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::http::HeaderMap;
use bytes::Bytes;

use answer::Problem;
use port::Port;

use super::admission::Charge;
use super::{Admission, Closing, Context, Counters, Endpoint, Listener, Submit};
use crate::auth::Auth;
use crate::config::processor::memory_limiter;
use crate::config::section::{NOT_YET, Section};
use crate::cores::Dealer;
use crate::otlp::TRACES_PATH;
use crate::tls::server::Tls;

/// What OTLP recommends, after decompression.
const MAX_REQUEST_MIB: u64 = 64;

/// In bytes.
const MIB: u64 = 1024 * 1024;

/// Streams of one connection at a time. The Collector has no limit; this one hardly a client meets that
/// waits for answers, and an attacker's streams stay countable.
const MAX_STREAMS: u32 = 256;

/// The keys in the configuration, and the words in events and metrics.
const GRPC: &str = "grpc";
const HTTP: &str = "http";

/// Senders that a port turns away, or requests that it refuses, sooner after one another are not told of.
const TELL_AGAIN: Duration = Duration::from_secs(10);

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
    /// How many bytes of its requests may be on their way in; as many as of all, if there is none.
    pub max_bytes_on_their_way: Option<u64>,
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
    /// Plain text if there is none.
    pub tls: Option<Tls>,
    /// Who may send; everybody if there is none.
    pub auth: Option<Auth>,
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
    /// Plain text if there is none.
    pub tls: Option<Tls>,
    /// Who may send; everybody if there is none.
    pub auth: Option<Auth>,
}

impl Settings {
    /// Reads the settings.
    pub fn read(mut section: Section<'_>) -> Self {
        let mut settings = Self { grpc: None, http: None, max_bytes_on_their_way: None };
        if let Some(mut protocols) = section.section("protocols") {
            settings.grpc = protocols.section("grpc").map(Grpc::read);
            settings.http = protocols.section("http").map(Http::read);
            protocols.finish();
        }
        settings.max_bytes_on_their_way = section.section("memory_limiter").map(memory_limiter);
        if settings.grpc.is_none() && settings.http.is_none() {
            section.error("protocols", "`protocols` must name at least one of `grpc` and `http`");
        }
        section.finish();
        settings
    }

    /// Who the senders of each protocol have to be.
    pub(super) fn auth_mut(&mut self) -> impl Iterator<Item = &mut Auth> {
        let grpc = self.grpc.as_mut().and_then(|grpc| grpc.auth.as_mut());
        grpc.into_iter().chain(self.http.as_mut().and_then(|http| http.auth.as_mut()))
    }

    fn protocols(&self) -> impl Iterator<Item = Protocol> {
        let grpc = self.grpc.clone().map(Protocol::Grpc);
        grpc.into_iter().chain(self.http.clone().map(Protocol::Http))
    }

    /// The ports, in the order of [`Settings::protocols`].
    pub(super) fn ports(&self) -> Vec<(&'static str, &Endpoint)> {
        let grpc = self.grpc.as_ref().map(|grpc| (GRPC, &grpc.endpoint));
        grpc.into_iter().chain(self.http.as_ref().map(|http| (HTTP, &http.endpoint))).collect()
    }
}

fn only_tcp(section: &mut Section<'_>) {
    section.one_of("transport", &["tcp"], "tcp");
}

impl Grpc {
    fn read(mut section: Section<'_>) -> Self {
        let mut settings = Self {
            endpoint: Endpoint::read(&mut section, "localhost:4317"),
            max_request_bytes: mebibytes(section.nonzero_u64_or("max_recv_msg_size_mib", MAX_REQUEST_MIB)),
            max_streams: u32::try_from(section.nonzero_u64_or("max_concurrent_streams", MAX_STREAMS.into()))
                .unwrap_or(u32::MAX),
            keepalive_time: KEEPALIVE_TIME,
            keepalive_timeout: KEEPALIVE_TIMEOUT,
            max_age: Duration::ZERO,
            tls: Tls::read(&mut section, false),
            auth: Auth::read(&mut section),
        };
        only_tcp(&mut section);
        if let Some(mut keepalive) = section.section("keepalive") {
            if let Some(mut server) = keepalive.section("server_parameters") {
                settings.keepalive_time = server.nonzero_duration_or("time", KEEPALIVE_TIME);
                settings.keepalive_timeout = server.nonzero_duration_or("timeout", KEEPALIVE_TIMEOUT);
                settings.max_age = server.duration_or("max_connection_age", Duration::ZERO);
                for key in ["max_connection_idle", "max_connection_age_grace"] {
                    server.unsupported(key, NOT_YET);
                }
                server.finish();
            }
            keepalive.unsupported("enforcement_policy", NOT_YET);
            keepalive.finish();
        }
        for key in ["include_metadata", "middlewares"] {
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
        let max_request_bytes = section.nonzero_u64_or("max_request_body_size", MAX_REQUEST_MIB * MIB);
        let settings = Self {
            endpoint: Endpoint::read(&mut section, "localhost:4318"),
            traces_path: section.str_or("traces_url_path", TRACES_PATH),
            max_request_bytes: usize::try_from(max_request_bytes).unwrap_or(usize::MAX),
            tls: Tls::read(&mut section, true),
            auth: Auth::read(&mut section),
        };
        only_tcp(&mut section);
        for key in ["cors", "include_metadata", "middlewares", "response_headers", "compression_algorithms"] {
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
    usize::try_from(count.saturating_mul(MIB)).unwrap_or(usize::MAX)
}

/// What serving one port needs; shared by its connections. Other settings are another one.
struct Server {
    protocol: Protocol,
    admission: Admission,
    counters: Counters,
    turned_away: Told,
    refused: Told,
}

/// When something was told last; of one in a while, because anybody can have it told.
#[derive(Default)]
struct Told(Mutex<Option<Instant>>);

impl Told {
    fn is_due(&self) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told.is_none_or(|told| told.elapsed() >= TELL_AGAIN);
        if is_due {
            *told = Some(Instant::now());
        }
        is_due
    }
}

impl Server {
    fn new(protocol: Protocol, admission: Admission, counters: Counters) -> Self {
        Self { protocol, admission, counters, turned_away: Told::default(), refused: Told::default() }
    }

    /// Tells that a sender was turned away.
    fn turned_away(&self, reason: impl Display) {
        if self.turned_away.is_due() {
            let (protocol, address) = (self.protocol.name(), &self.protocol.endpoint().text);
            tracing::warn!(event = "sender.refused", protocol, address, %reason, "a sender was turned away");
        }
    }

    /// Counts a request that is not taken, and tells of it if that is its sender's mistake and nobody else tells.
    fn refused(&self, problem: &Problem) {
        let kind = problem.reason();
        self.counters.refused_request(kind);
        if matches!(kind, "malformed" | "too_large" | "unsupported") && self.refused.is_due() {
            let (protocol, address) = (self.protocol.name(), &self.protocol.endpoint().text);
            let reason = problem.message();
            tracing::warn!(event = "request.refused", protocol, address, kind, reason, "a request was refused");
        }
    }
}

#[derive(Debug, PartialEq)]
enum Protocol {
    Grpc(Grpc),
    Http(Http),
}

impl Protocol {
    /// The key in the configuration, and the word in events and metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Grpc(_) => GRPC,
            Self::Http(_) => HTTP,
        }
    }

    fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Grpc(grpc) => &grpc.endpoint,
            Self::Http(http) => &http.endpoint,
        }
    }

    fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Grpc(grpc) => grpc.tls.as_ref(),
            Self::Http(http) => http.tls.as_ref(),
        }
    }

    /// Whether what was agreed on with a sender when it connected holds under `next` as well.
    fn suits_connections(&self, next: &Self) -> bool {
        let agreed = match (self, next) {
            (Self::Grpc(now), Self::Grpc(next)) => {
                let agreed =
                    |grpc: &Grpc| (grpc.max_streams, grpc.keepalive_time, grpc.keepalive_timeout, grpc.max_age);
                agreed(now) == agreed(next)
            }
            _ => true,
        };
        agreed && self.tls() == next.tls()
    }
}

/// An `otlp` receiver that accepts connections.
pub struct Running {
    ports: Vec<Port>,
    /// Its part of the budget of bytes on their way in.
    admission: Admission,
}

impl Running {
    /// See [`super::serve`].
    pub(super) fn serve(
        id: &str,
        settings: &Settings,
        listeners: Vec<Listener>,
        present: Option<Self>,
        context: &Context,
        dealer: &Dealer,
    ) -> (Self, Vec<Closing>) {
        let (mut present, admission) = match present {
            Some(present) => (present.ports, present.admission),
            None => (Vec::new(), context.admission.part(usize::MAX)),
        };
        let limit = settings.max_bytes_on_their_way.and_then(|bytes| usize::try_from(bytes).ok());
        admission.resize(limit.unwrap_or(usize::MAX));
        let mut ports = Vec::new();
        for (protocol, listener) in settings.protocols().zip(listeners) {
            let stays = present.iter().position(|port| port.listener == listener && port.speaks(protocol.name()));
            if let Some(stays) = stays {
                let port = present.swap_remove(stays);
                port.change(protocol);
                ports.push(port);
            } else {
                let counters = context.metrics.counters(id, protocol.name());
                let server = Server::new(protocol, admission.clone(), counters);
                ports.push(Port::open(id, listener, server, dealer));
            }
        }
        (Self { ports, admission }, present.into_iter().map(|port| port.close(id)).collect())
    }

    pub(super) fn listener(&self, protocol: &str, endpoint: &Endpoint) -> Option<Listener> {
        let serves = |port: &&Port| port.speaks(protocol) && port.is_at(endpoint);
        self.ports.iter().find(serves).map(|port| port.listener.clone())
    }

    pub(super) fn close(self, id: &str) -> Vec<Closing> {
        self.ports.into_iter().map(|port| port.close(id)).collect()
    }
}

/// Finds out whether a request may come in, before its body is read.
async fn admit(server: &Server, auth: Option<&Auth>, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(authenticator) = auth.and_then(Auth::known) else { return Ok(()) };
    if authenticator.admits(headers).await {
        return Ok(());
    }
    let problem = Problem::unauthenticated(authenticator.challenge());
    server.turned_away(&problem.message);
    Err(problem)
}

/// Hands a request in and counts its spans. Gives what its sender is to be warned of. Beside the request itself, what
/// looking into it takes is charged.
async fn hand_in<S: Submit>(
    server: &Server,
    submit: &S,
    wire: Bytes,
    deadline: Option<Instant>,
    charge: &mut Charge,
) -> Result<String, Problem> {
    let index = submit.index_bytes(&wire);
    if index > 0 {
        charge.grow(index).await?;
    }
    match submit.submit(wire.clone(), deadline).await {
        Ok(accepted) => {
            server.counters.accepted.inc_by(u64::from(accepted.spans));
            Ok(accepted.warning)
        }
        Err(refused) => {
            // What is malformed may have no number of spans.
            let spans = sluice_spans::count_spans(&wire).unwrap_or(0);
            server.counters.refused.inc_by(u64::from(spans));
            Err(refused.into())
        }
    }
}
