//! What is to become of the spans of a batch.

use sluice_sdk::fields::TRACE_STATE;
use sluice_sdk::prelude::*;

use crate::Verdict;

/// The verdicts on the spans of a batch, noted in the order of their rows.
#[derive(Default)]
pub struct Verdicts {
    /// The `tracestate`s that were written, back to back. A sampler writes there before its verdict is noted.
    pub states: Texts,
    dropped: Vec<u32>,
    changed: Vec<u32>,
    /// Spans that all get one `tracestate`, which crosses once, and it.
    fresh: Vec<u32>,
    fresh_state: Texts,
}

impl Verdicts {
    /// Notes what is to become of a span. With [`Verdict::KeepWithState`] its `tracestate` is what was written
    /// since the last such verdict.
    pub fn note(&mut self, row: usize, verdict: Verdict) {
        match verdict {
            Verdict::Drop => self.dropped.push(row as u32),
            Verdict::Keep => {}
            Verdict::KeepWithState => {
                self.changed.push(row as u32);
                self.states.ends.push(self.states.bytes.len() as u32);
            }
        }
    }

    /// None yet, with room for those on so many spans.
    #[must_use]
    pub fn with_capacity(spans: usize) -> Self {
        let mut verdicts = Self::default();
        verdicts.changed.reserve(spans);
        verdicts.states.ends.reserve(spans);
        verdicts
    }

    /// With the `tracestate` of the spans of [`Verdicts::note_fresh`]. Those that are written are likely as long.
    #[must_use]
    pub fn fresh(mut self, state: &str) -> Self {
        self.fresh_state = Texts::one(state);
        self.states.bytes.reserve(self.states.ends.capacity() * state.len());
        self
    }

    /// Notes what is to become of a span that, if it is kept, gets the one `tracestate` of all such spans.
    pub fn note_fresh(&mut self, row: usize, is_kept: bool) {
        if is_kept { &mut self.fresh } else { &mut self.dropped }.push(row as u32);
    }

    /// Has it done for a batch of so many spans of which these go, in the order of their rows; all others get this
    /// one `tracestate`.
    ///
    /// # Errors
    /// When the host refuses an edit.
    pub fn push_fresh(batch: &Batch<'_>, spans: usize, dropped: &[u32], state: &str) -> Result<(), Failure> {
        let all = 0..spans as u32;
        if !dropped.is_empty() {
            batch.drop_rows(Table::Spans, dropped)?;
        }
        // An edit of a row that goes does nothing. So where few go, all are named: that costs less than to tell
        // those that stay, here and for the host.
        let named: Vec<u32> = if dropped.len() * 2 < spans {
            all.collect()
        } else {
            let mut dropped = dropped.iter().peekable();
            all.filter(|row| dropped.next_if_eq(&row).is_none()).collect()
        };
        if !named.is_empty() {
            batch.set_texts(Table::Spans, TRACE_STATE, &named, Texts::one(state))?;
        }
        Ok(())
    }

    /// Has it done.
    ///
    /// # Errors
    /// When the host refuses an edit.
    pub fn push(self, batch: &Batch<'_>) -> Result<(), Failure> {
        if !self.dropped.is_empty() {
            batch.drop_rows(Table::Spans, &self.dropped)?;
        }
        if !self.changed.is_empty() {
            batch.set_texts(Table::Spans, TRACE_STATE, &self.changed, self.states)?;
        }
        if !self.fresh.is_empty() {
            batch.set_texts(Table::Spans, TRACE_STATE, &self.fresh, self.fresh_state)?;
        }
        Ok(())
    }
}
