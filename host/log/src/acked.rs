//! Which records are done: acknowledged by upstream, dropped by a policy, or found to be lost.
//!
//! Records are done out of order, so the set is a floor below which all are done, and ranges above
//! it. It never grows beyond what is in flight, plus what was dropped around that.

use std::collections::BTreeMap;

use crate::format::Mark;

/// A set of sequences, with the spans of each range.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Acked {
    floor: Mark,
    /// First sequence → sequence after the last, spans. Disjoint, not touching each other.
    ranges: BTreeMap<u64, (u64, u64)>,
}

impl Acked {
    pub fn new(floor: Mark) -> Self {
        Self { floor, ranges: BTreeMap::new() }
    }

    pub fn from_ranges(floor: Mark, ranges: &[(u64, u64, u64)]) -> Self {
        let mut acked = Self::new(floor);
        for &(from, to, spans) in ranges {
            acked.insert(from, to, spans);
        }
        acked
    }

    pub fn floor(&self) -> Mark {
        self.floor
    }

    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        self.ranges.iter().map(|(from, (to, spans))| (*from, *to, *spans))
    }

    pub fn contains(&self, sequence: u64) -> bool {
        sequence < self.floor.sequence
            || self.ranges.range(..=sequence).next_back().is_some_and(|(_, (to, _))| sequence < *to)
    }

    /// Adds what is between two sequences, and these spans. Nothing of it may be in the set yet.
    pub fn insert(&mut self, from: u64, to: u64, spans: u64) {
        if from >= to || to <= self.floor.sequence {
            return;
        }
        let (mut from, mut to, mut spans) = (from, to, spans);
        if let Some((left, (end, more))) = self.ranges.range(..=from).next_back().map(|(k, v)| (*k, *v))
            && end >= from
        {
            self.ranges.remove(&left);
            (from, to, spans) = (left, to.max(end), spans + more);
        }
        while let Some((right, (end, more))) = self.ranges.range(from..=to).next().map(|(k, v)| (*k, *v)) {
            self.ranges.remove(&right);
            (to, spans) = (to.max(end), spans + more);
        }
        if from <= self.floor.sequence {
            self.floor = Mark { sequence: to, spans: self.floor.spans + spans };
        } else {
            self.ranges.insert(from, (to, spans));
        }
    }

    /// How many sequences between these two are in the set.
    pub fn covered(&self, from: u64, to: u64) -> u64 {
        let below = self.floor.sequence.min(to).saturating_sub(from);
        let above: u64 = self
            .ranges
            .range(..to)
            .rev()
            .take_while(|(_, (end, _))| *end > from)
            .map(|(start, (end, _))| (*end).min(to).saturating_sub((*start).max(from)))
            .sum();
        below + above
    }

    /// The parts between these two that are not in the set.
    pub fn missing(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut at = from.max(self.floor.sequence);
        let mut parts = Vec::new();
        for (start, (end, _)) in self.ranges.range(..to) {
            if *end <= at {
                continue;
            }
            if *start > at {
                parts.push((at, *start));
            }
            at = *end;
        }
        if at < to {
            parts.push((at, to));
        }
        parts
    }

    /// Spans of all ranges above the floor.
    pub fn spans_above_floor(&self) -> u64 {
        self.ranges.values().map(|(_, spans)| spans).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Mark = Mark { sequence: 10, spans: 100 };

    #[test]
    fn the_floor_rises_over_what_touches_it() {
        let mut acked = Acked::new(START);
        acked.insert(12, 13, 7);
        acked.insert(11, 12, 5);
        assert_eq!(acked.ranges().collect::<Vec<_>>(), [(11, 13, 12)]);
        assert!(acked.contains(9) && !acked.contains(10) && acked.contains(12) && !acked.contains(13));
        acked.insert(10, 11, 3);
        assert_eq!(acked.floor(), Mark { sequence: 13, spans: 115 });
        assert_eq!(acked.spans_above_floor(), 0);
    }

    #[test]
    fn what_is_missing_and_what_is_covered_add_up() {
        let acked = Acked::from_ranges(START, &[(12, 14, 1), (20, 25, 1)]);
        assert_eq!(acked.missing(5, 30), [(10, 12), (14, 20), (25, 30)]);
        assert_eq!(acked.covered(5, 30), 5 + 2 + 5);
        assert_eq!(acked.missing(12, 14), []);
        assert_eq!(acked.covered(13, 22), 1 + 2);
    }
}
