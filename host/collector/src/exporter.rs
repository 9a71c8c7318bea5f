//! Exporters: where requests go out.
//!
//! What enters is requests in an [`AnyQueue`]; what leaves is requests upstream, and one outcome for
//! every span in the account. A destination that is slow or away fills its queue and nobody
//! else's. Each exporter is one task that takes batches and a few that send them, all on one core.

mod circuit;
mod client;
pub mod debug;
pub mod failover;
pub mod file;
mod headers;
pub mod otlp_grpc;
pub mod otlp_http;
mod retry;
pub mod scrape;
mod sender;
#[cfg(test)]
mod tests;
mod upstreams;

use std::fmt::Display;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::account::Account;
use crate::auth::Auth;
use crate::config::section::Section;
use crate::queue::{self, AnyQueue, Disks, Durable, Figures, Folder, Lease, Queue};

pub use file::Outputs;
use retry::Schedule;
use sender::{Sender, Transport};
use upstreams::Upstreams;

/// The types of exporters there are, with the Collector's older names.
pub const TYPES: &[&str] = &["otlp_grpc", "otlp", "otlp_http", "otlphttp", "debug", "failover", "file", "prometheus"];

/// How long tasks get after the drain deadline to say what became of what they had in hand.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// The settings of an exporter of any type.
#[derive(Debug, Clone, PartialEq)]
pub enum Settings {
    /// OTLP/gRPC.
    OtlpGrpc(otlp_grpc::Settings),
    /// OTLP/HTTP.
    OtlpHttp(otlp_http::Settings),
    /// Into the log.
    Debug(debug::Settings),
    /// To the first of several that is there.
    Failover(failover::Settings),
    /// Into a file.
    File(file::Settings),
}

/// Reads the settings of an exporter of type `kind`; `None` if there is no such type.
pub fn read(kind: &str, section: Section<'_>) -> Option<Settings> {
    match kind {
        "otlp_grpc" | "otlp" => Some(Settings::OtlpGrpc(otlp_grpc::Settings::read(section))),
        "otlp_http" | "otlphttp" => Some(Settings::OtlpHttp(otlp_http::Settings::read(section))),
        "debug" => Some(Settings::Debug(debug::Settings::read(section))),
        "failover" => Some(Settings::Failover(failover::Settings::read(section))),
        "file" => Some(Settings::File(file::Settings::read(section))),
        _ => None,
    }
}

/// The figures of all exporters, under the Collector's names.
#[derive(Debug, Clone)]
pub struct Metrics {
    sent: IntCounterVec,
    send_failed: IntCounterVec,
    enqueue_failed: IntCounterVec,
    size: IntGaugeVec,
    capacity: IntGaugeVec,
    in_flight: IntGaugeVec,
    lost: IntCounterVec,
    circuit_open: IntGaugeVec,
    upstream_circuit_open: IntGaugeVec,
}

/// The figures of one exporter's sending.
#[derive(Debug, Clone)]
pub(crate) struct Sending {
    sent: IntCounter,
    send_failed: IntCounter,
    in_flight: IntGauge,
}

impl Metrics {
    /// Registers the families.
    ///
    /// # Errors
    /// When the registry holds one of the names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str| {
            let family = IntCounterVec::new(Opts::new(name, help), &["exporter"])?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let gauges_by = |name: &str, help: &str, labels: &[&str]| {
            let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let gauges = |name: &str, help: &str| gauges_by(name, help, &["exporter"]);
        Ok(Self {
            sent: counters("otelcol_exporter_sent_spans", "Spans that upstream has taken.")?,
            send_failed: counters(
                "otelcol_exporter_send_failed_spans",
                "Spans that upstream has refused for good, or that were given up.",
            )?,
            enqueue_failed: counters(
                "otelcol_exporter_enqueue_failed_spans",
                "Spans that found no room in the queue.",
            )?,
            size: gauges("otelcol_exporter_queue_size", "What the queue holds, in the measure of its capacity.")?,
            capacity: gauges("otelcol_exporter_queue_capacity", "What the queue can hold: queue_size, else bytes.")?,
            in_flight: gauges("otelcol_exporter_in_flight_requests", "Requests on their way upstream.")?,
            circuit_open: gauges(
                "sluice_exporter_circuit_open",
                "1 while upstream is away and asked by one request at a time.",
            )?,
            upstream_circuit_open: gauges_by(
                "sluice_failover_circuit_open",
                "1 while this upstream of a failover is away and asked by one request at a time.",
                &["exporter", "upstream"],
            )?,
            lost: counters("sluice_queue_lost_spans", "Spans in damaged records of a queue on disk.")?,
        })
    }

    fn figures(&self, exporter: &str) -> Figures {
        let labels = [exporter];
        Figures {
            size: self.size.with_label_values(&labels),
            enqueue_failed: self.enqueue_failed.with_label_values(&labels),
        }
    }

    fn sending(&self, exporter: &str) -> Sending {
        let labels = [exporter];
        Sending {
            sent: self.sent.with_label_values(&labels),
            send_failed: self.send_failed.with_label_values(&labels),
            in_flight: self.in_flight.with_label_values(&labels),
        }
    }

