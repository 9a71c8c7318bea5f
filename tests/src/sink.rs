//! An upstream to send to: OTLP over gRPC and HTTP on one port, which keeps what it accepted and
//! fails on demand.
//!
//! Requests enter as bytes and are kept as bytes. An answer is taken from the script, or is the
//! standing one; only what was answered with success counts as received.

mod answer;
mod count;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use answer::{Answer, Gate};
pub use count::CountingSink;

use crate::{wait, wire};

/// A running upstream. It stops, with all its connections, when dropped.
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// The decompressed body.
    pub wire: Bytes,
    /// How many spans it held.
    pub spans: u64,
    /// When it was accepted.
    pub at: Instant,
    /// `grpc`, `http/protobuf` or `http/json`.
    pub protocol: &'static str,
    /// The headers it came with, names in lower case.
    pub headers: http::HeaderMap,
}

/// What connections share.
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    script: VecDeque<Answer>,
    standing: Answer,
    guilty: Option<Vec<u8>>,
    received: Vec<Received>,
    /// When requests came, whatever the answer was.
    attempts: Vec<Instant>,
    /// Whether nothing is kept any more but the totals.
    only_counts: bool,
    totals: Totals,
}

/// What arrived so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that arrived, whatever the answer was.
    pub attempts: u64,
    /// Requests that were accepted.
    pub requests: u64,
    /// Spans of accepted requests, less those that a partial success rejected.
    pub spans: u64,
    /// Bytes of accepted requests.
    pub bytes: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    /// Starts a sink that keeps everything, on a port of the system's choice.
    #[track_caller]
    pub fn start() -> Self {
        Self::must("127.0.0.1:0")
    }

    /// Starts a sink on the address of one that was stopped.
    #[track_caller]
    pub fn start_at(address: SocketAddr) -> Self {
        Self::must(&address.to_string())
    }

    #[track_caller]
    #[expect(clippy::panic, reason = "no test can go on without its sink")]
    fn must(address: &str) -> Self {
        let bound = || wait::runtime().block_on(Self::bind(address)).ok();
        // The port of a sink that was just stopped is free a little later.
        match wait::within(wait::PATIENCE, bound) {
            Some(sink) => sink,
            None => panic!("no sink can be had at {address}"),
        }
    }

    /// Starts a sink on the runtime of the caller.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: &str) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| address.to_owned())?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { state: Mutex::default() });
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve::accept(listener, Arc::clone(&shared), stopped));
        Ok(Self { address, shared, stop })
    }

    /// Where it listens, for both protocols.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives these answers to the next requests, one each, before the standing answer again.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.state().script.extend(answers);
    }

    /// Gives this answer to all requests that the script has none for.
    pub fn always(&self, answer: Answer) {
        self.shared.state().standing = answer;
    }

    /// Refuses for good every request in which these bytes are, whatever the script says.
    pub fn refuse_with(&self, needle: &str) {
        self.shared.state().guilty = Some(needle.as_bytes().to_vec());
    }

    /// What arrived so far.
    pub fn totals(&self) -> Totals {
        self.shared.state().totals
    }

    /// When each request came, whatever the answer was.
    pub fn attempts(&self) -> Vec<Instant> {
        self.shared.state().attempts.clone()
    }

    /// How many spans were accepted so far.
    pub fn spans(&self) -> u64 {
        self.totals().spans
    }

    /// All accepted requests.
    pub fn received(&self) -> Vec<Received> {
        self.shared.state().received.clone()
    }

    /// Takes out all requests that were accepted since it was last called; the totals stay.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.shared.state().received)
    }

    /// Forgets all requests and keeps none from now on; the totals stay and go on.
    pub fn forget(&self) {
        let mut state = self.shared.state();
        state.only_counts = true;
        state.received = Vec::new();
        state.attempts = Vec::new();
    }

    /// The bytes of all accepted requests.
    pub fn wires(&self) -> Vec<Bytes> {
        self.shared.state().received.iter().map(|request| request.wire.clone()).collect()
    }

    /// All accepted requests, decoded by `prost`.
    #[track_caller]
    #[expect(clippy::expect_used, reason = "what no peer could read is a failed test")]
    pub fn decoded(&self) -> Vec<ExportTraceServiceRequest> {
        let decode = |wire| ExportTraceServiceRequest::decode(wire).expect("upstream got what prost cannot read");
        self.wires().into_iter().map(decode).collect()
    }

    /// All spans that were accepted, decoded.
    #[track_caller]
    pub fn decoded_spans(&self) -> Vec<opentelemetry_proto::tonic::trace::v1::Span> {
        let scopes = self.decoded().into_iter().flat_map(|request| request.resource_spans);
        scopes.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// Waits until this many spans were accepted.
    #[track_caller]
    pub fn wait_for_spans(&self, spans: u64) {
        wait::until(&format!("{spans} spans upstream"), || (self.spans() >= spans).then_some(()));
    }

    /// Waits until this many requests arrived, accepted or not.
    #[track_caller]
    pub fn wait_for_attempts(&self, attempts: u64) {
        let what = format!("{attempts} requests upstream");
        wait::until(&what, || (self.totals().attempts >= attempts).then_some(()));
    }

    /// Whether these bytes are anywhere in what was accepted.
    pub fn holds(&self, needle: &str) -> bool {
        let finder = memchr::memmem::Finder::new(needle.as_bytes());
        self.shared.state().received.iter().any(|request| finder.find(&request.wire).is_some())
    }

    /// Closes the port and all connections; what was received stays readable.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Notes that a request came and takes its answer.
    fn answer(&self, wire: &[u8]) -> Answer {
        let mut state = self.state();
        state.totals.attempts += 1;
        if !state.only_counts {
            state.attempts.push(Instant::now());
        }
        let guilty = |needle: &Vec<u8>| memchr::memmem::find(wire, needle).is_some();
        if state.guilty.as_ref().is_some_and(guilty) {
            return Answer::INVALID;
        }
        state.script.pop_front().unwrap_or_else(|| state.standing.clone())
    }

    /// Keeps a request that is answered with success, less `rejected` spans.
    fn accept(&self, wire: Bytes, protocol: &'static str, headers: http::HeaderMap, rejected: u64) -> Result<()> {
        let spans = wire::count(&wire)?;
        let mut state = self.state();
        state.totals.requests += 1;
        state.totals.spans += spans.saturating_sub(rejected);
        state.totals.bytes += wire.len() as u64;
        if !state.only_counts {
            state.received.push(Received { wire, spans, at: Instant::now(), protocol, headers });
        }
        Ok(())
    }
}
