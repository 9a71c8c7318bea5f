//! What a batch adds to each series. A small hash map whose keys are places of the batch: a series is what the first span
//! of it has in the columns, and nothing is written out to look for it.

/// No entry.
const NONE: u32 = u32::MAX;

/// Slots at first, a power of two; there are twice as many as entries at least.
const SLOTS: usize = 64;

/// A span of the batch, or an event of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub row: usize,
    pub event: Option<usize>,
}

/// Says which places are of one series.
pub(crate) trait Series {
    /// The same for all places of a series.
    fn hash(&self, place: Place) -> u64;
    /// Whether two places are of one series.
    fn is_same(&self, one: Place, other: Place) -> bool;
}

/// Sums by series.
pub(crate) struct Tally {
    entries: Vec<Entry>,
    slots: Vec<u32>,
    buckets: usize,
    /// For each entry and bucket, how many.
    counts: Vec<f64>,
    /// For each entry and bucket, the last row.
    rows: Vec<u32>,
    /// The entry of the last place: spans of one series often follow one another.
    last: usize,
}

struct Entry {
    hash: u64,
    /// The first of the series.
    place: Place,
    count: f64,
    sum: f64,
}

/// What was added to one series.
pub(crate) struct Sums<'t> {
    /// The first of the series.
    pub place: Place,
    pub count: f64,
    /// Of the values.
    pub sum: f64,
    /// By bucket.
    pub counts: &'t [f64],
    rows: &'t [u32],
}

impl Sums<'_> {
    /// The last row of a bucket.
    pub(crate) fn row(&self, bucket: usize) -> Option<usize> {
        self.rows.get(bucket).filter(|row| **row != NONE).map(|row| *row as usize)
    }
}

impl Tally {
    /// One with so many buckets a series, one at least.
    pub(crate) fn new(buckets: usize) -> Self {
        let slots = vec![NONE; SLOTS];
        Self { entries: Vec::new(), slots, buckets, counts: Vec::new(), rows: Vec::new(), last: 0 }
    }

    /// Forgets everything but its memory.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.slots.fill(NONE);
        self.counts.clear();
        self.rows.clear();
    }

    /// Adds a place that counts `weight` times, with a value in this bucket; gives the number of its series.
    pub(crate) fn add(&mut self, series: &impl Series, place: Place, weight: f64, value: f64, bucket: usize) -> usize {
        let index = self.entry(series, place);
        if let Some(entry) = self.entries.get_mut(index) {
            entry.count += weight;
            entry.sum += weight * value;
        }
        let at = index * self.buckets + bucket;
        if let (Some(count), Some(last)) = (self.counts.get_mut(at), self.rows.get_mut(at)) {
            *count += weight;
            *last = place.row as u32;
        }
        index
    }

    /// All series.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Sums<'_>> {
        self.entries.iter().enumerate().map(|(index, entry)| {
            let buckets = index * self.buckets..(index + 1) * self.buckets;
            Sums {
                place: entry.place,
                count: entry.count,
                sum: entry.sum,
                counts: self.counts.get(buckets.clone()).unwrap_or_default(),
                rows: self.rows.get(buckets).unwrap_or_default(),
            }
        })
    }

    /// The number of a series; a new one if it is not there.
    fn entry(&mut self, series: &impl Series, place: Place) -> usize {
        if self.entries.get(self.last).is_some_and(|entry| series.is_same(entry.place, place)) {
            return self.last;
        }
        let hash = series.hash(place);
        let mut slot = self.slot(hash);
        while let Some(&known) = self.slots.get(slot).filter(|known| **known != NONE) {
            let entry = self.entries.get(known as usize);
            if entry.is_some_and(|entry| entry.hash == hash && series.is_same(entry.place, place)) {
                self.last = known as usize;
                return self.last;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        if (self.entries.len() + 1) * 2 > self.slots.len() {
            self.grow();
            slot = self.free(hash);
        }
        let index = self.entries.len();
        self.entries.push(Entry { hash, place, count: 0.0, sum: 0.0 });
        self.counts.resize(self.counts.len() + self.buckets, 0.0);
        self.rows.resize(self.rows.len() + self.buckets, NONE);
        if let Some(free) = self.slots.get_mut(slot) {
            *free = index as u32;
        }
        self.last = index;
        index
    }

    fn slot(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.slots.len() - 1)
    }

    /// The first slot for this hash that nobody has.
    fn free(&self, hash: u64) -> usize {
        let mut slot = self.slot(hash);
        while self.slots.get(slot).is_some_and(|known| *known != NONE) {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        slot
    }

    fn grow(&mut self) {
        self.slots = vec![NONE; self.slots.len() * 2];
        for index in 0..self.entries.len() {
            let slot = self.entries.get(index).map_or(0, |entry| self.free(entry.hash));
            if let Some(free) = self.slots.get_mut(slot) {
                *free = index as u32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, clippy::indexing_slicing, reason = "whole numbers are exact; a test may panic")]

    use std::collections::BTreeMap;

    use super::*;

    /// The names of the rows. Many have one hash.
    struct Names(Vec<String>);

    impl Series for Names {
        fn hash(&self, place: Place) -> u64 {
            (self.0[place.row].len() as u64) << 32
        }

        fn is_same(&self, one: Place, other: Place) -> bool {
            self.0[one.row] == self.0[other.row]
        }
    }

    #[test]
    fn a_tally_adds_up_like_a_map() {
        let mut tally = Tally::new(2);
        for round in 0..2 {
            tally.clear();
            let names = Names((0..5_000_u32).map(|i| "x".repeat((i / 3 * i % 331 + round) as usize)).collect());
            let mut map = BTreeMap::<&str, (f64, f64, [f64; 2])>::new();
            for (i, name) in names.0.iter().enumerate() {
                let (weight, bucket, value) = ((i % 3 + 1) as f64, i % 2, i as f64);
                tally.add(&names, Place { row: i, event: None }, weight, value, bucket);
                let sums = map.entry(name).or_default();
                sums.0 += weight;
                sums.1 += weight * value;
                sums.2[bucket] += weight;
            }
            let found: BTreeMap<&str, _> = tally
                .iter()
                .map(|sums| (&names.0[sums.place.row][..], (sums.count, sums.sum, [sums.counts[0], sums.counts[1]])))
                .collect();
            assert_eq!(found, map);
        }
        assert_eq!(Tally::new(1).iter().count(), 0);
    }
}
