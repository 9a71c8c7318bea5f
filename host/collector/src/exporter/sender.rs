//! Sending: takes batches from the queue, tries until there is an outcome, and settles it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::retry::Schedule;
use super::upstreams::{Course, Turn, Upstreams};
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
    /// Upstream may have it all the same: its answer was lost, or says nothing of that.
    pub maybe_taken: bool,
}

/// What upstream has made of a request that it took.
struct Delivered<'u> {
    /// Which upstream, if there are several.
    by: Option<&'u str>,
    rejected: u64,
    message: String,
    /// It, or another one, may have had it before.
    again: bool,
}

/// Whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// The destination refuses us, whatever we send.
    Never,
    /// The destination refuses what we sent; a part of it may be welcome.
    NotThis,
    /// The destination has it or not; nothing that we could send would tell.
    Done,
    /// When it is due.
    Later,
    /// No sooner than this.
    After(Duration),
}

impl Retry {
    /// Whether no upstream is to have it after that, nor this one again.
    fn is_final(self) -> bool {
        matches!(self, Self::NotThis | Self::Done)
    }
}

/// A request, and what was made of it for the upstream that it was last offered to.
struct Outgoing {
    chunks: Vec<Bytes>,
    prepared: Option<(usize, Vec<Bytes>)>,
}

impl Outgoing {
    async fn prepared(&mut self, upstream: usize, transport: &Transport) -> Result<&[Bytes], Refusal> {
        if self.prepared.as_ref().is_none_or(|(known, _)| *known != upstream) {
            self.prepared = Some((upstream, transport.prepare(self.chunks.clone()).await?));
        }
        Ok(self.prepared.as_ref().map_or(&[], |(_, prepared)| prepared))
    }
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
    upstreams: Upstreams,
    schedule: Schedule,
    figures: Sending,
    cut: watch::Receiver<bool>,
    logged: Mutex<Option<Instant>>,
}

impl Sender {
    pub fn new(
        exporter: &str,
        upstreams: Upstreams,
        schedule: Schedule,
        figures: Sending,
        cut: watch::Receiver<bool>,
    ) -> Self {
        Self { exporter: exporter.to_owned(), upstreams, schedule, figures, cut, logged: Mutex::default() }
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
            outcome = self.outcome(chunks, false) => outcome,
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
                        outcome = self.outcome(vec![taken.wire().clone()], refusal.maybe_taken) => outcome,
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

    /// Tries until an upstream has taken it or it is given up.
    /// `again` says that upstream may have it already.
    async fn outcome(&self, chunks: Vec<Bytes>, again: bool) -> Result<Delivered<'_>, Refusal> {
        let mut request = Outgoing { chunks, prepared: None };
        let mut course = self.upstreams.course(again);
        let started = Instant::now();
        let mut backoff = self.schedule.begin();
        loop {
            let refusal = match self.round(&mut request, &mut course).await {
                Ok(delivered) => return Ok(delivered),
                Err(refusal) => refusal,
            };
            let refusal = Refusal { maybe_taken: course.maybe_taken, ..refusal };
            if refusal.retry.is_final() || course.is_over() {
                return Err(refusal);
            }
            let asked = course.end_round(Instant::now());
            let Some(pause) = backoff.next(started.elapsed(), asked, rand::random()) else {
                // Another upstream might have taken it yet.
                return Err(Refusal { retry: Retry::Later, ..refusal });
            };
            if self.may_log() {
                let Refusal { reason, message, .. } = &refusal;
                let pause_ms = pause.as_millis() as u64;
                tracing::warn!(event = "export.retry", component = self.exporter, reason, message, pause_ms);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Offers it to one upstream after the other. An error is what the last one of them has said.
    async fn round<'s>(&'s self, request: &mut Outgoing, course: &mut Course) -> Result<Delivered<'s>, Refusal> {
        let mut turn = self.upstreams.first(course).await;
        loop {
            let (index, upstream) = (turn.index, turn.upstream);
            let refusal = match self.attempt(turn, request).await {
                Answer::Taken { rejected, message } => {
                    let by = upstream.id.as_deref();
                    return Ok(Delivered { by, rejected, message, again: course.maybe_taken });
                }
                Answer::Refused(refusal) => refusal,
            };
            course.refused(index, &refusal, Instant::now());
            if refusal.retry.is_final() {
                return Err(refusal);
            }
            let Some(next) = self.upstreams.another(course) else { return Err(refusal) };
            if self.may_log() {
                let Refusal { reason, message, .. } = &refusal;
                let (from, to) = (&upstream.id, &next.upstream.id);
                tracing::warn!(event = "export.failover", component = self.exporter, from, to, reason, message);
            }
            turn = next;
        }
    }

    async fn attempt(&self, turn: Turn<'_>, request: &mut Outgoing) -> Answer {
        let Turn { index, upstream, leave } = turn;
        let prepared = match request.prepared(index, &upstream.transport).await {
            Ok(prepared) => prepared,
            // Upstream was not asked; the leave goes to another.
            Err(refusal) => return Answer::Refused(refusal),
        };
        let answer = {
            // An attempt that is cut is not in flight any more either.
            let _landed = Landed::begin(self);
            upstream.transport.attempt(prepared).await
        };
        if let Some(leave) = leave {
            match &answer {
                Answer::Refused(Refusal { retry: Retry::Later, .. }) => leave.failed(None),
                Answer::Refused(Refusal { retry: Retry::After(asked), .. }) => leave.failed(Some(*asked)),
                Answer::Taken { .. } | Answer::Refused(_) => leave.answered(),
            }
        }
        answer
    }

    fn settle(&self, batch: Vec<Taken>, outcome: Result<Delivered<'_>, Refusal>) {
        match outcome {
            Ok(Delivered { by, mut rejected, message, again }) => {
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
                    self.figures.sent.inc_by(taken.delivered(its_share, by, again));
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
                    if matches!(refusal.retry, Retry::Never | Retry::NotThis | Retry::Done) {
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

/// Counts an attempt as in flight, however it ends.
struct Landed<'s>(&'s Sender);

impl<'s> Landed<'s> {
    fn begin(sender: &'s Sender) -> Self {
        sender.figures.in_flight.inc();
        Self(sender)
    }
}

impl Drop for Landed<'_> {
    fn drop(&mut self) {
        self.0.figures.in_flight.dec();
    }
}
