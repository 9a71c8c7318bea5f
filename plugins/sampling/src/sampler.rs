//! The decision on one span.

use std::ops::Range;

use crate::priority::Priority;
use crate::randomness;
use crate::threshold::{HEX_DIGITS, Threshold, hex};
use crate::tracestate::{Invalid, TraceState};

/// How OpenTelemetry's entry begins.
const OT: &str = "ot=";

/// Where the digits of explicit randomness are in a `tracestate` that begins with them.
const RANDOMNESS_AT: Range<usize> = 6..6 + HEX_DIGITS;

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
    /// For spans that nobody has sampled before, which most are: the threshold, and the
    /// `tracestate` that says so. With a hash it has room for the randomness, at [`RANDOMNESS_AT`].
    fresh: Threshold,
    fresh_state: String,
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
        let mut digits = Vec::new();
        fresh.write(&mut digits);
        let randomness = if matches!(mode, Mode::HashSeed { .. }) { "rv:00000000000000;" } else { "" };
        let fresh_state = format!("{OT}{randomness}th:{}", String::from_utf8_lossy(&digits));
        Self { mode, fail_closed, fresh, fresh_state }
    }

    /// Whether a span that has neither `tracestate` nor priority is kept, where all of them that are get the same
    /// [`Sampler::fresh_state`]. None where they do not, or if this span cannot be judged so: then [`Sampler::judge`].
    pub fn keeps_fresh(&self, trace_id: &[u8; 16]) -> Option<bool> {
        let own = randomness::of_trace_id(trace_id)?;
        (!self.is_hashing()).then(|| self.fresh.keeps(own))
    }

    /// Which of many such spans go; all others get [`Sampler::fresh_state`]. None if one of them has to be judged
    /// by [`Sampler::judge`].
    pub fn drops_fresh(&self, trace_ids: &[[u8; 16]]) -> Option<Vec<u32>> {
        // The highest byte of the randomness settles nearly all: that an id has one tells that it is valid.
        const HIGHEST: usize = 9;
        if self.is_hashing() {
            return None;
        }
        let most = self.fresh.highest_byte();
        let mut dropped = Vec::with_capacity(trace_ids.len());
        for (row, trace_id) in (0..).zip(trace_ids) {
            if u64::from(trace_id[HIGHEST]) <= most {
                match self.keeps_fresh(trace_id) {
                    Some(true) => {}
                    Some(false) => dropped.push(row),
                    None => return None,
                }
            }
        }
        Some(dropped)
    }

    fn is_hashing(&self) -> bool {
        matches!(self.mode, Mode::HashSeed { .. })
    }

    /// The `tracestate` of all spans that [`Sampler::keeps_fresh`] keeps.
    pub fn fresh_state(&self) -> &str {
        &self.fresh_state
    }

    /// Decides, and writes the new `tracestate` of a span that is kept to the end of `out`.
    pub fn judge(&self, trace_id: &[u8; 16], text: &str, priority: Priority, out: &mut Vec<u8>) -> Verdict {
        if text.is_empty()
            && priority == Priority::Defer
            && let Some(own) = randomness::of_trace_id(trace_id)
        {
            return self.judge_fresh(trace_id, own, out);
        }
        self.judge_read(trace_id, text, &TraceState::parse(text), priority, out)
    }

    /// The same with the `tracestate` read before.
    fn judge_read(
        &self,
        trace_id: &[u8; 16],
        text: &str,
        parsed: &Result<TraceState<'_>, Invalid>,
        priority: Priority,
        out: &mut Vec<u8>,
    ) -> Verdict {
        let Arrived { randomness, mut state, sound } = self.arrived(trace_id, parsed.as_ref().ok().cloned());
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

    fn arrived<'a>(&self, trace_id: &[u8; 16], parsed: Option<TraceState<'a>>) -> Arrived<'a> {
        let own = randomness::of_trace_id(trace_id);
        match self.mode {
            Mode::Never => {
                let sound = parsed.is_some();
                Arrived { randomness: Some(randomness::MAX), state: parsed, sound }
            }
            Mode::HashSeed { seed, .. } => {
                let randomness = own.map(|_| randomness::of_hash(trace_id, seed));
                // A span that says how it was sampled is not for this mode: its statement would
                // be about another randomness.
                let free = |state: &TraceState<'_>| state.randomness().is_none() && state.threshold().is_none();
                let mut state = parsed.filter(free);
                if let (Some(state), Some(randomness)) = (&mut state, randomness) {
                    state.set_randomness(randomness);
                }
                let sound = randomness.is_some() && state.is_some();
                Arrived { randomness, state, sound }
            }
            Mode::Equalizing { .. } | Mode::Proportional { .. } => {
                let mut state = parsed;
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
            return self.judge_hashed(randomness::of_hash(trace_id, seed), out);
        }
        if !self.fresh.keeps(own) {
            return Verdict::Drop;
        }
        out.extend_from_slice(self.fresh_state.as_bytes());
        Verdict::KeepWithState
    }

    /// The randomness of trace ids for [`Sampler::judge_hashed`]; none where it is not a hash.
    pub fn hashed(&self, trace_ids: &[[u8; 16]]) -> Vec<u64> {
        match self.mode {
            Mode::HashSeed { seed, .. } => randomness::of_hashes(trace_ids, seed),
            _ => Vec::new(),
        }
    }

    /// The same for a span whose randomness is known from [`Sampler::hashed`] and whose trace id is valid.
    pub fn judge_hashed(&self, randomness: u64, out: &mut Vec<u8>) -> Verdict {
        if !self.fresh.keeps(randomness) {
            return Verdict::Drop;
        }
        let from = out.len();
        out.extend_from_slice(self.fresh_state.as_bytes());
        if let Some(digits) = out.get_mut(from..).and_then(|state| state.get_mut(RANDOMNESS_AT)) {
            digits.copy_from_slice(&hex(randomness));
        }
        Verdict::KeepWithState
    }
}

