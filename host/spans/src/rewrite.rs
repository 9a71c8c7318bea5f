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
    pub const OVERRIDDEN: Self = Self {
        overridden: true,
        unknown: false,
    };

    /// Whether a message of that verdict has anything of it.
    pub fn applies(self, verdict: Verdict) -> bool {
        self.overridden && verdict.irregular || self.unknown && verdict.unknown
    }
}

/// What a valid message, given without its key and length, has in it.
pub(crate) fn survey(schema: &'static Schema, message: &[u8]) -> Verdict {
    let mut walk = Walk::default();
    // The message was found valid as part of its request, where it had less depth left.
    let _ = walk.message(schema, message, 0, MAX_DEPTH);
    walk.verdict
}

/// Appends the message that `fragments` make together, without what `take` says. Rows that have
/// nothing of it are copied as they are.
pub(crate) fn rewrite(
    schema: &'static Schema,
    fragments: &[&[u8]],
    take: Take,
    out: &mut Vec<u8>,
) {
    if let [only] = fragments
        && schema.is_row
        && !take.applies(survey(schema, only))
    {
        out.extend_from_slice(only);
        return;
    }
    let all: Vec<(&[u8], FieldAt)> = fragments
        .iter()
        .flat_map(|&buf| fields(buf).map(move |field| (buf, field)))
        .collect();
    let last = last_occurrences(schema, &all);
    for (i, &(buf, field)) in all.iter().enumerate() {
        let def = schema.field(field.number);
        match def.kind {
            Kind::Unknown if take.unknown => {}
            Kind::Message(inner) if field.wire_type == LEN => {
                if let Some(parts) = parts_of(&all, i, def, &last, take) {
                    let guess = parts.iter().map(|part| part.len()).sum();
                    put_frame(out, field.number, guess, |out| {
                        rewrite(inner, &parts, take, out);
                    });
                }
            }
            _ => {
                if !take.overridden || def.is_repeated() || last.get(&def.excludes) == Some(&i) {
                    out.extend_from_slice(field.whole(buf));
                }
            }
        }
    }
}

/// The last occurrence of each singular field and of each oneof, by what it excludes.
type Last = std::collections::HashMap<u32, usize>;

fn last_occurrences(schema: &Schema, all: &[(&[u8], FieldAt)]) -> Last {
    let mut last = Last::new();
    for (i, (_, field)) in all.iter().enumerate() {
        let def = schema.field(field.number);
        if !def.is_repeated() {
            last.insert(def.excludes, i);
        }
    }
    last
}

/// The fragments that the message field `i` stands for: nothing if a later one stands for it.
fn parts_of<'a>(
    all: &[(&'a [u8], FieldAt)],
    i: usize,
    def: &FieldDef,
    last: &Last,
    take: Take,
) -> Option<Vec<&'a [u8]>> {
    let &(buf, field) = all.get(i)?;
    if !take.overridden || def.is_repeated() {
        return Some(vec![field.content(buf)]);
    }
    if last.get(&def.excludes) != Some(&i) {
        return None;
    }
    // Another member of the oneof in between ends the merging: it replaced what was before.
    let rivals = |other: &&(&[u8], FieldAt)| {
        other.1.number < 32 && def.excludes >> other.1.number & 1 == 1
    };
    let mut parts: Vec<&[u8]> = all
        .get(..=i)?
        .iter()
        .rev()
        .filter(rivals)
        .take_while(|(_, other)| other.number == field.number)
        .map(|&(buf, other)| other.content(buf))
        .collect();
    parts.reverse();
    Some(parts)
}
