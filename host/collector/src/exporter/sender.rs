//! Sending: takes batches from the queue, tries until there is an outcome, and settles it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::circuit::Circuit;
use super::retry::Schedule;
use super::{Sending, debug, file, otlp_grpc, otlp_http};
use crate::queue::{AnyQueue, Taken, Verdict};

/// A destination that is away would say so many times a second.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What an attempt has come to.
pub(super) enum Answer {
    /// Upstream has taken it but for `rejected` spans.
    Taken {
        /// Spans that upstream will never take.
        rejected: u64,
        /// Why, or a warning.
        message: String,
    },
    /// Nothing was taken.
    Refused(Refusal),
}

/// Why nothing was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The word in the account.
    pub reason: String,
    /// For the log.
    pub message: String,
    pub retry: Retry,
}

/// Whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// The destination refuses us, whatever we send.
    Never,
    /// The destination refuses what we sent; a part of it may be welcome.
    NotThis,
    /// When it is due.
    Later,
    /// No sooner than this.
    After(Duration),
}

/// Where requests go.
pub(super) enum Transport {
    Grpc(otlp_grpc::Client),
    Http(otlp_http::Client),
    Debug(debug::Printer),
    File(file::Writer),
}

impl Transport {
    /// Makes what goes over the wire out of the chunks of one request, once for all attempts.
    async fn prepare(&self, chunks: Vec<Bytes>) -> Result<Vec<Bytes>, Refusal> {
        match self {
            Self::Grpc(client) => client.prepare(chunks).await,
            Self::Http(client) => client.prepare(chunks).await,
            Self::Debug(_) | Self::File(_) => Ok(chunks),
        }
    }

    async fn attempt(&self, prepared: &[Bytes]) -> Answer {
        match self {
            Self::Grpc(client) => client.attempt(prepared).await,
            Self::Http(client) => client.attempt(prepared).await,
            Self::Debug(printer) => printer.print(prepared),
            Self::File(writer) => writer.write(prepared).await,
        }
    }
}

/// Sends the batches of one exporter.
pub(super) struct Sender {
    exporter: String,
    transport: Transport,
    schedule: Schedule,
    circuit: Circuit,
    figures: Sending,
    cut: watch::Receiver<bool>,
    logged: Mutex<Option<Instant>>,
}

impl Sender {
    pub fn new(
        exporter: &str,
        transport: Transport,
        schedule: Schedule,
        figures: Sending,
        cut: watch::Receiver<bool>,
    ) -> Self {
        let circuit = Circuit::new(exporter, schedule, figures.circuit_open.clone());
        Self { exporter: exporter.to_owned(), transport, schedule, circuit, figures, cut, logged: Mutex::default() }
    }

    /// Takes and sends, `consumers` batches at a time, until it is cut.
    pub async fn run(self, queue: AnyQueue, consumers: usize) {
        let sender = Arc::new(self);
        let permits = Arc::new(Semaphore::new(consumers));
        let mut cut = sender.cut.clone();
        let mut sending = JoinSet::new();
        loop {
            while sending.try_join_next().is_some() {}
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
            let batch = tokio::select! {
                batch = queue.take() => batch,
                // An error tells that the exporter itself is gone.
                _ = cut.wait_for(|cut| *cut) => break,
            };
            let sender = Arc::clone(&sender);
            sending.spawn(async move {
                sender.deliver(batch).await;
                drop(permit);
            });
        }
        // They have been told as well, and only say what became of their batches.
        while sending.join_next().await.is_some() {}
    }

    /// Sees a batch to its end.
    async fn deliver(&self, batch: Vec<Taken>) {
        let mut cut = self.cut.clone();
        let chunks = batch.iter().map(|taken| taken.wire().clone()).collect();
        let outcome = tokio::select! {
            outcome = self.outcome(chunks) => outcome,
            _ = cut.wait_for(|cut| *cut) => return self.shut_out(batch),
        };
        match outcome {
            Err(refusal) if refusal.retry == Retry::NotThis && batch.len() > 1 => {
                tracing::debug!(
                    event = "export.split",
                    component = self.exporter,
                    requests = batch.len(),
                    reason = refusal.reason
                );
                // Only the guilty one has failed: each is tried alone.
                for taken in batch {
                    let outcome = tokio::select! {
                        outcome = self.outcome(vec![taken.wire().clone()]) => outcome,
                        _ = cut.wait_for(|cut| *cut) => {
                            self.shut_out(vec![taken]);
                            continue;
                        }
                    };
                    self.settle(vec![taken], outcome);
                }
            }
            outcome => self.settle(batch, outcome),
        }
    }

