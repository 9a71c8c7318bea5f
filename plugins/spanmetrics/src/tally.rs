//! What a batch adds to each series. A small hash map whose keys stand back to back: series are few, spans many.

/// No entry.
const NONE: u32 = u32::MAX;

/// Slots at first, a power of two; there are twice as many as entries at least.
const SLOTS: usize = 64;

/// Sums by series.
pub(crate) struct Tally {
    /// The keys back to back.
    keys: Vec<u8>,
    entries: Vec<Entry>,
    slots: Vec<u32>,
    buckets: usize,
    /// For each entry and bucket, how many.
    counts: Vec<f64>,
    /// For each entry and bucket, the last row.
    rows: Vec<u32>,
}

struct Entry {
    hash: u64,
    /// Where its key ends.
    end: usize,
    count: f64,
    sum: f64,
}

/// What was added to one series.
pub(crate) struct Sums<'t> {
    pub key: &'t [u8],
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
        Self { keys: Vec::new(), entries: Vec::new(), slots, buckets, counts: Vec::new(), rows: Vec::new() }
    }

    /// Forgets everything but its memory.
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.entries.clear();
        self.slots.fill(NONE);
        self.counts.clear();
        self.rows.clear();
    }

    /// Adds a row that counts `weight` times, with a value in this bucket, to a series.
    pub(crate) fn add(&mut self, key: &[u8], row: usize, weight: f64, value: f64, bucket: usize) {
        let index = self.entry(key);
        if let Some(entry) = self.entries.get_mut(index) {
            entry.count += weight;
            entry.sum += weight * value;
        }
        let at = index * self.buckets + bucket;
        if let (Some(count), Some(last)) = (self.counts.get_mut(at), self.rows.get_mut(at)) {
            *count += weight;
            *last = row as u32;
        }
    }

    /// All series.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Sums<'_>> {
        self.entries.iter().enumerate().map(|(index, entry)| {
            let buckets = index * self.buckets..(index + 1) * self.buckets;
            Sums {
                key: self.key(index),
                count: entry.count,
                sum: entry.sum,
                counts: self.counts.get(buckets.clone()).unwrap_or_default(),
                rows: self.rows.get(buckets).unwrap_or_default(),
            }
        })
    }

    fn key(&self, index: usize) -> &[u8] {
        let from = index.checked_sub(1).and_then(|before| self.entries.get(before)).map_or(0, |entry| entry.end);
        let end = self.entries.get(index).map_or(from, |entry| entry.end);
        self.keys.get(from..end).unwrap_or_default()
    }

    /// The number of a series; a new one if it is not there.
    fn entry(&mut self, key: &[u8]) -> usize {
        let hash = hash(key);
        let mut slot = self.slot(hash);
        while let Some(&known) = self.slots.get(slot).filter(|known| **known != NONE) {
            let index = known as usize;
            if self.entries.get(index).is_some_and(|entry| entry.hash == hash) && self.key(index) == key {
                return index;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        if (self.entries.len() + 1) * 2 > self.slots.len() {
            self.grow();
            return self.entry(key);
        }
        let index = self.entries.len();
        self.keys.extend_from_slice(key);
        self.entries.push(Entry { hash, end: self.keys.len(), count: 0.0, sum: 0.0 });
        self.counts.resize(self.counts.len() + self.buckets, 0.0);
        self.rows.resize(self.rows.len() + self.buckets, NONE);
        if let Some(free) = self.slots.get_mut(slot) {
            *free = index as u32;
        }
        index
    }

    fn slot(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.slots.len() - 1)
    }

    fn grow(&mut self) {
        self.slots = vec![NONE; self.slots.len() * 2];
        for index in 0..self.entries.len() {
            let mut slot = self.entries.get(index).map_or(0, |entry| self.slot(entry.hash));
            while self.slots.get(slot).is_some_and(|known| *known != NONE) {
                slot = (slot + 1) & (self.slots.len() - 1);
            }
            if let Some(free) = self.slots.get_mut(slot) {
                *free = index as u32;
            }
        }
    }
}

/// Eight bytes at a time; who chooses span names can make one batch slow, but not wrong.
fn hash(key: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = key.as_chunks::<8>();
    let mut hash = key.len() as u64;
    for word in words {
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
    }
    for &byte in rest {
        hash = (hash.rotate_left(5) ^ u64::from(byte)).wrapping_mul(FACTOR);
    }
    hash
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, clippy::indexing_slicing, reason = "whole numbers are exact; a test may panic")]

    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_tally_adds_up_like_a_map() {
        let mut tally = Tally::new(2);
        for round in 0..2 {
            tally.clear();
            let mut map = BTreeMap::<Vec<u8>, (f64, f64, [f64; 2])>::new();
            for i in 0..5_000_u32 {
                let key = format!("series {} of {round}", i * i % 331).into_bytes();
                let (weight, bucket) = (f64::from(i % 3 + 1), (i % 2) as usize);
                tally.add(&key, i as usize, weight, f64::from(i), bucket);
                let sums = map.entry(key).or_default();
                sums.0 += weight;
                sums.1 += weight * f64::from(i);
                sums.2[bucket] += weight;
            }
            let found: BTreeMap<_, _> = tally
                .iter()
                .map(|sums| (sums.key.to_vec(), (sums.count, sums.sum, [sums.counts[0], sums.counts[1]])))
                .collect();
            assert_eq!(found, map);
        }
        assert_eq!(Tally::new(1).iter().count(), 0);
    }
}
