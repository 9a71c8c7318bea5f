//! The search for the spans that a plugin fails on.
//!
//! A batch on which the plugin fails is halved until what it fails on is small; then the rest is
//! tried without it, and if that fails as well the search goes on in the part that nothing is known
//! of. What is blamed was always tried alone: a batch on which the plugin fails only as a whole, for
//! its size, blames nobody.

use std::ops::Range;

/// Calls of the plugin that a request may cost.
pub(super) const CALLS: u32 = 16;

/// Spans of a request that may be blamed. A plugin that fails on more of them is at fault itself.
pub(super) const POISON: usize = 8;

/// Rows that are to be tried.
pub(super) enum Trial<'r> {
    /// These alone.
    Only(Range<u32>),
    /// All but these. If it goes well, this is what the call was for.
    AllBut(&'r [u32]),
}

/// Finds the rows that the plugin fails on, at most `most`, in order. `calls` is how many may still be
/// made. `attempt` says whether the plugin takes the rows, or `None` to stop the search.
/// Unless all rows are to blame, the last attempt was that of the rest, which went well. `None` if
/// they are not found.
pub(super) fn isolate(
    rows: u32,
    calls: &mut u32,
    most: usize,
    mut attempt: impl FnMut(Trial<'_>) -> Option<bool>,
) -> Option<Vec<u32>> {
    let mut poison = Vec::new();
    let mut unknown = 0;
    let mut attempt = |trial: Trial<'_>, calls: &mut u32| {
        *calls = calls.checked_sub(1)?;
        attempt(trial)
    };
    while unknown < rows {
        let Range { start: mut from, end: mut to } = unknown..rows;
        // Whether just these rows have been tried.
        let mut tried = from == 0;
        // Two calls are for trying what is blamed alone, and for the rest.
        while to - from > 1 && *calls > 2 {
            let middle = from.midpoint(to);
            if attempt(Trial::Only(from..middle), calls)? {
                (from, tried) = (middle, false);
            } else {
                (to, tried) = (middle, true);
            }
        }
        poison.extend(from..to);
        if poison.len() > most || !tried && attempt(Trial::Only(from..to), calls)? {
            return None;
        }
        if poison.len() == rows as usize || attempt(Trial::AllBut(&poison), calls)? {
            return Some(poison);
        }
        unknown = to;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// Searches among rows of which these are bad; checks that each promise is kept.
    fn search(rows: u32, bad: &[u32]) -> Option<Vec<u32>> {
        let mut calls = CALLS;
        let mut last_rest = None;
        let found = isolate(rows, &mut calls, POISON, |trial| {
            let has_bad = |only: &Range<u32>| bad.iter().any(|row| only.contains(row));
            Some(match trial {
                Trial::Only(range) => {
                    assert!(!range.is_empty() && range.end <= rows);
                    !has_bad(&range)
                }
                Trial::AllBut(poison) => {
                    last_rest = Some(poison.to_vec());
                    bad.iter().all(|row| poison.contains(row))
                }
            })
        });
        if let Some(found) = &found {
            assert!(found.len() <= POISON && bad.iter().all(|row| found.contains(row)), "{found:?} of {bad:?}");
            if found.len() < rows as usize {
                assert_eq!(last_rest.as_ref(), Some(found), "the rest was tried last, and without these");
            }
        }
        found
    }

    #[test]
    fn one_bad_span_in_a_slice_costs_one_span() {
        for rows in [1, 2, 3, 7, 100, 511, 512] {
            for bad in 0..rows {
                assert_eq!(search(rows, &[bad]), Some(vec![bad]), "{bad} of {rows}");
            }
        }
    }

    #[test]
    fn up_to_three_anywhere_in_a_small_request_cost_themselves() {
        for bad in [&[0, 1][..], &[0, 9], &[4, 5], &[8, 9], &[0, 4, 9], &[0, 1, 2], &[7, 8, 9]] {
            let found = search(10, bad).unwrap();
            assert!(found.len() <= bad.len() + 2, "{found:?} for {bad:?}");
        }
    }

    #[test]
    fn a_small_request_of_nothing_but_bad_spans_is_blamed_whole() {
        assert_eq!(search(3, &[0, 1, 2]), Some(vec![0, 1, 2]));
        assert_eq!(search(1, &[0]), Some(vec![0]));
    }

    #[test]
    fn more_bad_spans_than_that_blame_the_plugin() {
        assert_eq!(search(512, &(0..512).collect::<Vec<_>>()), None);
        assert_eq!(search(20, &(3..13).collect::<Vec<_>>()), None);
    }

    #[test]
    fn no_more_are_blamed_than_is_allowed() {
        let search = |most| {
            isolate(10, &mut CALLS.clone(), most, |trial| match trial {
                Trial::Only(range) => Some(!range.contains(&2) && !range.contains(&3)),
                Trial::AllBut(poison) => Some(poison.contains(&2) && poison.contains(&3)),
            })
        };
        assert_eq!((search(2), search(1)), (Some(vec![2, 3]), None));
    }

    #[test]
    fn a_batch_that_fails_only_as_a_whole_blames_nobody() {
        for most in [500, 512] {
            let found = isolate(512, &mut CALLS.clone(), POISON, |trial| match trial {
                Trial::Only(range) => Some(range.len() < most),
                Trial::AllBut(poison) => Some(512 - poison.len() < most),
            });
            assert_eq!(found, None, "it takes fewer than {most}");
        }
    }

    #[test]
    fn calls_are_left_to_serve_the_rest_when_a_second_one_is_searched_for() {
        for (rows, bad) in [(100, [10, 60]), (100, [0, 99]), (512, [460, 500])] {
            assert!(search(rows, &bad).is_some(), "{bad:?} of {rows}");
        }
    }

    #[test]
    fn the_search_ends_when_it_is_told_to() {
        let mut tries = 0;
        let found = isolate(512, &mut CALLS.clone(), POISON, |_| {
            tries += 1;
            (tries < 3).then_some(false)
        });
        assert_eq!((found, tries), (None, 3));
    }

    proptest! {
        #[test]
        fn whatever_is_bad_is_found_or_nothing_is_blamed_in_at_most_sixteen_calls(
            rows in 1u32..=600, bad in prop::collection::btree_set(0u32..600, 1..12)
        ) {
            let bad: Vec<u32> = bad.into_iter().filter(|row| *row < rows).collect();
            prop_assume!(!bad.is_empty());
            // `isolate` cannot make more calls than it was given; what is found is checked there.
            search(rows, &bad);
        }
    }
}
