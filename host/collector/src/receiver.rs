//! Receivers: where requests come in.
//!
//! What enters is connections; what leaves is whole OTLP requests through [`Submit`], and answers
//! back to their senders. Its sockets are bound first and served later: a port in use is found before
//! anything changes. When the chain or a queue refuses, the sender is told so in its protocol; when a
//! sender goes away its request goes with it.

pub mod admission;
mod endpoint;
mod life;
pub mod listener;
pub mod otlp;
pub mod sockets;

use std::future::Future;
use std::time::Instant;

use bytes::Bytes;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use crate::auth::Auth;
use crate::config::Component;
use crate::config::section::Section;
use crate::cores::Dealer;
use crate::intake::{Accepted, Intake, Refused};

pub use admission::Admission;
pub use endpoint::Endpoint;
pub(crate) use life::Life;
pub use life::{Closing, Phase};
pub use sockets::{BindError, Listener, Sockets, Want};

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

/// Takes whole requests; the door of the chain, or a stub of it.
pub trait Submit: Clone + 'static {
    /// Hands in one `ExportTraceServiceRequest`, whose sender waits until `deadline`.
    fn submit(&self, wire: Bytes, deadline: Option<Instant>) -> impl Future<Output = Result<Accepted, Refused>>;

    /// What it takes to look into a request, in bytes, beside the request.
    fn index_bytes(&self, wire: &[u8]) -> usize;
}

impl Submit for Intake {
    async fn submit(&self, wire: Bytes, deadline: Option<Instant>) -> Result<Accepted, Refused> {
        Self::submit(self, wire, deadline).await
    }

    fn index_bytes(&self, wire: &[u8]) -> usize {
        Self::index_bytes(self, wire)
    }
}

/// The figures of all receivers, under the Collector's names.
#[derive(Debug, Clone)]
pub struct Metrics {
    accepted: IntCounterVec,
    refused: IntCounterVec,
    refused_requests: IntCounterVec,
}

/// Why requests are refused.
pub const REASONS: [&str; 7] =
    ["broken_off", "failed", "malformed", "too_large", "unauthenticated", "unavailable", "unsupported"];

/// The figures of one receiver and transport.
#[derive(Debug, Clone)]
pub struct Counters {
    /// Spans of requests answered with success.
    pub accepted: IntCounter,
    /// Spans of requests answered with an error.
    pub refused: IntCounter,
    refused_requests: IntCounterVec,
    labels: [String; 2],
}

impl Counters {
    /// Counts a request answered with an error, for one of [`REASONS`].
    pub fn refused_request(&self, reason: &str) {
        let [receiver, transport] = &self.labels;
        self.refused_requests.with_label_values(&[receiver, transport, reason]).inc();
    }
}

const SPANS: &[&str] = &["receiver", "transport"];
const REQUESTS: &[&str] = &["receiver", "transport", "reason"];

impl Metrics {
    /// Registers the families.
    ///
    /// # Errors
    /// When the registry holds one of the names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let family = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        Ok(Self {
            accepted: family("otelcol_receiver_accepted_spans", "Spans taken in and queued.", SPANS)?,
            refused: family("otelcol_receiver_refused_spans", "Spans that their sender was told to keep.", SPANS)?,
            refused_requests: family("sluice_receiver_refused_requests_total", "Requests not taken.", REQUESTS)?,
        })
    }

    /// The figures of a receiver for one transport.
    pub fn counters(&self, receiver: &str, transport: &str) -> Counters {
        let labels = [receiver, transport];
        for reason in REASONS {
            // A rate shows the first one only if there was a figure before.
            self.refused_requests.with_label_values(&[receiver, transport, reason]);
        }
        Counters {
            accepted: self.accepted.with_label_values(&labels),
            refused: self.refused.with_label_values(&labels),
            refused_requests: self.refused_requests.clone(),
            labels: labels.map(str::to_owned),
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

/// A receiver that accepts connections.
pub enum Running {
    /// OTLP.
    Otlp(otlp::Running),
}

impl Settings {
    /// Who its senders have to be, port by port, to be looked up.
    pub(crate) fn auth_mut(&mut self) -> impl Iterator<Item = &mut Auth> {
        match self {
            Self::Otlp(settings) => settings.auth_mut(),
        }
    }

    /// The ports: protocol and endpoint, always in the same order.
    pub fn ports(&self) -> Vec<(&'static str, &Endpoint)> {
        match self {
            Self::Otlp(settings) => settings.ports(),
        }
    }
}

/// Serves a receiver with these settings on `listeners`, one for each of [`Settings::ports`]. A
/// port that `present` serves on the same sockets goes on with its connections; the others are
/// closed. Must be called in the runtime that is to accept connections; they then live on the
/// cores.
pub fn serve(
    component: &Component<Settings>,
    listeners: Vec<Listener>,
    present: Option<Running>,
    context: &Context,
    dealer: &Dealer,
) -> (Running, Vec<Closing>) {
    let id = component.id.to_string();
    match (&component.settings, present) {
        (Settings::Otlp(settings), present) => {
            let present = present.map(|Running::Otlp(present)| present);
            let (running, closing) = otlp::Running::serve(&id, settings, listeners, present, context, dealer);
            (Running::Otlp(running), closing)
        }
    }
}

impl Running {
    /// What listens for a protocol at an endpoint that is written like this.
    pub fn listener(&self, protocol: &str, endpoint: &Endpoint) -> Option<Listener> {
        match self {
            Self::Otlp(running) => running.listener(protocol, endpoint),
        }
    }

    /// Accepts no more connections and lets those that are open finish what they have begun.
    pub fn close(self, id: &str) -> Vec<Closing> {
        match self {
            Self::Otlp(running) => running.close(id),
        }
    }
}
