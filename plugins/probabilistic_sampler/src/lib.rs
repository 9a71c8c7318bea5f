//! The `probabilistic_sampler` processor: keeps a share of the traces, consistently by trace id,
//! with the Collector's keys, modes and decisions.
//!
//! What is kept says with which probability: `ot=th:…` in `tracestate` (OTEP 235). Traces are
//! judged by their ids alone, so every collector with the same configuration keeps the same ones.

mod config;

use std::ops::Range;

use sluice_sampling::{Judge, Priority, Sampler, Verdict, Verdicts};
use sluice_sdk::fields::TRACE_STATE;
use sluice_sdk::log;
use sluice_sdk::prelude::*;

pub use config::Config;

const PRIORITY: &str = "sampling.priority";
const TRACE_ID_BYTES: usize = 16;

/// The plugin.
pub struct ProbabilisticSampler {
    sampler: Sampler,
}

impl Plugin for ProbabilisticSampler {
    type Config = Config;

    fn describe() -> Description {
        Description::new("probabilistic_sampler", env!("CARGO_PKG_VERSION"))
            .capability("log")
            .read("spans.ids")
            .read("spans.trace_state")
            .read("spans.attributes:sampling.priority")
            .write("spans.trace_state")
            .write("spans.drop")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        for key in config.of_logs() {
            log::warn(&format!("`{key}` is about logs and changes nothing for spans"));
        }
        config.sampler().map(|sampler| Configured::new(Self { sampler }))
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let ids = batch.trace_ids(Table::Spans)?;
        if ids.is_empty() {
            return Ok(());
        }
        let states = batch.texts(Table::Spans, TRACE_STATE)?;
        let priorities = batch.attribute(Table::Spans, PRIORITY)?.values;
        let (trace_ids, _) = ids.as_chunks::<TRACE_ID_BYTES>();
        let mut verdicts = Verdicts::with_capacity(trace_ids.len()).fresh(self.sampler.fresh_state());
        let (mut judge, mut last) = (Judge::new(&self.sampler), None);
        for (row, trace_id) in trace_ids.iter().enumerate() {
            let priority = Priority::of(&priorities, row);
            // Most spans have nothing but their id to be judged by.
            let is_plain = states.get(row).is_empty() && priority == Priority::Defer;
            if is_plain && let Some(is_kept) = self.sampler.keeps_fresh(trace_id) {
                verdicts.note_fresh(row, is_kept);
                continue;
            }
            let from = verdicts.states.bytes.len();
            // Spans of one trace stand together.
            let verdict = match &last {
                Some(Judged { trace_id: known, verdict, state }) if is_plain && *known == trace_id => {
                    verdicts.states.bytes.extend_from_within(state.clone());
                    *verdict
                }
                _ => judge.judge(trace_id, states.str(row), priority, &mut verdicts.states.bytes),
            };
            if is_plain {
                last = Some(Judged { trace_id, verdict, state: from..verdicts.states.bytes.len() });
            }
            verdicts.note(row, verdict);
        }
        verdicts.push(batch)
    }
}

/// What was decided on a span by its trace id alone.
struct Judged<'a> {
    trace_id: &'a [u8; TRACE_ID_BYTES],
    verdict: Verdict,
    /// Where its `tracestate` is.
    state: Range<usize>,
}

sluice_sdk::export!(ProbabilisticSampler);