/// Judges spans one after the other. Spans that come together often have one `tracestate`: it is read once.
pub struct Judge<'a> {
    sampler: &'a Sampler,
    last: Option<(&'a str, Result<TraceState<'a>, Invalid>)>,
}

impl<'a> Judge<'a> {
    /// Nothing judged yet.
    pub fn new(sampler: &'a Sampler) -> Self {
        Self { sampler, last: None }
    }

    /// As [`Sampler::judge`].
    pub fn judge(&mut self, trace_id: &[u8; 16], text: &'a str, priority: Priority, out: &mut Vec<u8>) -> Verdict {
        if text.is_empty() {
            return self.sampler.judge(trace_id, text, priority, out);
        }
        let known = self.last.take().filter(|(known, _)| *known == text);
        let (_, parsed) = self.last.insert(known.unwrap_or_else(|| (text, TraceState::parse(text))));
        self.sampler.judge_read(trace_id, text, parsed, priority, out)
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

    #[test]
    fn a_tracestate_that_comes_again_is_judged_as_the_first_time() {
        let sampler = Sampler::new(Mode::Equalizing { threshold: Threshold::of_probability(0.4, 4) }, true);
        let states =
            ["ot=th:8", "ot=th:8", "a=b", "a=b", "ot=th:8;rv:c0000000000000", "x", "x", "", "ot=th:8", "ot=th:8"];
        let mut judge = Judge::new(&sampler);
        for n in 0..100_u128 {
            let id = (n * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
            for text in states {
                let (mut ours, mut expected) = (Vec::new(), Vec::new());
                let verdict = judge.judge(&id, text, Priority::Defer, &mut ours);
                assert_eq!(verdict, sampler.judge(&id, text, Priority::Defer, &mut expected), "{text} {n}");
                assert_eq!(ours, expected, "{text} {n}");
            }
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
                let keeps = sampler.keeps_fresh(&id);
                let drops = sampler.drops_fresh(&[id, id]);
                assert_eq!(drops, keeps.map(|keeps| if keeps { vec![] } else { vec![0, 1] }), "{sampler:?} {n}");
                if let Some(keeps) = keeps {
                    let expected = if keeps { Verdict::KeepWithState } else { Verdict::Drop };
                    let state = if keeps { sampler.fresh_state() } else { "" };
                    assert_eq!((expected, state.into()), judged(""), "{sampler:?} {n}");
                }
            }
        }
    }
}
