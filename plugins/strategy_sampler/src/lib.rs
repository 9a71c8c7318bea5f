//! The `strategy_sampler` processor: samples by service and operation, with the strategies of a Jaeger
//! strategies file: all or nothing, a probability, or a number of traces a second.
//!
//! Probabilities are judged by trace ids alone and told in `tracestate` (OTEP 235). Limits are token
//! buckets in the store, one a service, for all cores together. What a span asks for itself comes first.

mod config;
mod decisions;
mod forced;
mod strategy;

use std::collections::BTreeMap;
use std::time::Duration;

use sluice_sampling::{Priority, Sampler, Verdict, Verdicts, without_threshold};
use sluice_sdk::fields::TRACE_STATE;
use sluice_sdk::prelude::*;

pub use config::Config;
use decisions::{Decisions, TraceId};
use forced::Wishes;
use strategy::{Choice, Names, Strategies};

const TRACE_ID_BYTES: usize = 16;

/// The plugin.
pub struct StrategySampler {
    strategies: Strategies,
    /// For spans that are kept in any case.
    forced: Sampler,
    /// How long what was decided on a trace is remembered; none for not at all.
    ttl: Option<Duration>,
    /// What has no trace id has no limit to be under: it is dropped, else kept.
    fail_closed: bool,
}

/// What a batch says about its spans.
struct Spans<'a> {
    trace_ids: &'a [TraceId],
    wishes: Vec<Priority>,
    names: &'a Names,
}

impl Plugin for StrategySampler {
    type Config = Config;

    fn describe() -> Description {
        let mut description = Description::new("strategy_sampler", env!("CARGO_PKG_VERSION"))
            .capability("log")
            .capability("store")
            .read("resources.attributes:service.name")
            .read("spans.ids")
            .read("spans.name")
            .read("spans.trace_state");
        for key in forced::KEYS {
            description = description.read(&format!("spans.attributes:{key}"));
        }
        description.write("spans.trace_state").write("spans.drop")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        config.read().map(Configured::new)
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let ids = batch.trace_ids(Table::Spans)?;
        let (trace_ids, _) = ids.as_chunks::<TRACE_ID_BYTES>();
        if trace_ids.is_empty() {
            return Ok(());
        }
        let wishes = Wishes::pull(batch)?;
        let names = Names::pull(batch, self.strategies.by_operation())?;
        let states = batch.texts(Table::Spans, TRACE_STATE)?;
        let wishes = (0..trace_ids.len()).map(|row| wishes.of(row)).collect();
        let spans = Spans { trace_ids, wishes, names: &names };
        let decisions = self.decide(&spans)?;

        let mut verdicts = Verdicts::with_capacity(trace_ids.len());
        for row in 0..trace_ids.len() {
            let verdict = self.judge(&spans, row, states.str(row), &decisions, &mut verdicts.states.bytes);
            verdicts.note(row, verdict);
        }
        verdicts.push(batch)
    }
}

impl<'a> Spans<'a> {
    /// The spans that ask for this, and have a trace.
    fn asking(&self, wish: Priority) -> impl Iterator<Item = (usize, &'a TraceId)> {
        let rows = self.trace_ids.iter().enumerate().zip(&self.wishes);
        rows.filter(move |((_, id), of)| **of == wish && **id != [0; TRACE_ID_BYTES]).map(|(row, _)| row)
    }
}

impl StrategySampler {
    /// Decides on what must be decided for whole traces.
    fn decide<'a>(&self, spans: &Spans<'a>) -> Result<Decisions<'a>, Failure> {
        let ids = |wish| spans.asking(wish).map(|(_, id)| id);
        let mut decisions = Decisions::new(ids(Priority::Keep), ids(Priority::Defer), self.ttl)?;
        let mut parts = BTreeMap::new();
        for (row, id) in spans.asking(Priority::Defer) {
            if !decisions.forces(id)
                && let Choice::Limited(bucket) = self.strategies.of(spans.names, row)
            {
                parts.insert((spans.names.service(row), id), *bucket);
            }
        }
        decisions.limit(parts, self.ttl)?;
        Ok(decisions)
    }

    /// Decides on a span; writes the `tracestate` of one that is kept to the end of `out`.
    fn judge(
        &self,
        spans: &Spans<'_>,
        row: usize,
        state: &str,
        decisions: &Decisions<'_>,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let (Some(id), Some(wish)) = (spans.trace_ids.get(row), spans.wishes.get(row)) else { return Verdict::Keep };
        if *wish == Priority::Drop {
            return Verdict::Drop;
        }
        if *wish == Priority::Keep || decisions.forces(id) {
            return self.forced.judge(id, state, Priority::Keep, out);
        }
        match self.strategies.of(spans.names, row) {
            Choice::Sampled(sampler) => sampler.judge(id, state, Priority::Defer, out),
            Choice::Limited(_) if *id == [0; TRACE_ID_BYTES] => {
                if self.fail_closed {
                    Verdict::Drop
                } else {
                    Verdict::Keep
                }
            }
            Choice::Limited(_) if decisions.lets_through((spans.names.service(row), id)) => {
                without_threshold(state, out)
            }
            Choice::Limited(_) => Verdict::Drop,
        }
    }
}

sluice_sdk::export!(StrategySampler);
