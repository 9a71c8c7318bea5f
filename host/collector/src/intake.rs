//! Where a receiver hands in a request: the door of the chain.
//!
//! A request goes through the chains of all pipelines of its receiver; then room is reserved in
//! every destination's queue, and only if all of them have it is the request put into all. So it
//! is taken whole or refused whole, and the sender of a refused one still has it. Where a queue is on
//! disk, taken means that the disk has it; where one waits for results, that upstream has it.

mod entered;
mod line;

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use line::Line;
use sluice_spans::{Batch, Malformed};
use tokio::sync::oneshot;

use crate::account::ReceiverAccount;
use crate::chain::{self, Passed};
use crate::cores::Core;
use crate::queue::{Arriving, Bound, Full, Landing, NoRoom, Pending, Queued, Rooms, Verdict};
use crate::route::{Destination, PipelinePlan, ReceiverPlan, Routes};

use entered::Entered;

/// A chain that costs less than this is not worth waiting in line for, nor another core's attention:
/// each costs some microseconds.
const WORTH_LINING_UP_NS: u64 = 5_000;

/// When a sender should come back that was refused for lack of room or while starting.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// How long a sender is let wait for the result if it does not say for how long it does.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The way in for the requests of one connection of a receiver, on one core. Cheap to clone; not `Send`.
#[derive(Clone)]
pub struct Intake {
    core: Rc<Core>,
    receiver: usize,
    line: Rc<Line>,
}

/// A request whose spans are in every destination's queue, or upstream where that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// How many spans the request held.
    pub spans: u32,
    /// What its sender should know all the same; empty if there is nothing.
    pub warning: String,
}

impl Accepted {
    /// Without a warning.
    pub fn all(spans: u32) -> Self {
        Self { spans, warning: String::new() }
    }
}

