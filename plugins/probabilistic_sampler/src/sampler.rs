//! The decision on one span.

use crate::priority::Priority;
use crate::randomness;
use crate::threshold::Threshold;
use crate::tracestate::TraceState;

/// How thresholds are set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// 0 %: only what asks for it itself is kept.
    Never,
    /// By a hash of the trace id, whatever its bits are like.
    HashSeed { threshold: Threshold, seed: u32 },
    /// So that every span is kept with at most this probability in all.
    Equalizing { threshold: Threshold },
    /// So that this share of what arrives is kept.
    Proportional { ratio: f64, precision: usize },
}

/// The sampler of one configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampler {
    pub mode: Mode,
    /// What cannot be judged is dropped, else kept.
    pub fail_closed: bool,
}

/// What is to be done with a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Drop,
    /// As it is.
    Keep,
    /// With the `tracestate` that was written.
    KeepWithState,
}

/// What a span brings to its decision.
struct Arrived<'a> {
    randomness: Option<u64>,
    /// The state to be written back; none if it must be left alone.
    state: Option<TraceState<'a>>,
    /// Whether the decision can be made at all.
    sound: bool,
}

impl Sampler {
    /// Decides, and writes the new `tracestate` of a span that is kept to the end of `out`.
    pub(crate) fn judge(&self, trace_id: &[u8; 16], text: &str, priority: Priority, out: &mut Vec<u8>) -> Verdict {
        let Arrived { randomness, mut state, sound } = self.arrived(trace_id, text);
        let decided = if sound {
            self.threshold(state.as_ref().and_then(TraceState::threshold))
        } else if self.fail_closed {
            Threshold::NEVER
        } else {
            Threshold::ALWAYS
        };
        let threshold = match priority {
            Priority::Defer => decided,
            Priority::Keep => Threshold::ALWAYS,
            Priority::Drop => Threshold::NEVER,
        };
        if !threshold.keeps(randomness.unwrap_or(randomness::MAX)) {
            return Verdict::Drop;
        }
        let Some(state) = &mut state else { return Verdict::Keep };
        state.raise_threshold(threshold);
        let from = out.len();
        state.write(out);
        if out.get(from..) == Some(text.as_bytes()) {
            out.truncate(from);
            return Verdict::Keep;
        }
        Verdict::KeepWithState
    }

    fn arrived<'a>(&self, trace_id: &[u8; 16], text: &'a str) -> Arrived<'a> {
        let parsed = TraceState::parse(text);
        let own = randomness::of_trace_id(trace_id);
        match self.mode {
            Mode::Never => {
                let sound = parsed.is_ok();
                Arrived { randomness: Some(randomness::MAX), state: parsed.ok(), sound }
            }
            Mode::HashSeed { seed, .. } => {
                let randomness = own.map(|_| randomness::of_hash(trace_id, seed));
                // A span that says how it was sampled is not for this mode: its statement would
                // be about another randomness.
                let free = |state: &TraceState<'_>| state.randomness().is_none() && state.threshold().is_none();
                let mut state = parsed.ok().filter(free);
                if let (Some(state), Some(randomness)) = (&mut state, randomness) {
                    state.set_randomness(randomness);
                }
                let sound = randomness.is_some() && state.is_some();
                Arrived { randomness, state, sound }
            }
            Mode::Equalizing { .. } | Mode::Proportional { .. } => {
                let mut state = parsed.ok();
                let randomness = state.as_ref().and_then(|state| state.randomness().or(own));
                let mut sound = randomness.is_some();
                if let (Some(state), Some(randomness)) = (&mut state, randomness)
                    && state.threshold().is_some_and(|threshold| !threshold.keeps(randomness))
                {
                    // It should not have come this far: its threshold is not true.
                    state.clear_threshold();
                    sound = false;
                }
                Arrived { randomness, state, sound }
            }
        }
    }

    fn threshold(&self, arriving: Option<Threshold>) -> Threshold {
        match self.mode {
            Mode::Never => Threshold::NEVER,
            Mode::HashSeed { threshold, .. } => threshold,
            Mode::Equalizing { threshold } => arriving.map_or(threshold, |arriving| arriving.max(threshold)),
            Mode::Proportional { ratio, precision } => {
                let before = arriving.map_or(1.0, Threshold::probability);
                Threshold::of_probability(before * ratio, precision)
            }
        }
    }
}
