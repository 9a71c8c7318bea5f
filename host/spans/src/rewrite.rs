//! Writing a message anew without what no column shows: overridden occurrences of fields, and
//! fields that OTLP does not know.
//!
//! Protobuf merges the occurrences of a singular message by reading them one after another into
//! one value, so a message is given here as its fragments in order.

use crate::schema::{FieldDef, Kind, Schema};
use crate::walk::{Verdict, Walk};
use crate::wire::{FieldAt, LEN, MAX_DEPTH, fields, put_frame};

/// What to take out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Take {
    pub overridden: bool,
    pub unknown: bool,
}

impl Take {
    pub const OVERRIDDEN: Self = Self { overridden: true, unknown: false };

    /// Whether a message of that verdict has anything of it.
    pub fn applies(self, verdict: Verdict) -> bool {
        self.overridden && verdict.irregular || self.unknown && verdict.unknown
    }
}

/// What a valid message, given without its key and length, has in it.
pub(crate) fn survey(schema: &'static Schema, message: &[u8]) -> Verdict {
    let mut walk: Walk = Walk::default();
    // The message was found valid as part of its request, where it had less depth left.
    let _ = walk.message(schema, message, 0, MAX_DEPTH);
    walk.verdict
}

/// Appends the message that `fragments` make together, without what `take` says. Rows that have
/// nothing of it are copied as they are.
pub(crate) fn rewrite(schema: &'static Schema, fragments: &[&[u8]], take: Take, out: &mut Vec<u8>) {
    if let [only] = fragments
        && schema.is_row
        && !take.applies(survey(schema, only))
    {
        out.extend_from_slice(only);
        return;
    }
    let last = last_occurrences(schema, fragments);
    for (i, buf, field) in each(fragments) {
        let def = schema.field(field.number);
        let is_kept = !take.overridden || def.is_repeated() || last.get(group_of(def)) == Some(&i);
        match def.kind {
            Kind::Unknown if take.unknown => {}
            _ if !is_kept => {}
            Kind::Message(inner) if field.wire_type == LEN => {
                let parts = if take.overridden && !def.is_repeated() {
                    merged(fragments, i, field.number, def)
                } else {
                    vec![field.content(buf)]
                };
                let guess = parts.iter().map(|part| part.len()).sum();
                put_frame(out, field.number, guess, |out| {
                    rewrite(inner, &parts, take, out);
                });
            }
            _ => out.extend_from_slice(field.whole(buf)),
        }
    }
}

/// The fields of all fragments, numbered through.
fn each<'a>(fragments: &[&'a [u8]]) -> impl Iterator<Item = (usize, &'a [u8], FieldAt)> {
    let all = fragments.iter().flat_map(|&buf| fields(buf).map(move |field| (buf, field)));
    all.enumerate().map(|(i, (buf, field))| (i, buf, field))
}

/// The place of a singular field, or of a oneof, in [`last_occurrences`].
fn group_of(def: &FieldDef) -> usize {
    def.excludes.trailing_zeros() as usize
}

/// The number of the last occurrence of each singular field and of each oneof.
fn last_occurrences(schema: &Schema, fragments: &[&[u8]]) -> [usize; 32] {
    let mut last = [usize::MAX; 32];
    for (i, _, field) in each(fragments) {
        if let Some(place) = last.get_mut(group_of(schema.field(field.number))) {
            *place = i;
        }
    }
    last
}

/// The fragments of a singular message whose last occurrence is field `i`.
fn merged<'a>(fragments: &[&'a [u8]], i: usize, number: u32, def: &FieldDef) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    for (_, buf, field) in each(fragments).take_while(|(at, ..)| *at <= i) {
        if field.number == number {
            parts.push(field.content(buf));
        } else if field.number < 32 && def.excludes >> field.number & 1 == 1 {
            // Another member of the oneof replaced what was merged so far.
            parts.clear();
        }
    }
    parts
}
