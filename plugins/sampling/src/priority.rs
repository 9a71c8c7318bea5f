//! The span attribute `sampling.priority`, of `OpenTracing`'s conventions.

use sluice_sdk::{Values, kind};

/// What the span's own attribute asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Nothing: the sampler decides.
    Defer,
    /// Above zero: keep it.
    Keep,
    /// Zero: drop it.
    Drop,
}

impl Priority {
    /// Reads one row. Libraries write it as an integer, a double or a string; anything else, and
    /// a negative number, says nothing.
    pub fn of(values: &Values, row: usize) -> Self {
        match values.kind(row) {
            kind::INT => Self::of_number((values.bits(row) as i64) as f64),
            kind::DOUBLE => Self::of_number(f64::from_bits(values.bits(row))),
            kind::STRING => values.texts.str(row).parse().map_or(Self::Defer, Self::of_number),
            _ => Self::Defer,
        }
    }

    fn of_number(number: f64) -> Self {
        if number == 0.0 {
            Self::Drop
        } else if number > 0.0 {
            Self::Keep
        } else {
            Self::Defer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of the Collector's `Test_parseSpanSamplingPriority`.
    #[test]
    fn numbers_and_numeric_strings_are_priorities() {
        let cases = [
            (Values::bool(true), Priority::Defer),
            (Values::int(0), Priority::Drop),
            (Values::int(1), Priority::Keep),
            (Values::int(-1), Priority::Defer),
            (Values::double(0.0), Priority::Drop),
            (Values::double(1.0), Priority::Keep),
            (Values::double(-1.0), Priority::Defer),
            (Values::string("0.0"), Priority::Drop),
            (Values::string("0.5"), Priority::Keep),
            (Values::string("-0.5"), Priority::Defer),
            (Values::string("NaN"), Priority::Defer),
            (Values::string("high"), Priority::Defer),
            (Values::default(), Priority::Defer),
        ];
        for (value, expected) in cases {
            assert_eq!(Priority::of(&value, 0), expected, "{value:?}");
        }
    }
}