    /// What shows the circuit of an exporter, or of one of its upstreams.
    fn circuit(&self, exporter: &str, upstream: Option<&str>) -> IntGauge {
        match upstream {
            None => self.circuit_open.with_label_values(&[exporter]),
            Some(upstream) => self.upstream_circuit_open.with_label_values(&[exporter, upstream]),
        }
    }
}

/// What an exporter is started with.
#[derive(Clone)]
pub struct ExporterContext {
    /// The runtime of the core that it lives on; none when the process is ending.
    pub runtime: Option<Handle>,
    /// Where figures go.
    pub metrics: Metrics,
    /// Where queues on disk are.
    pub disks: Disks,
    /// The files that exporters write to.
    pub outputs: Outputs,
    /// The account of what the queues hold already.
    pub account: Account,
}

/// An exporter cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("exporter {exporter}: {reason}")]
pub struct StartError {
    /// The component id.
    pub exporter: String,
    /// What is wrong.
    pub reason: String,
}

/// What was not delivered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undelivered {
    /// Spans counted as failed with the reason `shutdown`.
    pub spans: u64,
    /// Spans that stay in the queue on disk.
    pub held: u64,
}

/// A running exporter.
pub struct Exporter {
    queue: AnyQueue,
    /// The queue's log, if it has one.
    lease: Mutex<Option<Lease>>,
    /// Turns true when everything has to be given up.
    cut: watch::Sender<bool>,
}

impl Settings {
    fn queue(&self) -> &queue::Settings {
        match self {
            Self::OtlpGrpc(settings) => &settings.queue,
            Self::OtlpHttp(settings) => &settings.queue,
            Self::Debug(settings) => &settings.queue,
            Self::Failover(settings) => &settings.queue,
            Self::File(settings) => &settings.queue,
        }
    }

    /// Where its queue is kept, if that is on disk.
    pub(crate) fn folder(&self) -> Option<&Path> {
        Some(&self.queue().storage.as_ref()?.folder.as_ref()?.directory)
    }

    /// As whom it sends, to be looked up.
    pub(crate) fn auth_mut(&mut self) -> Option<&mut Auth> {
        match self {
            Self::OtlpGrpc(settings) => settings.auth.as_mut(),
            Self::OtlpHttp(settings) => settings.auth.as_mut(),
            // Its upstreams have their own.
            Self::Failover(_) | Self::Debug(_) | Self::File(_) => None,
        }
    }

    /// Whether anything is said of the queue, or of when to try again.
    pub(crate) fn has_own_delivery(&self) -> bool {
        *self.queue() != queue::Settings::default() || self.retry() != Schedule::DEFAULT
    }

    /// The settings of its queue, to be completed.
    pub(crate) fn queue_mut(&mut self) -> &mut queue::Settings {
        match self {
            Self::OtlpGrpc(settings) => &mut settings.queue,
            Self::OtlpHttp(settings) => &mut settings.queue,
            Self::Debug(settings) => &mut settings.queue,
            Self::Failover(settings) => &mut settings.queue,
            Self::File(settings) => &mut settings.queue,
        }
    }

    fn retry(&self) -> Schedule {
        match self {
            Self::OtlpGrpc(settings) => settings.retry,
            Self::OtlpHttp(settings) => settings.retry,
            Self::Failover(settings) => settings.retry,
            // What cannot be written now is written a little later or not at all.
            Self::Debug(_) | Self::File(_) => Schedule::OFF,
        }
    }

    /// The way to each upstream, with the exporter that it is configured as if that is another one.
    fn transports(&self, id: &str, outputs: &Outputs) -> Result<Vec<(Option<String>, Transport)>, String> {
        let transport = match self {
            Self::OtlpGrpc(settings) => Transport::Grpc(otlp_grpc::Client::new(settings)?),
            Self::OtlpHttp(settings) => Transport::Http(otlp_http::Client::new(settings)?),
            Self::Debug(settings) => Transport::Debug(debug::Printer::new(id, settings)),
            Self::File(settings) => Transport::File(file::Writer::open(settings, outputs)?),
            Self::Failover(failover) => {
                let mut all = Vec::new();
                for failover::Upstream { named, settings } in &failover.upstreams {
                    let id = named.id.to_string();
                    let known = settings.as_ref().ok_or_else(|| format!("exporter `{id}` is not defined"))?;
                    let transports = known.transports(&id, outputs).map_err(|reason| format!("{id}: {reason}"))?;
                    all.extend(transports.into_iter().map(|(_, transport)| (Some(id.clone()), transport)));
                }
                return Ok(all);
            }
        };
        Ok(vec![(None, transport)])
    }
}

