//! Exponential histograms, as OpenTelemetry's data model has them: at scale `s` the bucket with index `i` counts what is
//! above `base^i` and not above `base^(i + 1)`, where `base` is `2^(2^-s)`. The scale is the finest at which the buckets
//! that are needed are no more than allowed; when a value is too far off, two buckets become one until it is not.

use std::collections::VecDeque;

/// The scale at which a histogram begins, that of OpenTelemetry's SDKs.
const FINEST: i32 = 20;

/// Bits of a double's fraction, and what is added to its exponent.
const FRACTION_BITS: u32 = 52;
const BIAS: i64 = 1023;

/// An exponential histogram of values that are not negative.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exponential {
    max_buckets: usize,
    /// See above.
    pub scale: i32,
    /// How many values are zero.
    pub zeros: f64,
    /// The index of the first bucket.
    pub offset: i64,
    /// What the buckets count, from that one on.
    pub counts: VecDeque<f64>,
}

impl Exponential {
    /// One of so many buckets at most, two at least.
    pub(super) fn new(max_buckets: usize) -> Self {
        let max_buckets = max_buckets.max(2);
        Self { max_buckets, scale: FINEST, zeros: 0.0, offset: 0, counts: VecDeque::new() }
    }

    /// Counts a value so many times.
    pub(super) fn add(&mut self, value: f64, count: f64) {
        if value > 0.0 {
            self.count(index(value, self.scale), count);
        } else {
            self.zeros += count;
        }
    }

    /// Counts what another one has counted.
    pub(super) fn merge(&mut self, other: &Self) {
        self.zeros += other.zeros;
        self.coarsen_to(other.scale);
        for (index, &count) in (other.offset..).zip(&other.counts).filter(|(_, count)| **count > 0.0) {
            // Each may have made the buckets wider.
            self.count(index >> (other.scale - self.scale), count);
        }
    }

    /// Makes the buckets so wide that the scale is no finer than this.
    pub(super) fn coarsen_to(&mut self, scale: i32) {
        self.coarsen((self.scale - scale).max(0));
    }

    /// How many values there are.
    pub(super) fn total(&self) -> f64 {
        self.zeros + self.counts.iter().sum::<f64>()
    }

    /// Counts in the bucket that has this index at the present scale.
    fn count(&mut self, index: i64, count: f64) {
        let last = self.offset + self.counts.len() as i64 - 1;
        let (low, high) =
            if self.counts.is_empty() { (index, index) } else { (self.offset.min(index), last.max(index)) };
        let mut by = 0;
        while (high >> by) - (low >> by) >= self.max_buckets as i64 {
            by += 1;
        }
        self.coarsen(by);
        let index = index >> by;
        if self.counts.is_empty() {
            self.offset = index;
        }
        while index < self.offset {
            self.counts.push_front(0.0);
            self.offset -= 1;
        }
        let place = (index - self.offset) as usize;
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0.0);
        }
        if let Some(known) = self.counts.get_mut(place) {
            *known += count;
        }
    }

    /// Makes two buckets one, so many times.
    fn coarsen(&mut self, by: i32) {
        if by == 0 {
            return;
        }
        self.scale -= by;
        let (from, counts) = (self.offset, std::mem::take(&mut self.counts));
        self.offset = from >> by;
        for (index, count) in (from..).zip(counts) {
            let place = ((index >> by) - self.offset) as usize;
            if place >= self.counts.len() {
                self.counts.resize(place + 1, 0.0);
            }
            if let Some(known) = self.counts.get_mut(place) {
                *known += count;
            }
        }
    }
}

