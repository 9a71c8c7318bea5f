//! Rejection thresholds of OTEP 235: a span is kept if its randomness is at least the threshold.

/// Hex digits of 56 bits.
pub const HEX_DIGITS: usize = 14;
const HEX_BITS: i32 = 4;
const SCALE: u64 = 1 << 56;
/// The smallest probability that a threshold can express, 2^-56.
pub const MIN_PROBABILITY: f64 = 1.0 / SCALE as f64;
/// The Collector's `hash_seed` mode knows 2^14 shares.
const BUCKETS: u32 = 1 << 14;

/// A threshold: 0 keeps everything, 2^56 nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Threshold(u64);

impl Threshold {
    /// Keeps everything.
    pub const ALWAYS: Self = Self(0);
    /// Keeps nothing.
    pub const NEVER: Self = Self(SCALE);

    /// Of a probability, with so many significant hex digits. Digits that a probability near 0
    /// or 1 has in front (`f` or `0`) do not count. Never if the probability is below 2^-56.
    pub fn of_probability(probability: f64, precision: usize) -> Self {
        if probability < MIN_PROBABILITY {
            return Self::NEVER;
        }
        if probability >= 1.0 {
            return Self::ALWAYS;
        }
        let leading = (exponent(probability) / -HEX_BITS).max(exponent(1.0 - probability) / -HEX_BITS);
        let digits = (precision + leading.unsigned_abs() as usize).min(HEX_DIGITS);
        let kept = (probability * SCALE as f64).round() as u64;
        let mut threshold = SCALE - kept;
        let shift = 4 * (HEX_DIGITS - digits);
        if shift > 0 {
            threshold = (threshold + (1 << (shift - 1))) >> shift << shift;
        }
        Self(threshold)
    }

    /// Of a percentage in the `hash_seed` mode: rounded down to 2^14ths, in 32-bit arithmetic, as
    /// the Collector has always done. None if nothing is left.
    pub fn of_buckets(percentage: f32) -> Option<Self> {
        let kept = (percentage * (BUCKETS as f32 / 100.0)) as u32;
        (kept > 0).then(|| Self(u64::from(BUCKETS.saturating_sub(kept)) << 42))
    }

    /// Of the hex digits of `th`, 1 to 14 of them.
    pub(crate) fn parse(digits: &str) -> Option<Self> {
        let hex =
            !digits.is_empty() && digits.len() <= HEX_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = hex.then(|| u64::from_str_radix(digits, 16).ok()).flatten()?;
        Some(Self(value << (4 * (HEX_DIGITS - digits.len()))))
    }

    /// Whether a span with this randomness is kept.
    pub(crate) fn keeps(self, randomness: u64) -> bool {
        self.0 <= randomness
    }

    /// The highest 8 of its 56 bits; more than 255 for the one that keeps nothing.
    pub(crate) fn highest_byte(self) -> u64 {
        self.0 >> 48
    }

    /// The share that is kept.
    pub(crate) fn probability(self) -> f64 {
        (SCALE - self.0) as f64 / SCALE as f64
    }

    /// Writes the digits of `th`, without trailing zeros. Never has none and is not written.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        if self == Self::ALWAYS {
            out.push(b'0');
            return;
        }
        let digits = hex(self.0);
        let len = digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1);
        out.extend_from_slice(digits.get(..len).unwrap_or_default());
    }
}

/// 56 bits as 14 lower-case hex digits.
pub(crate) fn hex(bits: u64) -> [u8; HEX_DIGITS] {
    let [high, low] = [hex_of_32((bits >> 24) as u32), hex_of_32((bits as u32) << 8)];
    std::array::from_fn(|i| high.get(i).or_else(|| low.get(i - high.len())).copied().unwrap_or(b'0'))
}

