//! Randomness: 56 bits that all spans of a trace share.

const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;
const BUCKETS_LOG2: u32 = 14;
const BUCKET_MASK: u32 = (1 << BUCKETS_LOG2) - 1;

/// More than every threshold but "never".
pub(crate) const MAX: u64 = (1 << 56) - 1;

/// The low 56 bits of a trace id, which W3C Trace Context Level 2 wants random. None for the
/// all-zero id, which is invalid.
pub(crate) fn of_trace_id(id: &[u8; 16]) -> Option<u64> {
    let id = u128::from_be_bytes(*id);
    (id != 0).then_some(id as u64 & MAX)
}

/// The Collector's hash of a trace id as randomness: `R >= T` for a threshold of 14 bits exactly
/// where its older comparison `hash & 0x3fff < share` holds. The lower bits mix what the hash has
/// left, as there.
pub(crate) fn of_hash(id: &[u8; 16], seed: u32) -> u64 {
    of_fnv(fnv32a(id, seed))
}

/// The same of many ids. A hash waits for itself with each byte, so that four at a time take as long as one.
pub(crate) fn of_hashes(ids: &[[u8; 16]], seed: u32) -> Vec<u64> {
    let begin = fnv32a(&[], seed);
    let (fours, rest) = ids.as_chunks::<4>();
    let mut all = Vec::with_capacity(ids.len());
    for [a, b, c, d] in fours {
        let mut hashes = [begin; 4];
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
            for (hash, byte) in hashes.iter_mut().zip([a, b, c, d]) {
                *hash = step(*hash, *byte);
            }
        }
        all.extend(hashes.map(of_fnv));
    }
    all.extend(rest.iter().map(|id| of_hash(id, seed)));
    all
}

fn of_fnv(hash: u32) -> u64 {
    let bucket = u64::from(hash & BUCKET_MASK);
    let unused = u64::from(hash >> (32 - BUCKETS_LOG2));
    let mixed = unused ^ (unused << 10);
    (u64::from(BUCKET_MASK) - bucket) << 42 | mixed << 14 | bucket
}

/// FNV-1a over the seed, least significant byte first, and the bytes.
fn fnv32a(bytes: &[u8], seed: u32) -> u32 {
    let seed = seed.to_le_bytes();
    seed.iter().chain(bytes).fold(FNV_OFFSET, |hash, &byte| step(hash, byte))
}

fn step(hash: u32, byte: u8) -> u32 {
    (hash ^ u32::from(byte)).wrapping_mul(FNV_PRIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `TestEmptyHashFunction` of the Collector.
    #[test]
    fn the_hash_is_the_collectors() {
        assert_eq!(fnv32a(&[], 0) & BUCKET_MASK, 0x3515);
        assert_eq!(fnv32a(&[0; 16], 0) & BUCKET_MASK, 0x2455);
    }

    /// The published FNV-1a vectors of "a" and "foobar", without a seed in front: hashing continues
    /// from the state, so four bytes of text in the seed's place are text in front.
    #[test]
    fn the_seed_goes_in_front_least_significant_byte_first() {
        let seed = u32::from_le_bytes(*b"foob");
        assert_eq!(fnv32a(b"ar", seed), 0xbf9c_f968);
    }

    #[test]
    fn many_at_a_time_are_hashed_as_one() {
        for many in 0..10 {
            let ids: Vec<[u8; 16]> = (0..many).map(|n| std::array::from_fn(|i| n * 31 + i as u8 * 7)).collect();
            let one_by_one: Vec<u64> = ids.iter().map(|id| of_hash(id, 22)).collect();
            assert_eq!(of_hashes(&ids, 22), one_by_one);
        }
    }

    #[test]
    fn the_top_14_bits_reverse_the_bucket() {
        let id = [7; 16];
        let bucket = u64::from(fnv32a(&id, 22) & BUCKET_MASK);
        assert_eq!(of_hash(&id, 22) >> 42, 0x3fff - bucket);
        assert_eq!(of_hash(&id, 22) & 0x3fff, bucket);
    }

    #[test]
    fn a_trace_id_gives_its_low_56_bits() {
        let id = 0xfefe_fefe_fefe_fefe_fe80_0000_0000_0001_u128.to_be_bytes();
        assert_eq!(of_trace_id(&id), Some(0x80_0000_0000_0001));
        assert_eq!(of_trace_id(&[0; 16]), None);
    }
}
