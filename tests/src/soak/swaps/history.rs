//! Which versions were to serve at each place, one after the other, and which of them may work on a request.
//!
//! When the collector has told that a version serves, all cores have it: a request that begins after that is done by
//! it or by a later one. The one before may stand in for it, which the collector tells, too; none that is older may.

use std::collections::HashMap;
use std::time::Instant;

use super::version::Version;

/// See the module.
#[derive(Default)]
pub(super) struct History {
    places: HashMap<&'static str, Place>,
    /// The note of the configuration that is to serve; notes count up from 0.
    pub(super) note: u32,
    /// The note that spans have shown.
    shown: u32,
}

#[derive(Default)]
struct Place {
    turns: Vec<Turn>,
    /// The last turn of each version, by its mark: one may come again.
    last: HashMap<String, usize>,
}

/// A version that is to serve until the next one does.
struct Turn {
    /// What it says of itself.
    called: String,
    /// The least note that it can have, once it is told to serve.
    note: u32,
    /// When it was heard to serve.
    told: Option<Instant>,
    /// The version before was told to stand in for it.
    has_standby: bool,
}

/// What may work on a request at one place.
#[derive(Default)]
pub(super) struct Allowed {
    /// The first turn, and the least note.
    from: usize,
    note: u32,
}

impl History {
    /// Spans have shown the note: whatever is put from now on comes with it, or with a later one.
    pub(super) fn is_shown(&mut self) {
        self.shown = self.note;
    }

    /// Another version is put at a place.
    pub(super) fn put(&mut self, place: &'static str, version: &Version) {
        let Place { turns, last } = self.places.entry(place).or_default();
        last.insert(version.mark.clone(), turns.len());
        turns.push(Turn { called: version.called(), note: self.shown, told: None, has_standby: false });
    }

    /// The version that was put last at a place is told to serve.
    pub(super) fn serves(&mut self, place: &str, now: Instant) {
        if let Some(turn) = self.places.get_mut(place).and_then(|place| place.turns.last_mut()) {
            turn.told = Some(now);
        }
    }

    /// The version before is told to stand in for the one that calls itself so.
    pub(super) fn stands_in(&mut self, place: &str, called: &str) {
        let turns = self.places.get_mut(place).into_iter().flat_map(|place| &mut place.turns);
        turns.filter(|turn| turn.called == called).for_each(|turn| turn.has_standby = true);
    }

    /// The places and marks of all versions.
    pub(super) fn versions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places.iter().flat_map(|(name, place)| place.last.keys().map(|mark| (*name, mark.as_str())))
    }

    /// Whether a version was ever to serve at a place.
    pub(super) fn knows(&self, place: &str, mark: &str) -> bool {
        self.places.get(place).is_some_and(|place| place.last.contains_key(mark))
    }

    /// What may work on a request at a place that begins then.
    pub(super) fn allowed(&self, place: &str, began: Instant) -> Allowed {
        let turns = self.places.get(place).map_or(&[][..], |place| &place.turns);
        let serves = |turn: &Turn| turn.told.is_some_and(|told| told <= began);
        let Some((at, turn)) = turns.iter().enumerate().rfind(|(_, turn)| serves(turn)) else {
            return Allowed::default();
        };
        Allowed { from: at.saturating_sub(turn.has_standby.into()), note: turn.note }
    }

    /// Whether a version at a place, with this note, was to work no more on what has begun when only these may.
    pub(super) fn is_over(&self, place: &str, mark: &str, note: u32, allowed: &Allowed) -> bool {
        let last = self.places.get(place).and_then(|place| place.last.get(mark));
        note < allowed.note || last.is_some_and(|last| *last < allowed.from)
    }
}