/// Starts an exporter. It connects when it has something to send.
///
/// # Errors
/// When a certificate cannot be read or a file cannot be opened.
pub fn start(id: &impl Display, settings: &Settings, context: &ExporterContext) -> Result<Arc<Exporter>, StartError> {
    let id = id.to_string();
    let fail = |reason: String| StartError { exporter: id.clone(), reason };
    let runtime = context.runtime.clone().ok_or_else(|| fail("the process is ending".to_owned()))?;
    // Clients look for the runtime that they are made in.
    let guard = runtime.enter();
    let transports = settings.transports(&id, &context.outputs).map_err(fail)?;
    drop(guard);
    let (queue, lease) = open_queue(&id, settings.queue(), context).map_err(fail)?;
    // Of two exporters of one name, the old one draining, the new one's is the capacity.
    context.metrics.capacity.with_label_values(&[id.as_str()]).set(settings.queue().capacity() as i64);
    let (cut, cuts) = watch::channel(false);
    let upstreams = Upstreams::new(&id, transports, settings.retry(), &context.metrics);
    let sender = Sender::new(&id, upstreams, settings.retry(), context.metrics.sending(&id), cuts);
    runtime.spawn(sender.run(queue.clone(), settings.queue().consumers));
    Ok(Arc::new(Exporter { queue, lease: Mutex::new(lease), cut }))
}

/// Tries what can be tried of a start without changing anything, but for making the folder of a queue.
///
/// # Errors
/// When the exporter could not start.
pub fn check(id: &impl Display, settings: &Settings, runtime: &Handle) -> Result<(), StartError> {
    let fail = |reason: String| StartError { exporter: id.to_string(), reason };
    let storage = settings.queue().storage.as_ref();
    storage.and_then(|storage| storage.folder.as_ref()).map_or(Ok(()), Folder::prepare).map_err(fail)?;
    if let Settings::File(settings) = settings {
        // Opened as a start opens it, it may be emptied.
        return file::check(settings).map_err(fail);
    }
    let _on = runtime.enter();
    settings.transports(&id.to_string(), &Outputs::default()).map(drop).map_err(fail)
}

/// The queue in memory, or on disk with what an earlier process has left there.
fn open_queue(
    id: &str,
    settings: &queue::Settings,
    context: &ExporterContext,
) -> Result<(AnyQueue, Option<Lease>), String> {
    let figures = context.metrics.figures(id);
    let Some(folder) = settings.storage.as_ref().and_then(|storage| storage.folder.as_ref()) else {
        return Ok((AnyQueue::Memory(Queue::new(id, settings.clone(), figures)), None));
    };
    let leased = context.disks.lease(folder, id, settings.max_bytes);
    let (lease, recovered) = leased.map_err(|error| error.to_string())?;
    let durable = Durable::new(id, settings.clone(), figures, lease.disk(), context.account.clone());
    if let Some(recovered) = recovered {
        durable.restore(lease.dir(), &recovered);
        context.metrics.lost.with_label_values(&[id]).inc_by(recovered.lost.spans);
    }
    if let (Some(max_age), Some(runtime)) = (settings.max_age, &context.runtime) {
        runtime.spawn(Arc::clone(&durable).drop_old(max_age));
    }
    Ok((AnyQueue::Durable(durable), Some(lease)))
}

impl Drop for Exporter {
    /// One that was never drained, because its generation was not put in place, keeps nothing of
    /// what it took out of a log.
    fn drop(&mut self) {
        if let AnyQueue::Durable(queue) = &self.queue {
            queue.close();
        }
    }
}

impl Exporter {
    /// The queue in front of it.
    pub fn queue(&self) -> &AnyQueue {
        &self.queue
    }

    /// Sends what is queued without waiting for batches to fill, and tries again until the
    /// deadline; what is left then has failed, or stays on disk. The exporter is of no use
    /// afterwards.
    pub async fn drain(&self, deadline: Instant) -> Undelivered {
        self.end(deadline, || self.is_last()).await
    }

    /// Leaves its queue on disk to another process: waits only for what is being sent, until the
    /// deadline. The exporter is of no use afterwards.
    pub async fn hand_over(&self, deadline: Instant) -> Undelivered {
        self.end(deadline, || false).await
    }

    /// Whether what it does not deliver stays on disk.
    pub fn is_durable(&self) -> bool {
        matches!(self.queue, AnyQueue::Durable(_))
    }

    async fn end(&self, deadline: Instant, delivers_all: impl Fn() -> bool) -> Undelivered {
        // What is left at the deadline is given up below.
        let _ = tokio::time::timeout_at(deadline.into(), self.queue.drained(delivers_all)).await;
        self.queue.close();
        self.cut.send_replace(true);
        // The tasks only have to notice; what they give up must be counted before it is told.
        let _ = tokio::time::timeout(SETTLE_TIME, self.cut.closed()).await;
        let held = if self.is_last() { self.queue.kept() } else { 0 };
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(lease) = lease {
            // Writing the rest blocks; what fails is told of there.
            drop(tokio::task::spawn_blocking(move || lease.leave()).await);
        }
        Undelivered { spans: self.queue.shut_out(), held }
    }

    /// Whether no other exporter has its log.
    fn is_last(&self) -> bool {
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        lease.as_ref().is_none_or(Lease::is_last)
    }
}
