//! Receivers: where requests come in.
//!
//! What enters is connections; what leaves is whole OTLP requests through [`Submit`], and answers
//! back to their senders. A receiver is bound first and served later: a port in use is found before
//! anything runs. When the chain or a queue refuses, the sender is told so in its protocol; when a
//! sender goes away its request goes with it.

pub mod admission;
pub mod listener;
pub mod otlp;

use std::future::Future;
use std::time::Instant;

use bytes::Bytes;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tokio::sync::watch;

use crate::config::Component;
use crate::config::section::{Mark, Section};
use crate::cores::Dealer;
use crate::intake::{Accepted, Intake, Refused};

pub use admission::Admission;
pub use listener::{BindError, Listener};

/// The types of receivers there are.
pub const TYPES: &[&str] = &["otlp"];

/// The settings of a receiver of any type.
#[derive(Debug, Clone, PartialEq)]
pub enum Settings {
    /// OTLP over gRPC and HTTP.
    Otlp(otlp::Settings),
}

/// Reads the settings of a receiver of type `kind`; `None` if there is no such type.
pub fn read(kind: &str, section: Section<'_>) -> Option<Settings> {
    match kind {
        "otlp" => Some(Settings::Otlp(otlp::Settings::read(section))),
        _ => None,
    }
}

/// Where a receiver listens, and where the configuration says so.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `host:port`.
    pub text: String,
    /// For messages.
    pub mark: Mark,
}

/// Two endpoints are the same when they name the same place, wherever that is written.
impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Takes whole requests; the door of the chain, or a stub of it.
pub trait Submit: Clone + 'static {
    /// Hands in one `ExportTraceServiceRequest`.
    fn submit(&self, wire: Bytes) -> impl Future<Output = Result<Accepted, Refused>>;
}

impl Submit for Intake {
    async fn submit(&self, wire: Bytes) -> Result<Accepted, Refused> {
        Self::submit(self, wire).await
    }
}

/// The figures of all receivers, under the Collector's names.
#[derive(Debug, Clone)]
pub struct Metrics {
    accepted: IntCounterVec,
    refused: IntCounterVec,
}

/// The figures of one receiver and transport.
#[derive(Debug, Clone)]
pub struct Counters {
    /// Spans of requests answered with success.
    pub accepted: IntCounter,
    /// Spans of requests answered with an error.
    pub refused: IntCounter,
}

impl Metrics {
    /// Registers the families.
    ///
    /// # Errors
    /// When the registry holds one of the names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let family = |name: &str, help: &str| {
            let family = IntCounterVec::new(Opts::new(name, help), &["receiver", "transport"])?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        Ok(Self {
            accepted: family("otelcol_receiver_accepted_spans", "Spans taken in and queued.")?,
            refused: family("otelcol_receiver_refused_spans", "Spans that their sender was told to keep.")?,
        })
    }

    /// The figures of a receiver for one transport.
    pub fn counters(&self, receiver: &str, transport: &str) -> Counters {
        let labels = [receiver, transport];
        Counters {
            accepted: self.accepted.with_label_values(&labels),
            refused: self.refused.with_label_values(&labels),
        }
    }
}

/// What receivers share.
#[derive(Debug, Clone)]
pub struct Context {
    /// The budget of bytes on their way in.
    pub admission: Admission,
    /// Where figures go.
    pub metrics: Metrics,
}

/// How far a receiver's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are accepted.
    Serve,
    /// What is in flight is finished; nothing new is begun.
    Finish,
    /// Connections are cut.
    Cut,
}

/// A receiver whose sockets are bound.
pub enum Bound {
    /// OTLP.
    Otlp(otlp::Bound),
}

/// A receiver that accepts connections, or finishes those it has.
pub struct Running {
    phase: watch::Sender<Phase>,
}

/// Binds the sockets of a receiver. Must be called in the runtime that is to accept connections;
/// they then live on the cores.
///
/// # Errors
/// When an endpoint cannot be listened on.
pub fn bind(component: &Component<Settings>, context: &Context) -> Result<Bound, BindError> {
    match &component.settings {
        Settings::Otlp(settings) => otlp::Bound::new(&component.id.to_string(), settings, context).map(Bound::Otlp),
    }
}

impl Bound {
    /// Starts to accept connections and tells where.
    #[expect(clippy::needless_pass_by_value, reason = "a dealer is this receiver's own")]
    pub fn serve(self, dealer: Dealer) -> Running {
        match self {
            Self::Otlp(bound) => bound.serve(&dealer),
        }
    }
}

impl Running {
    /// Accepts no more connections and lets those that are open finish what they have begun.
    pub fn stop(&self) {
        self.phase.send_if_modified(|phase| std::mem::replace(phase, Phase::Finish.max(*phase)) < Phase::Finish);
    }

    /// Stops, waits until all connections have ended, and cuts at the deadline those that have
    /// not. Says whether all have ended by themselves.
    pub async fn close(&self, deadline: Instant) -> bool {
        self.stop();
        let ended = tokio::time::timeout_at(deadline.into(), self.phase.closed()).await.is_ok();
        self.phase.send_replace(Phase::Cut);
        ended
    }
}