/// Why a request was not taken. Nothing of it has been kept, but where its result was waited for in vain:
/// there it may still be delivered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refused {
    /// The bytes are no OTLP request. Never to be retried (400, `INVALID_ARGUMENT`).
    #[error("malformed request: {0}")]
    Malformed(#[from] Malformed),
    /// No destination could ever hold it. Never to be retried as it is (413, `RESOURCE_EXHAUSTED`).
    #[error("{0}")]
    TooLarge(Full),
    /// A destination that is waited for has refused it for good. Never to be retried (500,
    /// `INTERNAL`).
    #[error("{0}")]
    Final(String),
    /// No room now, or a plugin that must not be passed by has failed. To be retried
    /// (503 with Retry-After, `UNAVAILABLE` with `RetryInfo`).
    #[error("{reason}")]
    Unavailable {
        /// What the sender may know about why.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
}

impl Intake {
    pub(crate) fn new(core: Rc<Core>, receiver: usize) -> Self {
        Self { core, receiver, line: Rc::default() }
    }

    /// Passes one `ExportTraceServiceRequest` through all pipelines of the receiver and into all
    /// their queues, or refuses it whole. Where results are waited for, the answer comes before
    /// `deadline`, from when on the sender does not wait for it any more.
    pub async fn submit(&self, wire: Bytes, deadline: Option<Instant>) -> Result<Accepted, Refused> {
        if self.core.chain_ns.get() < WORTH_LINING_UP_NS {
            return take(&self.core, self.receiver, wire, deadline).await;
        }
        let answer = self.line.pass(&self.core, self.receiver, wire, deadline).await;
        answer.unwrap_or_else(|| Err(unavailable("stopping")))
    }

    /// What it takes to look into a request, in bytes, beside the request: nothing if no plugin does.
    pub fn index_bytes(&self, wire: &[u8]) -> usize {
        let routes = self.core.routes();
        let receiver = routes.plan.as_ref().and_then(|plan| plan.receivers.get(self.receiver));
        if receiver.is_some_and(|receiver| has_processors(&routes, receiver)) {
            sluice_spans::index_bytes(wire, chain::SLICE_SPANS)
        } else {
            0
        }
    }
}

/// Sees to it that what was received is accepted or refused, whatever happens between: a sender
/// that goes away takes its request's future with it.
struct Door {
    of: Of,
    spans: u32,
    accepted: bool,
}

/// Where spans have come from.
enum Of {
    /// The receiver of this number.
    Receiver(Rc<Routes>, usize),
    Quarantine(ReceiverAccount),
}

impl Door {
    fn accept(mut self) {
        self.accepted = true;
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let account = match &self.of {
            Of::Receiver(routes, index) => {
                routes.plan.as_ref().and_then(|plan| plan.receivers.get(*index)).map(|receiver| &receiver.account)
            }
            Of::Quarantine(account) => Some(account),
        };
        let Some(account) = account else { return };
        account.answered(self.spans, self.accepted);
    }
}

async fn take(core: &Core, index: usize, wire: Bytes, deadline: Option<Instant>) -> Result<Accepted, Refused> {
    // Boxed: what takes much room is there only while it is needed, and not while a disk is waited for.
    let (spans, entered) = Box::pin(enter(core, index, wire, deadline)).await?;
    Ok(Accepted { spans, warning: entered.warning().await? })
}

/// Gives how many spans it holds, too.
async fn enter(core: &Core, index: usize, wire: Bytes, deadline: Option<Instant>) -> Result<(u32, Entered), Refused> {
    let routes = core.routes();
    let Some(receiver) = routes.plan.as_ref().and_then(|plan| plan.receivers.get(index)) else {
        return Err(unavailable("starting"));
    };
    if receiver.pipelines.is_empty() {
        return Err(unavailable("the receiver is being closed"));
    }
    let has_processors = has_processors(&routes, receiver);
    // A request that no plugin looks into need not be indexed.
    let malformed = |malformed| {
        // As far as its spans can be counted all the same.
        let spans = sluice_spans::count_spans(&wire).unwrap_or(0);
        receiver.account.received(spans);
        receiver.account.answered(spans, false);
        Refused::Malformed(malformed)
    };
    let indexed = has_processors.then(|| Batch::parse(wire.clone())).transpose();
    let mut indexed = indexed.map_err(malformed)?;
    let verdict = match &indexed {
        Some(batch) => batch.verdict(),
        None => sluice_spans::validate(&wire).map_err(malformed)?,
    };
    let spans = verdict.spans;
    receiver.account.received(spans);
    let door = Door { of: Of::Receiver(Rc::clone(&routes), index), spans, accepted: false };
    if spans == 0 {
        return Ok((spans, Entered::Done(Duration::ZERO)));
    }
    let arriving = arriving(&routes, receiver);
    let started = Instant::now();
    let mut all = Vec::with_capacity(receiver.pipelines.len());
    for (index, pipeline) in pipelines(&routes, receiver) {
        let mine = if pipeline.processors.is_empty() { None } else { indexed.take() };
        let batch = mine.unwrap_or_else(|| Batch::from_validated(wire.clone(), verdict));
        all.push((index, chain::run(&routes, pipeline, batch, 0).await?));
    }
    core.has_cost(started.elapsed());
    let by = answer_by(Instant::now(), deadline);
    let queued = match arriving {
        // Who waits for the result does not wait longer for room.
        Some(arriving) => {
            let queued = tokio::time::timeout_at(by.into(), queue(&routes, &all)).await;
            drop(arriving);
            queued.map_err(|_| unavailable("the queue has found no room in time"))??
        }
        None => queue(&routes, &all).await?,
    };
    Ok((spans, land(core, &routes, all, queued, door, by)))
}

/// Lets the queues that this receiver's requests wait for know that one is coming.
fn arriving(routes: &Routes, receiver: &ReceiverPlan) -> Option<Arriving> {
    let destinations = pipelines(routes, receiver).flat_map(|(_, pipeline)| &pipeline.destinations);
    let mut waiting = destinations.filter_map(|destination| destination.queue.waiting()).peekable();
    waiting.peek()?;
    Some(Arriving::at(waiting.cloned().collect()))
}

/// Counts what the queues have, when they have it and upstream has what is waited for.
fn land(
    core: &Core,
    routes: &Rc<Routes>,
    all: Vec<(usize, Passed)>,
    queued: Queued,
    door: Door,
    by: Instant,
) -> Entered {
    let spans = door.spans;
    let Queued { landings, results, pause } = queued;
    if landings.is_empty() && results.is_empty() {
        count(routes, all, spans);
        door.accept();
        // Who waits no longer sends it again.
        return Entered::Done(pause.min(by.saturating_duration_since(Instant::now()) / 2));
    }
    // It is taken whether its sender waits or not, and it is counted as what became of it.
    let routes = Rc::clone(routes);
    let (tell, told) = oneshot::channel();
    core.landings.see_to(Box::pin(async move {
        let landed = see_landed(landings, results, by).await;
        if landed.is_ok() {
            count(&routes, all, spans);
            door.accept();
        }
        // The sender may have gone.
        let _ = tell.send(landed);
    }));
    Entered::Waits(told)
}

/// Waits until disks and upstream have it. Gives what upstream warns of.
async fn see_landed(landings: Vec<Landing>, results: Vec<Pending>, by: Instant) -> Result<String, Refused> {
    // All of them are seen to their end, so that each is in its account what it came to.
    let mut refused = None;
    for landing in landings {
        refused = landing.landed().await.err().or(refused);
    }
    if let Some(error) = refused {
        return Err(unavailable(&error.to_string()));
    }
    if results.is_empty() {
        return Ok(String::new());
    }
    // Boxed: few wait for results, and what waits for a disk is small without it.
    warning(Box::pin(together(results, by)).await)
}

/// When a sender has to be answered at the latest that waits until `deadline`: a little earlier than
/// that, so that it hears it.
fn answer_by(now: Instant, deadline: Option<Instant>) -> Instant {
    let left = deadline.map_or(MAX_WAIT, |deadline| deadline.saturating_duration_since(now) * 9 / 10);
    now + left.min(MAX_WAIT)
}

/// The verdict of all destinations that are waited for, or that it took too long. Then the request stays
/// where it is; if its sender sends it again, upstream may get it twice.
async fn together(results: Vec<Pending>, by: Instant) -> Verdict {
    let all = async {
        let mut verdict = Verdict::TAKEN;
        for result in results {
            verdict = verdict.and(result.verdict().await);
        }
        verdict
    };
    let all = tokio::time::timeout_at(by.into(), all).await;
    all.unwrap_or_else(|_| Verdict::unavailable("upstream has not answered in time"))
}

fn warning(verdict: Verdict) -> Result<String, Refused> {
    match verdict {
        Verdict::Taken { warning } => Ok(warning),
        Verdict::Refused { reason } => Err(Refused::Final(reason)),
        Verdict::Unavailable { reason } => Err(unavailable(&reason)),
    }
}

/// Passes spans that a plugin had failed on through that plugin of that pipeline, all that follow it,
/// and into the queues, or refuses them.
pub(crate) async fn replay(
    core: &Core,
    account: &ReceiverAccount,
    pipeline: &str,
    plugin: &str,
    wire: Bytes,
) -> Result<Accepted, Refused> {
    let routes = core.routes();
    let plan = routes.plan.as_ref().ok_or_else(|| unavailable("starting"))?;
    let number = plan.pipelines.iter().position(|known| known.id == pipeline);
    let found = number.and_then(|number| Some((number, plan.pipelines.get(number)?)));
    let (number, found) = found.ok_or_else(|| unavailable(&format!("there is no pipeline `{pipeline}`")))?;
    let is_it = |&processor: &usize| plan.processors.get(processor).is_some_and(|slot| slot.id == plugin);
    let from = found.processors.iter().position(is_it);
    let from = from.ok_or_else(|| unavailable(&format!("the pipeline `{pipeline}` has no processor `{plugin}`")))?;
    let batch = Batch::parse(wire)?;
    let spans = batch.spans();
    account.received(spans);
    let door = Door { of: Of::Quarantine(account.clone()), spans, accepted: false };
    let passed = chain::run(&routes, found, batch, from).await?;
    let all = vec![(number, passed)];
    let queued = queue(&routes, &all).await?;
    let warning = land(core, &routes, all, queued, door, answer_by(Instant::now(), None)).warning().await?;
    Ok(Accepted { spans, warning })
}

fn has_processors(routes: &Routes, receiver: &ReceiverPlan) -> bool {
    pipelines(routes, receiver).any(|(_, pipeline)| !pipeline.processors.is_empty())
}

fn pipelines<'r>(routes: &'r Routes, receiver: &'r ReceiverPlan) -> impl Iterator<Item = (usize, &'r PipelinePlan)> {
    let plan = routes.plan.as_deref();
    receiver.pipelines.iter().filter_map(move |&index| Some((index, plan?.pipelines.get(index)?)))
}

