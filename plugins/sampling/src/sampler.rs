//! The decision on one span.

use crate::priority::Priority;
use crate::randomness;
use crate::threshold::{Threshold, hex};
use crate::tracestate::TraceState;

/// How thresholds are set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// 0 %: only what asks for it itself is kept.
    Never,
    /// By a hash of the trace id, whatever its bits are like.
    HashSeed {
        /// Of 14 bits.
        threshold: Threshold,
        /// Goes into the hash.
        seed: u32,
    },
    /// So that every span is kept with at most this probability in all.
    Equalizing {
        /// The least that every span gets.
        threshold: Threshold,
    },
    /// So that this share of what arrives is kept.
    Proportional {
        /// The share, up to 1.
        ratio: f64,
        /// Significant hexadecimal digits of thresholds.
        precision: usize,
    },
}

/// The sampler of one configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampler {
    mode: Mode,
    /// What cannot be judged is dropped, else kept.
    fail_closed: bool,
    /// For spans that nobody has sampled before, which most are: the threshold, and the end of
    /// the `tracestate` that says so.
    fresh: Threshold,
    fresh_state: Vec<u8>,
}

/// What is to be done with a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes.
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
    /// A sampler; `fail_closed` says that what cannot be judged is dropped.
    pub fn new(mode: Mode, fail_closed: bool) -> Self {
        let fresh = threshold(mode, None);
        let mut fresh_state = b"th:".to_vec();
        fresh.write(&mut fresh_state);
        Self { mode, fail_closed, fresh, fresh_state }
    }

    /// Decides, and writes the new `tracestate` of a span that is kept to the end of `out`.
    pub fn judge(&self, trace_id: &[u8; 16], text: &str, priority: Priority, out: &mut Vec<u8>) -> Verdict {
        if text.is_empty()
            && priority == Priority::Defer
            && let Some(own) = randomness::of_trace_id(trace_id)
        {
            return self.judge_fresh(trace_id, own, out);
        }
        let Arrived { randomness, mut state, sound } = self.arrived(trace_id, text);
        let decided = if sound {
            threshold(self.mode, state.as_ref().and_then(TraceState::threshold))
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

    /// The same for a span without `tracestate` and priority, in fewer steps.
    fn judge_fresh(&self, trace_id: &[u8; 16], own: u64, out: &mut Vec<u8>) -> Verdict {
        if let Mode::HashSeed { seed, .. } = self.mode {
            let randomness = randomness::of_hash(trace_id, seed);
            if !self.fresh.keeps(randomness) {
                return Verdict::Drop;
            }
            out.extend_from_slice(b"ot=rv:");
            out.extend_from_slice(&hex(randomness));
            out.push(b';');
        } else {
            if !self.fresh.keeps(own) {
                return Verdict::Drop;
            }
            out.extend_from_slice(b"ot=");
        }
        out.extend_from_slice(&self.fresh_state);
        Verdict::KeepWithState
    }
}

/// Keeps a span with a probability that nobody knows, as a limit of traces a second does: its
/// threshold would no longer be true and goes.
pub fn without_threshold(text: &str, out: &mut Vec<u8>) -> Verdict {
    match TraceState::parse(text) {
        Ok(mut state) if state.threshold().is_some() => {
            state.clear_threshold();
            state.write(out);
            Verdict::KeepWithState
        }
        _ => Verdict::Keep,
    }
}

fn threshold(mode: Mode, arriving: Option<Threshold>) -> Threshold {
    match mode {
        Mode::Never => Threshold::NEVER,
        Mode::HashSeed { threshold, .. } => threshold,
        Mode::Equalizing { threshold } => arriving.map_or(threshold, |arriving| arriving.max(threshold)),
        Mode::Proportional { ratio, precision } => {
            let before = arriving.map_or(1.0, Threshold::probability);
            Threshold::of_probability(before * ratio, precision)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_with_an_unknown_probability_does_not_say_one() {
        let cases = [
            ("ot=rv:90000000000000;th:8,a=b", Verdict::KeepWithState, "ot=rv:90000000000000,a=b"),
            ("ot=th:8", Verdict::KeepWithState, ""),
            ("a=b", Verdict::Keep, ""),
            ("", Verdict::Keep, ""),
            ("not a tracestate", Verdict::Keep, ""),
        ];
        for (text, verdict, expected) in cases {
            let mut out = Vec::new();
            assert_eq!(without_threshold(text, &mut out), verdict, "{text}");
            assert_eq!(out, expected.as_bytes(), "{text}");
        }
    }

    /// The long way: a `tracestate` of one empty member means the same as none.
    #[test]
    fn the_short_way_and_the_long_way_agree() {
        let modes = [
            Mode::Never,
            Mode::HashSeed { threshold: Threshold::of_buckets(40.0).unwrap_or(Threshold::NEVER), seed: 3 },
            Mode::Equalizing { threshold: Threshold::of_probability(0.4, 4) },
            Mode::Proportional { ratio: 0.4, precision: 4 },
        ];
        for sampler in modes.map(|mode| Sampler::new(mode, true)) {
            for n in 0..500_u128 {
                let id = (n * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
                let judged = |text| {
                    let mut state = Vec::new();
                    (sampler.judge(&id, text, Priority::Defer, &mut state), state)
                };
                assert_eq!(judged(""), judged(","), "{sampler:?} {n}");
            }
        }
    }
}