/// The bucket of a value above zero.
fn index(value: f64, scale: i32) -> i64 {
    // What is below the normal numbers is counted with the least of them, as the data model allows.
    let bits = value.max(f64::MIN_POSITIVE).to_bits();
    let exponent = (bits >> FRACTION_BITS) as i64 - BIAS;
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    // A bound belongs to the bucket below it.
    let below = i64::from(fraction == 0);
    if scale <= 0 {
        return (exponent - below) >> -scale;
    }
    let first = exponent << scale;
    if fraction == 0 {
        return first - 1;
    }
    // From 1 up to 2: the logarithm of nothing larger has to be exact to so many places.
    let mantissa = f64::from_bits(fraction | (BIAS as u64) << FRACTION_BITS);
    let within = (mantissa.log2() * f64::from(1 << scale)).ceil() as i64;
    first + within.clamp(1, 1 << scale) - 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "whole numbers are exact")]

    use super::*;

    fn of(max_buckets: usize, values: &[f64]) -> Exponential {
        let mut histogram = Exponential::new(max_buckets);
        for value in values {
            histogram.add(*value, 1.0);
        }
        histogram
    }

    fn shape(histogram: &Exponential) -> (i32, i64, Vec<f64>) {
        (histogram.scale, histogram.offset, histogram.counts.iter().copied().collect())
    }

    /// The tables of the data model's page: `base` is 16 at scale -2, 4 at -1, 2 at 0, the root of 2 at 1. A bound is in
    /// the bucket that ends with it.
    #[test]
    fn values_are_in_the_buckets_of_the_data_model() {
        let cases = [
            (-2, [(1.0, -1), (1.000_1, 0), (16.0, 0), (16.1, 1), (256.0, 1), (0.062_5, -2), (0.07, -1)]),
            (-1, [(1.0, -1), (1.000_1, 0), (4.0, 0), (4.1, 1), (16.0, 1), (0.25, -2), (0.3, -1)]),
            (0, [(1.0, -1), (1.000_1, 0), (2.0, 0), (2.1, 1), (4.0, 1), (0.5, -2), (0.6, -1)]),
            // 2^(1/2) is 1.41421…
            (1, [(1.0, -1), (1.41, 0), (1.42, 1), (2.0, 1), (2.1, 2), (0.5, -3), (0.71, -1)]),
            // 2^(1/8) is 1.09050…, 2^(7/8) is 1.83400…
            (3, [(1.0, -1), (1.09, 0), (1.091, 1), (1.833, 6), (1.835, 7), (2.0, 7), (4.0, 15)]),
        ];
        for (scale, values) in cases {
            for (value, expected) in values {
                assert_eq!(index(value, scale), expected, "{value} at {scale}");
            }
        }
    }

    /// At every scale the bound `2^n` ends the bucket `n * 2^scale - 1`, and what follows it begins the next one.
    #[test]
    fn powers_of_two_end_their_buckets_at_every_scale() {
        for scale in -10..=FINEST {
            for power in -1022..1024_i32 {
                let bound = 2f64.powi(power);
                let end = |exponent: i64| if scale >= 0 { (exponent << scale) - 1 } else { (exponent - 1) >> -scale };
                assert_eq!(index(bound, scale), end(power.into()), "2^{power} at {scale}");
                let above = if scale >= 0 { i64::from(power) << scale } else { i64::from(power) >> -scale };
                assert_eq!(index(bound.next_up(), scale), above, "above 2^{power} at {scale}");
            }
        }
        assert_eq!(index(5e-324, 0), -1023, "with the least normal number");
    }

    #[test]
    fn buckets_become_wider_until_they_are_few_enough() {
        // One value needs one bucket, at the finest scale: 2 = 2^(2^20 / 2^20).
        assert_eq!(shape(&of(4, &[2.0])), (20, (1 << 20) - 1, vec![1.0]));
        // 1, 2, 4, 8 end the buckets -1, 0, 1, 2 at scale 0; at scale 1 they would be seven.
        assert_eq!(shape(&of(4, &[1.0, 2.0, 4.0, 8.0])), (0, -1, vec![1.0; 4]));
        assert_eq!(shape(&of(4, &[8.0, 4.0, 2.0, 1.0])), (0, -1, vec![1.0; 4]), "in any order");
        // One more, and every two are one: (1/4, 1], (1, 4], (4, 16].
        assert_eq!(shape(&of(4, &[1.0, 2.0, 4.0, 8.0, 16.0])), (-1, -1, vec![1.0, 2.0, 2.0]));
        assert_eq!(shape(&of(7, &[1.0, 2.0, 4.0, 8.0])), (1, -1, vec![1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]));
        // The least and the largest double there are, in two buckets: below and above 1.
        assert_eq!(shape(&of(2, &[f64::MIN_POSITIVE, f64::MAX])), (-10, -1, vec![1.0, 1.0]));
    }

    #[test]
    fn zeros_are_counted_apart_and_weights_are_kept() {
        let mut histogram = Exponential::new(4);
        histogram.add(0.0, 2.5);
        histogram.add(3.0, 1.25);
        histogram.add(3.0, 4.0);
        assert_eq!((histogram.zeros, histogram.total()), (2.5, 7.75));
        assert_eq!(histogram.counts, [5.25]);
    }

    /// Counting is the same, whoever has counted.
    #[test]
    fn merged_histograms_are_those_of_all_values() {
        let values: Vec<f64> = (1..200).map(|n| f64::from(n * n) / 7.0).collect();
        for split in [1, 50, 198] {
            let (one, other) = values.split_at(split);
            let mut merged = of(16, one);
            merged.merge(&of(16, other));
            assert_eq!(shape(&merged), shape(&of(16, &values)), "{split}");
        }
        let mut empty = Exponential::new(16);
        empty.merge(&of(16, &[]));
        assert_eq!(empty, Exponential::new(16));
    }
}
