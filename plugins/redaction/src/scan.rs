//! Scans whole columns: one pass over all texts of a column at once, and a closer look only at the
//! texts in which something was found.

use std::ops::Range;

use sluice_sdk::{Texts, Values, any_value, kind};

use crate::config::Rules;
use crate::mask::{MASK, mask};

/// Calls `masked` with each text that must be replaced and its replacement.
pub fn texts(rules: &Rules, texts: &Texts, mut masked: impl FnMut(usize, &[u8])) {
    suspects(rules, texts, |i| {
        if let Some(text) = one(rules, texts.get(i)) {
            masked(i, &text);
        }
    });
}

/// Calls `masked` with each value that must be replaced, its type, and its replacement.
pub fn entries(rules: &Rules, values: &Values, mut masked: impl FnMut(usize, u8, &[u8])) {
    suspects(rules, &values.texts, |i| {
        let (kind, bytes) = (values.kind(i), values.texts.get(i));
        let replaced = match kind {
            kind::ARRAY | kind::KVLIST => any_value::replace_strings(kind, bytes, &mut |text| one(rules, text)),
            _ => Ok(one(rules, bytes)),
        };
        match replaced {
            Ok(Some(replaced)) => masked(i, kind, &replaced),
            Ok(None) => {}
            // What cannot be looked at does not leave.
            Err(_) => masked(i, kind::STRING, MASK),
        }
    });
}

/// Finds the texts in which something could be. What is found in all texts taken as one may reach
/// across two of them; then both are suspects, and each is judged for itself. Patterns know the
/// start and the end of a text, so with patterns every text is one.
fn suspects(rules: &Rules, texts: &Texts, mut suspect: impl FnMut(usize)) {
    if !rules.blocked_values.is_empty() {
        (0..texts.len()).for_each(suspect);
        return;
    }
    let mut found = Vec::new();
    crate::detect::candidates(&rules.detectors, &texts.bytes, &mut found);
    found.sort_by_key(|range| range.start);
    let mut next = 0;
    for range in found {
        let first = texts.ends.partition_point(|&end| end as usize <= range.start).max(next);
        let mut i = first;
        while i < texts.len() && (i == first || texts.ends.get(i - 1).is_some_and(|&from| (from as usize) < range.end))
        {
            suspect(i);
            i += 1;
        }
        next = next.max(i);
    }
}

/// The text with everything masked that is found in it; `None` if nothing is.
fn one(rules: &Rules, text: &[u8]) -> Option<Vec<u8>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for detector in &rules.detectors {
        detector.find(text, &mut found);
    }
    for pattern in &rules.blocked_values {
        found.extend(pattern.find_iter(text).map(|hit| hit.range()).filter(|range| !range.is_empty()));
    }
    if found.is_empty() || rules.allowed_values.iter().any(|allowed| allowed.is_match(text)) {
        return None;
    }
    Some(mask(text, found))
}
