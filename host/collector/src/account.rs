//! The account: every span that came in is accounted for, on three levels that each add up.
//!
//! - receiver: `received = accepted + refused`
//! - pipeline: `accepted = passed + dropped{by, reason} + quarantined + held`
//! - pipeline and destination: `passed = delivered + failed{reason} + dropped{reason} + held`;
//!   `restored` is the part of `passed` that a queue on disk held when the process began,
//!   `redelivered` the part of `delivered` that upstream may have had before; where a destination has
//!   several upstreams, `by` says which of them has taken what
//!
//! All of it lives in one metric family, `sluice_account_spans{level,name,destination,outcome,by,reason}`,
//! so that what /metrics shows and what the closing account says cannot differ. No figure is ever
//! computed from another: `missing` is what does not add up.

mod report;

use std::sync::Arc;

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

pub use report::Entry;

const LABELS: [&str; 6] = ["level", "name", "destination", "outcome", "by", "reason"];

/// All accounts of the process. Cheap to clone.
#[derive(Clone)]
pub struct Account {
    spans: IntGaugeVec,
}

/// The account of one receiver.
#[derive(Clone)]
pub struct ReceiverAccount {
    /// Spans that reached the door, counted from the request's bytes.
    pub received: IntGauge,
    /// Spans of requests that were answered with success.
    pub accepted: IntGauge,
    /// Spans of requests that were answered with an error.
    pub refused: IntGauge,
}

/// The account of one pipeline.
#[derive(Clone)]
pub struct PipelineAccount {
    account: Account,
    name: String,
    /// Spans that receivers answered for with success.
    pub accepted: IntGauge,
    /// Spans that left the chain towards the destinations.
    pub passed: IntGauge,
    /// Spans that the chain keeps for later.
    pub held: IntGauge,
}

/// The account of one destination of one pipeline.
pub struct DestinationAccount {
    account: Account,
    pipeline: String,
    destination: String,
    /// Spans put into the destination's queue.
    pub passed: IntGauge,
    /// Spans that upstream accepted, where there is one.
    delivered: IntGauge,
    /// Spans that are in the queue or on their way.
    pub held: IntGauge,
}

impl Account {
    /// Registers the metric family.
    ///
    /// # Errors
    /// When the registry holds one of that name already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new("sluice_account_spans", "Every span, by what became of it.");
        let spans = IntGaugeVec::new(opts, &LABELS)?;
        registry.register(Box::new(spans.clone()))?;
        Ok(Self { spans })
    }

    fn cell(&self, values: [&str; 6]) -> IntGauge {
        self.spans.with_label_values(&values)
    }

    /// The account of the receiver with this id.
    pub fn receiver(&self, name: &str) -> ReceiverAccount {
        let cell = |outcome| self.cell(["receiver", name, "", outcome, "", ""]);
        ReceiverAccount { received: cell("received"), accepted: cell("accepted"), refused: cell("refused") }
    }

    /// The account of the pipeline with this id.
    pub fn pipeline(&self, name: &str) -> PipelineAccount {
        let cell = |outcome| self.cell(["pipeline", name, "", outcome, "", ""]);
        PipelineAccount {
            account: self.clone(),
            name: name.to_owned(),
            accepted: cell("accepted"),
            passed: cell("passed"),
            held: cell("held"),
        }
    }

    /// The account of a destination of a pipeline.
    pub fn destination(&self, pipeline: &str, destination: &str) -> Arc<DestinationAccount> {
        let cell = |outcome| self.cell(["destination", pipeline, destination, outcome, "", ""]);
        Arc::new(DestinationAccount {
            account: self.clone(),
            pipeline: pipeline.to_owned(),
            destination: destination.to_owned(),
            passed: cell("passed"),
            delivered: cell("delivered"),
            held: cell("held"),
        })
    }
}

impl PipelineAccount {
    /// The cell of the spans that are in the quarantine because `by` (a component id) failed on them.
    pub fn quarantined(&self, by: &str) -> IntGauge {
        self.account.cell(["pipeline", &self.name, "", "quarantined", by, ""])
    }

    /// The cell of the spans that `by` (a component id) dropped for `reason`.
    pub fn dropped(&self, by: &str, reason: &str) -> IntGauge {
        self.account.cell(["pipeline", &self.name, "", "dropped", by, reason])
    }
}

impl DestinationAccount {
    /// The pipeline's id.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// Counts spans that were found in the destination's queue on disk: they passed before this
    /// process began.
    pub fn restored(&self, spans: u64) {
        self.passed.add(spans as i64);
        self.held.add(spans as i64);
        self.add("restored", "", spans);
    }

    /// Counts spans that upstream accepted; `by` is which one if there are several.
    pub fn delivered(&self, by: Option<&str>, spans: u64) {
        match by {
            None => self.delivered.add(spans as i64),
            Some(by) => self.cell("delivered", by, "").add(spans as i64),
        }
    }

    /// Counts, beside `delivered`, spans that may have been delivered before.
    pub fn redelivered(&self, spans: u64) {
        self.add("redelivered", "", spans);
    }

    /// Counts spans that we tried to deliver and upstream did not take.
    pub fn failed(&self, reason: &str, spans: u64) {
        self.add("failed", reason, spans);
    }

    /// Counts spans that a policy of the queue dropped.
    pub fn dropped(&self, reason: &str, spans: u64) {
        self.add("dropped", reason, spans);
    }

    fn add(&self, outcome: &str, reason: &str, spans: u64) {
        self.cell(outcome, "", reason).add(spans as i64);
    }

    fn cell(&self, outcome: &str, by: &str, reason: &str) -> IntGauge {
        self.account.cell(["destination", &self.pipeline, &self.destination, outcome, by, reason])
    }
}