/// 32 bits as 8 digits, all at a time: random digits would be guessed wrong every other time.
fn hex_of_32(bits: u32) -> [u8; 8] {
    // A nibble a byte, the highest first.
    let mut nibbles = u64::from(bits);
    nibbles = (nibbles << 16 | nibbles) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles << 8 | nibbles) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles << 4 | nibbles) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (nibbles + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (nibbles + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// The exponent `e` of `x = f * 2^e` with `f` in `[0.5, 1)`, for the normal numbers in (0, 1).
fn exponent(x: f64) -> i32 {
    const BIAS: i32 = 1022;
    ((x.to_bits() >> 52) as i32 & 0x7ff) - BIAS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(threshold: Threshold) -> String {
        let mut out = Vec::new();
        threshold.write(&mut out);
        out.iter().map(|&byte| byte as char).collect()
    }

    fn pow2(exponent: i32) -> f64 {
        2f64.powi(exponent)
    }

    /// OTEP 235's and the Collector's examples (`ExampleProbabilityToThresholdWithPrecision`,
    /// `ExampleProbabilityToThreshold_rounding`, `…_verysmall`).
    #[test]
    fn probabilities_become_the_published_thresholds() {
        let cases = [
            (1.0, 4, "0"),
            (0.5, 4, "8"),
            (0.25, 4, "c"),
            (0.1, 4, "e666"),
            (0.01, 4, "fd70a"),
            (0.01, 3, "fd71"),
            (0.001, 4, "ffbe77"),
            (1.0 / 3.0, 3, "aab"),
            (2.0 / 3.0, 3, "555"),
            (1.0 / 3.0, 14, "aaaaaaaaaaaaac"),
            (pow2(-56), 3, "ffffffffffffff"),
            (pow2(-54), 3, "fffffffffffffc"),
            (16.0 * pow2(-56), 3, "fffffffffffff"),
            (f64::from(99.999_92_f32) / 100.0, 10, "00000cccccccd"),
        ];
        for (probability, precision, expected) in cases {
            assert_eq!(
                text(Threshold::of_probability(probability, precision)),
                expected,
                "{probability} at {precision}"
            );
        }
    }

    /// The table of the Collector's `TestProbabilityToThresholdWithPrecision`.
    #[test]
    fn rounding_counts_digits_after_the_leading_ones() {
        let cases: [(f64, &str, &[&str]); 5] = [
            (1.0 - f64::from(0x0456_789a) * pow2(-28), "456789a", &["45678a", "45679", "4568", "456", "45", "4"]),
            (
                1.0 - f64::from(0x0456_789a) * pow2(-40),
                "000456789a",
                &["00045678a", "00045679", "0004568", "000456", "00045", "0004"],
            ),
            (
                1.0 - 0x7_89ab_cdef_u64 as f64 * pow2(-40),
                "0789abcdef",
                &["0789abcdf", "0789abce", "0789abd", "0789ac", "0789b", "078a", "079", "08"],
            ),
            (
                1.0 - f64::from(0x1234_5678) * pow2(-32),
                "12345678",
                &["1234568", "123456", "12345", "1234", "123", "12", "1"],
            ),
            (1.0 - f64::from(0x80801) * pow2(-28), "0080801", &["00808", "008"]),
        ];
        for (probability, exact, rounded) in cases {
            assert_eq!(text(Threshold::of_probability(probability, 14)), exact);
            for digits in rounded {
                let precision = digits.trim_start_matches('0').len();
                assert_eq!(text(Threshold::of_probability(probability, precision)), *digits, "{exact}");
            }
        }
    }

    /// `Test_tracesamplerprocessor_HashSeedTraceState` of the Collector.
    #[test]
    fn the_hash_mode_rounds_to_14_bits() {
        let cases = [(100.0, "0"), (75.0, "4"), (50.0, "8"), (25.0, "c"), (10.0, "e668"), (100.0 / 3.0, "aaac")];
        for (percentage, expected) in cases {
            assert_eq!(Threshold::of_buckets(percentage).map(text).as_deref(), Some(expected), "{percentage}");
        }
        assert_eq!(Threshold::of_buckets(0.001), None);
    }

    #[test]
    fn every_digit_is_written_at_every_place() {
        for bits in (0..16).map(|digit| digit * 0x11_1111_1111_1111).chain([0x01_2345_6789_abcd, 0xfe_dcba_9876_5432]) {
            assert_eq!(hex(bits).as_slice(), format!("{bits:014x}").as_bytes());
        }
    }

    #[test]
    fn digits_are_read_as_the_leading_ones() {
        assert_eq!(Threshold::parse("8"), Threshold::parse("80000000000000"));
        assert_eq!(Threshold::parse("0"), Some(Threshold::ALWAYS));
        for bad in ["", "-1", "+1", "g", "123456789012345"] {
            assert_eq!(Threshold::parse(bad), None, "{bad}");
        }
    }
}
