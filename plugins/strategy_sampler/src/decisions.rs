//! What is decided on traces rather than on spans: those that are forced, and those that a service's
//! limit lets through. Instances share it in the store, so that spans of a trace that come later, or to
//! another core, meet the same decision.
//!
//! When the store is full a decision holds for this batch only, and a log line says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sluice_sdk::prelude::*;
use sluice_sdk::store::{self, Bucket};
use sluice_sdk::{Refusal, kind, log};

/// A trace id.
pub(crate) type TraceId = [u8; 16];

/// The refusal of a store that has no room.
const OVER_LIMIT: u32 = 5;

/// First bytes of keys: forced traces, and decisions of services' limits.
const FORCED: u8 = b'f';
const LIMITED: u8 = b'l';

/// The decisions for one batch.
pub(crate) struct Decisions<'a> {
    forced: BTreeSet<&'a TraceId>,
    limited: BTreeMap<Part<'a>, bool>,
}

/// The spans of a trace that are of one service.
pub(crate) type Part<'a> = (&'a str, &'a TraceId);

impl<'a> Decisions<'a> {
    /// Finds out which traces are forced: those that a span of this batch forces, and of the others
    /// those that were forced before.
    pub(crate) fn new(
        forcing: impl Iterator<Item = &'a TraceId>,
        others: impl Iterator<Item = &'a TraceId>,
        ttl: Option<Duration>,
    ) -> Result<Self, Refusal> {
        let mut forced: BTreeSet<_> = forcing.collect();
        if ttl.is_some() {
            if !forced.is_empty() {
                let written = store::set(&forced_keys(&forced), &Values::int(1), ttl);
                unless_full(written)?;
            }
            let others: BTreeSet<_> = others.filter(|id| !forced.contains(id)).collect();
            if !others.is_empty() {
                let known = store::get(&forced_keys(&others))?;
                let is_known = |i: &usize| known.kind(*i) != kind::ABSENT;
                forced.extend((0..).zip(&others).filter(|(i, _)| is_known(i)).map(|(_, &id)| id));
            }
        }
        Ok(Self { forced, limited: BTreeMap::new() })
    }

    /// Whether a trace is kept whatever the strategies say.
    pub(crate) fn forces(&self, id: &TraceId) -> bool {
        self.forced.contains(id)
    }

    /// Whether a service's limit lets its part of a trace through.
    pub(crate) fn lets_through(&self, part: Part<'_>) -> bool {
        self.limited.get(&part).copied().unwrap_or_default()
    }

    /// Decides on parts of traces whose services have a limit.
    pub(crate) fn limit(&mut self, parts: BTreeMap<Part<'a>, Bucket>, ttl: Option<Duration>) -> Result<(), Refusal> {
        if parts.is_empty() {
            return Ok(());
        }
        let unknown: Vec<_> = if ttl.is_some() {
            let known = store::get(&part_keys(parts.keys()))?;
            let mut unknown = Vec::new();
            for (i, (part, bucket)) in parts.into_iter().enumerate() {
                match known.kind(i) {
                    kind::ABSENT => unknown.push((part, bucket)),
                    _ => {
                        self.limited.insert(part, known.bits(i) != 0);
                    }
                }
            }
            unknown
        } else {
            parts.into_iter().collect()
        };
        self.take(&unknown)?;
        if ttl.is_some() { self.agree(&unknown, ttl) } else { Ok(()) }
    }

    /// Takes a token for each part from its service's bucket.
    fn take(&mut self, parts: &[(Part<'a>, Bucket)]) -> Result<(), Refusal> {
        // Parts of one service stand together, and one call is for one kind of bucket.
        for alike in parts.chunk_by(|(_, left), (_, right)| left == right) {
            let Some((_, bucket)) = alike.first() else { continue };
            let mut services = Texts::default();
            for ((service, _), _) in alike {
                services.push(service.as_bytes());
            }
            let taken = store::take(&services, &[1], *bucket)?;
            self.limited.extend(alike.iter().map(|(part, _)| *part).zip(taken));
        }
        Ok(())
    }

    /// Remembers what was decided. If another core has decided on the same part at the same time, its
    /// decision holds; the token is lost.
    fn agree(&mut self, parts: &[(Part<'a>, Bucket)], ttl: Option<Duration>) -> Result<(), Refusal> {
        if parts.is_empty() {
            return Ok(());
        }
        let mut mine = Values::default();
        for (part, _) in parts {
            mine.push(kind::INT, u64::from(self.lets_through(*part)), b"");
        }
        let keys = part_keys(parts.iter().map(|(part, _)| part));
        let Some(first) = unless_full(store::compare_and_set(&keys, &Values::absent(), &mine, ttl))? else {
            return Ok(());
        };
        let later: Vec<_> = parts.iter().zip(first).filter(|(_, first)| !first).map(|((part, _), _)| *part).collect();
        if later.is_empty() {
            return Ok(());
        }
        let theirs = store::get(&part_keys(later.iter()))?;
        for (i, part) in later.into_iter().enumerate() {
            // It is gone if their request has failed meanwhile: then mine is as good.
            if theirs.kind(i) != kind::ABSENT {
                self.limited.insert(part, theirs.bits(i) != 0);
            }
        }
        Ok(())
    }
}

fn forced_keys(ids: &BTreeSet<&TraceId>) -> Texts {
    let mut keys = Texts::default();
    for id in ids {
        keys.bytes.push(FORCED);
        keys.push(id.as_slice());
    }
    keys
}

fn part_keys<'k, 'a: 'k>(parts: impl Iterator<Item = &'k Part<'a>>) -> Texts {
    let mut keys = Texts::default();
    for (service, id) in parts {
        keys.bytes.push(LIMITED);
        keys.bytes.extend_from_slice(id.as_slice());
        keys.push(service.as_bytes());
    }
    keys
}

/// None if the store has no room for it, which costs memory of decisions and no spans.
fn unless_full<T>(done: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(refusal) if refusal.code == OVER_LIMIT => {
            log::warn(&format!(
                "decisions on traces are not remembered: {}; shorten `decision_ttl` or raise `sluice.limits.store_mib`",
                refusal.message
            ));
            Ok(None)
        }
        Err(refusal) => Err(refusal),
    }
}
