//! Scans all texts of a batch in one pass, and takes a closer look only at those in which something
//! was found.

use std::ops::Range;

use sluice_sdk::{Section, Strings, Texts, any_value, kind};

use crate::NOT_LOOKED_AT;
use crate::config::Rules;
use crate::mask::{MASK, mask};

/// Calls `masked` with each text that must be replaced: its section, its place in it, its type, and
/// its replacement.
pub fn strings(rules: &Rules, strings: &Strings, mut masked: impl FnMut(&Section, usize, u8, &[u8])) {
    let mut sections = strings.sections.iter().peekable();
    suspects(rules, &strings.texts, |i| {
        // Suspects come in order, and so do sections.
        while sections.next_if(|section| section.texts.end <= i).is_some() {}
        let Some(section) = sections.peek() else { return };
        if section.field.is_some_and(|field| NOT_LOOKED_AT.contains(&field)) {
            return;
        }
        let (kind, bytes) = (strings.kind(i), strings.texts.get(i));
        let replaced = match kind {
            kind::ARRAY | kind::KVLIST => any_value::replace_strings(kind, bytes, &mut |text| one(rules, text)),
            _ => Ok(one(rules, bytes)),
        };
        let place = i - section.texts.start;
        match replaced {
            Ok(Some(replaced)) => masked(section, place, kind, &replaced),
            Ok(None) => {}
            // What cannot be looked at does not leave.
            Err(_) => masked(section, place, kind::STRING, MASK),
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
