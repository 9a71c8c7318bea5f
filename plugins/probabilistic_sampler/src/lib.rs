//! The `probabilistic_sampler` processor: keeps a share of the traces, consistently by trace id,
//! with the Collector's keys, modes and decisions.
//!
//! What is kept says with which probability: `ot=th:…` in `tracestate` (OTEP 235). Traces are
//! judged by their ids alone, so every collector with the same configuration keeps the same ones.

mod config;

use sluice_sampling::{Judge, Priority, Sampler, Verdicts};
use sluice_sdk::fields::TRACE_STATE;
use sluice_sdk::log;
use sluice_sdk::prelude::*;

pub use config::Config;

const PRIORITY: &str = "sampling.priority";
const TRACE_ID_BYTES: usize = 16;
/// A trace id that says nothing.
const INVALID: [u8; TRACE_ID_BYTES] = [0; TRACE_ID_BYTES];

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
        // Most batches are of spans that have nothing but their ids to be judged by.
        if states.bytes.is_empty()
            && priorities.is_empty()
            && let Some(dropped) = self.sampler.drops_fresh(trace_ids)
        {
            return Verdicts::push_fresh(batch, trace_ids.len(), &dropped, self.sampler.fresh_state());
        }
        let mut verdicts = Verdicts::with_capacity(trace_ids.len()).fresh(self.sampler.fresh_state());
        let (mut judge, hashed) = (Judge::new(&self.sampler), self.sampler.hashed(trace_ids));
        for (row, trace_id) in trace_ids.iter().enumerate() {
            let priority = Priority::of(&priorities, row);
            let is_plain = states.get(row).is_empty() && priority == Priority::Defer;
            if is_plain && let Some(is_kept) = self.sampler.keeps_fresh(trace_id) {
                verdicts.note_fresh(row, is_kept);
                continue;
            }
            let states_out = &mut verdicts.states.bytes;
            let verdict = match hashed.get(row) {
                Some(randomness) if is_plain && *trace_id != INVALID => {
                    self.sampler.judge_hashed(*randomness, states_out)
                }
                _ => judge.judge(trace_id, states.str(row), priority, states_out),
            };
            verdicts.note(row, verdict);
        }
        verdicts.push(batch)
    }
}

sluice_sdk::export!(ProbabilisticSampler);
