//! Random numbers for plugins: `SplitMix64` (Steele, Lea and Flood, 2014). Fast, well spread, and
//! predictable to whoever knows some of the numbers, which the contract says.

use std::hash::{BuildHasher, RandomState};

/// A sequence of random numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed: the same for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own. The seed is what the operating system seeds hash maps with.
    pub fn unseeded() -> Self {
        Self(RandomState::new().hash_one(std::thread::current().id()))
    }

    /// The next 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_gives_the_published_sequence() {
        // The outputs of the reference implementation (splitmix64.c by Vigna) for this seed.
        let mut random = Random::seeded(1_234_567);
        let numbers: Vec<u64> = (0..5).map(|_| random.number()).collect();
        assert_eq!(
            numbers,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821
            ]
        );
    }

    #[test]
    fn sequences_without_a_seed_differ() {
        assert_ne!(Random::unseeded().number(), Random::unseeded().number());
    }
}