    /// Tries until upstream has taken it or it is given up.
    async fn outcome(&self, chunks: Vec<Bytes>) -> Result<(u64, String), Refusal> {
        let prepared = self.transport.prepare(chunks).await?;
        let started = Instant::now();
        let mut backoff = self.schedule.begin();
        loop {
            // What is tried once is not kept waiting for better times.
            let leave = if self.schedule.enabled { Some(self.circuit.pass().await) } else { None };
            self.figures.in_flight.inc();
            let answer = {
                // An attempt that is cut is not in flight any more either.
                let _landed = Landed(self);
                self.transport.attempt(&prepared).await
            };
            let asked = match &answer {
                Answer::Refused(Refusal { retry: Retry::Later, .. }) => Some(None),
                Answer::Refused(Refusal { retry: Retry::After(asked), .. }) => Some(Some(*asked)),
                Answer::Taken { .. } | Answer::Refused(_) => None,
            };
            match (leave, asked) {
                (Some(leave), Some(asked)) => leave.failed(asked),
                (Some(leave), None) => leave.answered(),
                (None, _) => {}
            }
            let refusal = match answer {
                Answer::Taken { rejected, message } => return Ok((rejected, message)),
                Answer::Refused(refusal) => refusal,
            };
            let Some(asked) = asked else { return Err(refusal) };
            let Some(pause) = backoff.next(started.elapsed(), asked, rand::random()) else { return Err(refusal) };
            if self.may_log() {
                let Refusal { reason, message, .. } = &refusal;
                tracing::warn!(
                    event = "export.retry",
                    component = self.exporter,
                    reason,
                    message,
                    pause_ms = pause.as_millis() as u64
                );
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn settle(&self, batch: Vec<Taken>, outcome: Result<(u64, String), Refusal>) {
        match outcome {
            Ok((mut rejected, message)) => {
                if (rejected > 0 || !message.is_empty()) && self.may_log() {
                    tracing::warn!(event = "export.partial", component = self.exporter, rejected, message);
                }
                let warning = warning(rejected, &message);
                for mut taken in batch {
                    taken.tell(|| Verdict::Taken { warning: warning.clone() });
                    let spans = u64::from(taken.spans());
                    // Upstream does not say which ones.
                    let its_share = rejected.min(spans);
                    rejected -= its_share;
                    self.figures.sent.inc_by(taken.delivered(its_share));
                    self.figures.send_failed.inc_by(its_share);
                }
            }
            Err(refusal) => {
                let spans: u64 = batch.iter().map(|taken| u64::from(taken.spans())).sum();
                self.figures.send_failed.inc_by(spans);
                if self.may_log() {
                    let Refusal { reason, message, .. } = &refusal;
                    tracing::error!(event = "export.failed", component = self.exporter, spans, reason, message);
                }
                for mut taken in batch {
                    if matches!(refusal.retry, Retry::Never | Retry::NotThis) {
                        let Refusal { reason, message, .. } = &refusal;
                        taken.tell(|| Verdict::Refused {
                            reason: format!("upstream has refused it: {reason}: {message}"),
                        });
                    }
                    taken.failed(&refusal.reason);
                }
            }
        }
    }

    fn shut_out(&self, batch: Vec<Taken>) {
        for taken in batch {
            self.figures.send_failed.inc_by(taken.shut_out());
        }
    }

    fn may_log(&self) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let may = logged.is_none_or(|at| at.elapsed() >= LOG_EVERY);
        if may {
            *logged = Some(Instant::now());
        }
        may
    }
}

/// What senders that wait are told of a success that is not a whole one. Upstream does not say whose
/// spans it has rejected, so all that were in the export are told the same.
fn warning(rejected: u64, message: &str) -> String {
    match (rejected, message) {
        (0, message) => message.to_owned(),
        (_, "") => format!("upstream has rejected {rejected} spans of an export that these were part of"),
        _ => format!("upstream has rejected {rejected} spans of an export that these were part of: {message}"),
    }
}

/// Counts an attempt as landed, however it ends.
struct Landed<'s>(&'s Sender);

impl Drop for Landed<'_> {
    fn drop(&mut self) {
        self.0.figures.in_flight.dec();
    }
}
