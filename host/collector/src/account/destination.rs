//! The account of one destination of one pipeline.

use prometheus::IntGauge;

use super::Account;

/// The account of one destination of one pipeline.
pub struct DestinationAccount {
    account: Account,
    pipeline: String,
    destination: String,
    passed: IntGauge,
    /// Where there is one upstream.
    delivered: IntGauge,
    held: IntGauge,
}

/// What upstream has made of a request, in spans.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delivery<'d> {
    /// Of the request, as they were put in.
    pub held: u32,
    /// That upstream accepted, counted from what was sent.
    pub delivered: u64,
    /// That upstream will never take.
    pub rejected: u64,
    /// Which upstream, if there are several.
    pub by: Option<&'d str>,
    /// Whether it may have had them before.
    pub again: bool,
}

impl DestinationAccount {
    pub(super) fn new(account: &Account, pipeline: &str, destination: &str) -> Self {
        let cell = |outcome| account.cell(["destination", pipeline, destination, outcome, "", ""]);
        Self {
            passed: cell("passed"),
            delivered: cell("delivered"),
            held: cell("held"),
            account: account.clone(),
            pipeline: pipeline.to_owned(),
            destination: destination.to_owned(),
        }
    }

    /// The pipeline's id.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// Counts spans that are put into the destination's queue.
    pub fn passed(&self, spans: u64) {
        let _together = self.account.counting();
        self.enter(spans as i64);
    }

    /// Spans that were put in are not: the queue could not keep them, and their sender knows.
    pub fn not_kept(&self, spans: u64) {
        let _together = self.account.counting();
        self.enter(-(spans as i64));
    }

    /// Counts spans that were found in the destination's queue on disk: they passed before this
    /// process began.
    pub fn restored(&self, spans: u64) {
        let _together = self.account.counting();
        self.enter(spans as i64);
        self.add("restored", "", "", spans);
    }

    /// Counts spans of a request that upstream accepted, and those of it that it did not.
    pub fn delivered(&self, delivery: &Delivery<'_>) {
        let _together = self.account.counting();
        self.held.sub(i64::from(delivery.held));
        match delivery.by {
            None => self.delivered.add(delivery.delivered as i64),
            Some(by) => self.add("delivered", by, "", delivery.delivered),
        }
        if delivery.again {
            self.add("redelivered", "", "", delivery.delivered);
        }
        if delivery.rejected > 0 {
            self.add("failed", "", "partial_success", delivery.rejected);
        }
    }

    /// Counts spans that we tried to deliver and upstream did not take.
    pub fn failed(&self, reason: &str, spans: u64) {
        self.gone("failed", reason, spans);
    }

    /// Counts spans that a policy of the queue dropped.
    pub fn dropped(&self, reason: &str, spans: u64) {
        self.gone("dropped", reason, spans);
    }

    fn enter(&self, spans: i64) {
        self.passed.add(spans);
        self.held.add(spans);
    }

    fn gone(&self, outcome: &str, reason: &str, spans: u64) {
        let _together = self.account.counting();
        self.held.sub(spans as i64);
        self.add(outcome, "", reason, spans);
    }

    fn add(&self, outcome: &str, by: &str, reason: &str, spans: u64) {
        let cell = self.account.cell(["destination", &self.pipeline, &self.destination, outcome, by, reason]);
        cell.add(spans as i64);
    }
}
