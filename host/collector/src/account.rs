//! The account: every span that came in is accounted for, on three levels that each add up.
//!
//! - receiver: `received = accepted + refused + held`; what is held has not been answered yet
//! - pipeline: `accepted = passed + dropped{by, reason} + quarantined + held`
//! - pipeline and destination: `passed = delivered + failed{reason} + dropped{reason} + held`;
//!   `restored` is the part of `passed` that a queue on disk held when the process began,
//!   `redelivered` the part of `delivered` that upstream may have had before; where a destination has
//!   several upstreams, `by` says which of them has taken what
//!
//! All of it lives in one metric family, `sluice_account_spans{level,name,destination,outcome,by,reason}`,
//! so that what /metrics shows and what the closing account says cannot differ. No figure is ever
//! computed from another: `missing` is what does not add up.
//!
//! What happens to a span changes two figures or more. They change together for whoever reads the
//! account, so that it adds up at every moment, and not only in the end; [`Watch`] sees to that.
//! [`Keeper`] has it outlive the process.

mod cells;
mod destination;
mod kept;
mod report;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use cells::Cell;
pub use destination::{Delivery, DestinationAccount};
pub use kept::Keeper;
pub use report::Entry;
pub use watch::{IMBALANCE_AFTER, Watch};

const LABELS: [&str; 6] = ["level", "name", "destination", "outcome", "by", "reason"];

/// All accounts of the process. Cheap to clone.
#[derive(Clone)]
pub struct Account {
    spans: IntGaugeVec,
    missing: IntGaugeVec,
    /// Whoever counts shares it; whoever reads has it alone. It is never held while anything else is
    /// waited for.
    turn: Arc<RwLock<()>>,
    since: Arc<Mutex<SystemTime>>,
}

/// What /metrics reads: figures that add up.
struct Shown(Account);

/// The account of one receiver.
#[derive(Clone)]
pub struct ReceiverAccount {
    account: Account,
    received: IntGauge,
    accepted: IntGauge,
    refused: IntGauge,
    held: IntGauge,
}

/// The account of one pipeline.
#[derive(Clone)]
pub struct PipelineAccount {
    account: Account,
    name: String,
    accepted: IntGauge,
    passed: IntGauge,
}

/// What a chain has made of a request, in spans.
#[derive(Debug, Default)]
pub struct Settled<'s> {
    /// Of the request, for which its receiver answers with success.
    pub accepted: u32,
    /// That left the chain towards the destinations.
    pub passed: u32,
    /// That a component dropped: its id, the reason, how many.
    pub dropped: Vec<(&'s str, &'s str, u64)>,
    /// In the quarantine, because a component failed on them: its id, how many.
    pub quarantined: Vec<(&'s str, u64)>,
}

impl Account {
    /// Registers the metric families.
    ///
    /// # Errors
    /// When the registry holds one of these names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new("sluice_account_spans", "Every span, by what became of it.");
        let missing = Opts::new("sluice_account_missing_spans", "Spans by which an account has not added up for long.");
        let account = Self {
            spans: IntGaugeVec::new(opts, &LABELS)?,
            missing: IntGaugeVec::new(missing, &["level", "name", "destination"])?,
            turn: Arc::default(),
            since: Arc::new(Mutex::new(SystemTime::now())),
        };
        registry.register(Box::new(Shown(account.clone())))?;
        registry.register(Box::new(account.missing.clone()))?;
        Ok(account)
    }

    fn cell(&self, values: [&str; 6]) -> IntGauge {
        self.spans.with_label_values(&values)
    }

    /// What is counted while it is held is seen together.
    fn counting(&self) -> RwLockReadGuard<'_, ()> {
        self.turn.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// All figures, as they are between two changes.
    fn still(&self) -> Vec<MetricFamily> {
        let _alone = self.turn.write().unwrap_or_else(PoisonError::into_inner);
        self.spans.collect()
    }

    /// The account of the receiver with this id.
    pub fn receiver(&self, name: &str) -> ReceiverAccount {
        let cell = |outcome| self.cell(["receiver", name, "", outcome, "", ""]);
        ReceiverAccount {
            received: cell("received"),
            accepted: cell("accepted"),
            refused: cell("refused"),
            held: cell("held"),
            account: self.clone(),
        }
    }

    /// The account of the pipeline with this id.
    pub fn pipeline(&self, name: &str) -> PipelineAccount {
        let cell = |outcome| self.cell(["pipeline", name, "", outcome, "", ""]);
        // Nothing is kept by a chain between two requests, and it is shown that it is so.
        cell("held");
        let (accepted, passed) = (cell("accepted"), cell("passed"));
        PipelineAccount { account: self.clone(), name: name.to_owned(), accepted, passed }
    }

    /// The account of a destination of a pipeline.
    pub fn destination(&self, pipeline: &str, destination: &str) -> Arc<DestinationAccount> {
        Arc::new(DestinationAccount::new(self, pipeline, destination))
    }
}

impl Collector for Shown {
    fn desc(&self) -> Vec<&Desc> {
        self.0.spans.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.still()
    }
}

impl ReceiverAccount {
    /// Counts spans that have reached the door, from the request's bytes. They are held until they
    /// are answered for.
    pub fn received(&self, spans: u32) {
        let _together = self.account.counting();
        self.received.add(i64::from(spans));
        self.held.add(i64::from(spans));
    }

    /// Counts spans whose request was answered: with success, or with an error.
    pub fn answered(&self, spans: u32, success: bool) {
        let _together = self.account.counting();
        self.held.sub(i64::from(spans));
        let outcome = if success { &self.accepted } else { &self.refused };
        outcome.add(i64::from(spans));
    }
}

impl PipelineAccount {
    /// Counts the spans of a request that its queues have.
    pub fn settled(&self, settled: &Settled<'_>) {
        let _together = self.account.counting();
        self.accepted.add(i64::from(settled.accepted));
        self.passed.add(i64::from(settled.passed));
        for (by, reason, spans) in &settled.dropped {
            self.cell("dropped", by, reason).add(*spans as i64);
        }
        for (by, spans) in &settled.quarantined {
            self.cell("quarantined", by, "").add(*spans as i64);
        }
    }

    fn cell(&self, outcome: &str, by: &str, reason: &str) -> IntGauge {
        self.account.cell(["pipeline", &self.name, "", outcome, by, reason])
    }
}