/// Puts what passed the pipelines with these numbers into all queues, or into none.
async fn queue(routes: &Routes, all: &[(usize, Passed)]) -> Result<Queued, Refused> {
    let mut bound: Vec<_> = bound(routes, all).collect();
    Ok(Rooms::reserve(&mut bound).await.map_err(no_room)?.commit())
}

/// What is left of each request, for each destination of the pipeline that it has passed.
fn bound<'r>(routes: &'r Routes, all: &'r [(usize, Passed)]) -> impl Iterator<Item = Bound<'r>> {
    let plan = routes.plan.as_deref();
    let passed = all.iter().filter_map(move |(index, passed)| Some((plan?.pipelines.get(*index)?, passed)));
    let left = passed.flat_map(|(pipeline, passed)| passed.left.iter().map(move |left| (pipeline, left)));
    let left = left.filter(|(_, (_, spans))| *spans > 0);
    left.flat_map(|(PipelinePlan { id, destinations, .. }, (wire, spans))| {
        let (pipeline, spans) = (id.as_str(), *spans);
        destinations.iter().map(move |Destination { queue, account }| Bound { queue, account, pipeline, wire, spans })
    })
}

/// Counts what the queues have taken.
fn count(routes: &Routes, all: Vec<(usize, Passed)>, entered: u32) {
    for (index, passed) in all {
        let Some(pipeline) = routes.plan.as_ref().and_then(|plan| plan.pipelines.get(index)) else { continue };
        passed.count(routes, pipeline, entered);
    }
}

fn no_room(full: Full) -> Refused {
    if full.why == NoRoom::TooLarge { Refused::TooLarge(full) } else { unavailable(&full.to_string()) }
}

fn unavailable(reason: &str) -> Refused {
    Refused::Unavailable { reason: reason.to_owned(), retry_after: FULL_RETRY }
}
