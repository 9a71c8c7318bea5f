//! The names of the files.

pub(crate) const LOCK: &str = "lock";
pub(crate) const CURSOR: &str = "cursor";
pub(crate) const CURSOR_NEW: &str = "cursor.new";
pub(crate) const QUARANTINE: &str = "quarantine";

pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:020}.seg")
}

pub(crate) fn damaged_name(number: u64) -> String {
    format!("{number:020}.damaged")
}

pub(crate) fn is_damaged_name(name: &str) -> bool {
    name.strip_suffix(".damaged").is_some()
}

/// The number of a segment file; nothing for every other name.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| digits.parse().ok())?
}
