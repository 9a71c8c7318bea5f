//! Masking.

use std::ops::Range;

/// What stands for what was found; the Collector's.
pub const MASK: &[u8] = b"****";

/// The text with `found` masked. Ranges may overlap and need no order.
pub fn mask(text: &[u8], mut found: Vec<Range<usize>>) -> Vec<u8> {
    found.sort_by_key(|range| range.start);
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    for range in found {
        if range.end <= at {
            continue;
        }
        if range.start >= at {
            out.extend_from_slice(text.get(at..range.start).unwrap_or_default());
            out.extend_from_slice(MASK);
        }
        at = range.end;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn ranges_are_masked_and_the_rest_is_kept() {
        assert_eq!(mask(b"abcdef", vec![4..6, 1..2]), b"a****cd****");
        assert_eq!(mask(b"abcdef", vec![1..4, 2..5]), b"a****f", "overlapping ranges are one");
        assert_eq!(mask(b"abc", vec![]), b"abc");
    }
}
