//! Decisions on traces, for plugins that sample: by probability, consistent over collectors
//! (OTEP 235) or by the Collector's hash, and by what a span itself asks for.
//!
//! It is also where these plugins and `spanmetrics` read a [`duration`] of their configuration.
//!
//! A [`Sampler`] takes a span's trace id and `tracestate` and gives a [`Verdict`], and the `tracestate`
//! that says with which probability the span was kept. It never fails: what cannot be judged is dropped
//! or kept, as the sampler was told.

mod duration;
mod priority;
mod randomness;
mod sampler;
mod threshold;
mod tracestate;
mod verdicts;

pub use duration::duration;
pub use priority::Priority;
pub use sampler::{Judge, Mode, Sampler, Verdict, without_threshold};
pub use threshold::{HEX_DIGITS, MIN_PROBABILITY, Threshold};
pub use tracestate::adjusted_count;
pub use verdicts::Verdicts;
