//! The buckets of a histogram.

/// Upper bounds in the histogram's unit, ascending, and what is to be called by them in a label.
pub(crate) struct Buckets {
    bounds: Vec<f64>,
    names: Vec<String>,
}

/// The unit of durations.
#[derive(serde::Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Unit {
    #[default]
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "s")]
    Seconds,
}

impl Unit {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
        }
    }

    /// A time in this unit.
    pub(crate) fn of_nanos(self, nanos: u64) -> f64 {
        let unit = match self {
            Self::Milliseconds => 1e6,
            Self::Seconds => 1e9,
        };
        nanos as f64 / unit
    }
}

/// The Collector's, in nanoseconds.
pub(crate) const DEFAULT: [u64; 16] = [
    2_000_000,
    4_000_000,
    6_000_000,
    8_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    400_000_000,
    800_000_000,
    1_000_000_000,
    1_400_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    15_000_000_000,
];

impl Buckets {
    pub(crate) fn new(nanos: &[u64], unit: Unit) -> Self {
        let bounds: Vec<f64> = nanos.iter().map(|&bound| unit.of_nanos(bound)).collect();
        let names = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]).collect();
        Self { bounds, names }
    }

    /// How many there are, that without a bound included.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// That of a value: the first whose bound is not below it.
    pub(crate) fn of(&self, value: f64) -> usize {
        self.bounds.partition_point(|&bound| bound < value)
    }

    /// The label `le` of one.
    pub(crate) fn name(&self, bucket: usize) -> &str {
        self.names.get(bucket).map_or("+Inf", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_in_its_bucket() {
        let buckets = Buckets::new(&DEFAULT, Unit::Milliseconds);
        let of = |value| buckets.name(buckets.of(value));
        assert_eq!(
            [of(0.0), of(2.0), of(2.1), of(1_400.0), of(15_000.0), of(15_000.1)],
            ["2", "2", "4", "1400", "15000", "+Inf"]
        );
        let seconds = Buckets::new(&DEFAULT, Unit::Seconds);
        assert_eq!([seconds.name(0), seconds.name(11), seconds.name(16)], ["0.002", "1.4", "+Inf"]);
    }
}
