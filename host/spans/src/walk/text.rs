//! Whether bytes are text.

/// UTF-8, with a short way for short ASCII, which nearly all is.
#[inline]
pub(super) fn is_utf8(bytes: &[u8]) -> bool {
    is_short_ascii(bytes) || std::str::from_utf8(bytes).is_ok()
}

#[inline]
pub(super) fn is_short_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let len = bytes.len();
    // Both ends, which overlap in short texts, then what lies between them.
    let all = if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let mut all = both_halves(first) | both_halves(last);
        if len > 32 {
            let between = bytes.get(16..len - 16).unwrap_or_default();
            match (between.first_chunk(), between.last_chunk()) {
                (Some(first), Some(last)) if len <= 64 => all |= both_halves(first) | both_halves(last),
                _ => return all & HIGH == 0 && between.is_ascii(),
            }
        }
        all
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        u64::from_le_bytes(*first) | u64::from_le_bytes(*last)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*first) | u32::from_le_bytes(*last))
    } else {
        u64::from(bytes.iter().fold(0, |all, byte| all | byte))
    };
    all & HIGH == 0
}

#[inline]
fn both_halves(bytes: &[u8; 16]) -> u64 {
    let all = u128::from_le_bytes(*bytes);
    all as u64 | (all >> 64) as u64
}
