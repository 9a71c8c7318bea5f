//! Which traces are on the trail of a watched waybill.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sluice_sdk::prelude::*;
use sluice_sdk::{Refusal, store, tables};

pub type TraceId = [u8; 16];

/// Why a number that stands in the configuration is watched.
const CONFIGURED: &str = "configured";
/// The column of the table that says why a number is watched.
const WHY: &str = "why";
/// Keys in the store have a limit, and no waybill's number is as long as this.
pub const MAX_NUMBER_BYTES: usize = 256;

/// A watched waybill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    pub number: String,
    pub why: String,
}

/// What is watched.
pub struct Watch {
    pub numbers: BTreeSet<String>,
    pub table: Option<String>,
}

impl Watch {
    /// The watched ones of some numbers, and why they are. All are looked up at once.
    pub fn find(&self, numbers: &BTreeSet<&str>) -> Result<BTreeMap<String, Trail>, Refusal> {
        let mut found = BTreeMap::new();
        let mut keys = Texts::default();
        for &number in numbers {
            keys.push(number.as_bytes());
            if self.numbers.contains(number) {
                found.insert(number.to_owned(), Trail { number: number.to_owned(), why: CONFIGURED.to_owned() });
            }
        }
        if let Some(table) = self.table.as_ref().filter(|_| !numbers.is_empty()) {
            let whys = tables::look_up(table, WHY, &keys)?;
            for (i, &number) in numbers.iter().enumerate() {
                if let Some(why) = whys.str(i) {
                    found.insert(number.to_owned(), Trail { number: number.to_owned(), why: why.to_owned() });
                }
            }
        }
        Ok(found)
    }
}

/// The key of a trace in the store; no key of a station is like it.
fn key(id: &TraceId) -> Vec<u8> {
    [b"trace\n", id.as_slice()].concat()
}

/// Tells all cores, now and for some time, that these traces are on a trail.
pub fn remember(trails: &BTreeMap<TraceId, Trail>, time: Duration) -> Result<(), Refusal> {
    let (mut keys, mut values) = (Texts::default(), Texts::default());
    for (id, trail) in trails {
        keys.push(&key(id));
        // A number has no line feed: it came out of one text or line.
        values.push(format!("{}\n{}", trail.number, trail.why).as_bytes());
    }
    if trails.is_empty() { Ok(()) } else { store::set(&keys, &Values::strings(values), Some(time)) }
}

/// The trails of traces that were remembered.
pub fn recall(ids: &BTreeSet<TraceId>) -> Result<BTreeMap<TraceId, Trail>, Refusal> {
    let mut keys = Texts::default();
    ids.iter().for_each(|id| keys.push(&key(id)));
    let known = if ids.is_empty() { Values::default() } else { store::get(&keys)? };
    let trail = |(i, id): (usize, &TraceId)| {
        let (number, why) = known.str(i)?.split_once('\n')?;
        Some((*id, Trail { number: number.to_owned(), why: why.to_owned() }))
    };
    Ok(ids.iter().enumerate().filter_map(trail).collect())
}

/// Which of these waybills come to a station for the first time. On whatever core they do: of several
/// that ask at once, one is told so.
pub fn arrive(scans: &BTreeSet<(String, String)>, time: Duration) -> Result<Vec<bool>, Refusal> {
    let mut keys = Texts::default();
    for (number, station) in scans {
        keys.push(format!("station\n{number}\n{station}").as_bytes());
    }
    store::compare_and_set(&keys, &Values::absent(), &Values::bool(true), Some(time))
}
