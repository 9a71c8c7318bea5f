//! One attribute: where its key and value are.

use crate::store::{Loc, Store};
use crate::wire::{LEN, fields, varint};

/// Bits of [`Entry::changed`]: those of the `KeyValue`'s fields, and that the entry is gone.
pub(crate) const KEY_CHANGED: u8 = 1 << 1;
pub(crate) const VALUE_CHANGED: u8 = 1 << 2;
pub(crate) const REMOVED: u8 = 1 << 7;
/// The entry is not on the sender's wire: an edit put it at the end of its row.
pub(crate) const ADDED: u8 = 1 << 3;

/// One attribute of one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub key: Loc,
    /// A number, or a packed [`Loc`]; see [`is_text`].
    pub value: u64,
    /// The `KeyValue` with its key and length, as it was before the changes.
    pub tlv: Loc,
    /// The `AnyValue`'s field number, 0 without a value.
    pub kind: u8,
    pub changed: u8,
    /// The [`mark`] of the key.
    pub mark: u8,
}

/// A byte made of a key: where it is another, the key is. Keys that come together often have one length or one
/// beginning; their last letters and their length together tell most of them apart.
#[inline]
pub(crate) fn mark(key: &[u8]) -> u8 {
    const FACTOR: u32 = 0x9e37_79b1;
    let last = key.last_chunk().map_or(0, |last| u32::from_le_bytes(*last));
    ((last ^ key.len() as u32).wrapping_mul(FACTOR) >> 24) as u8
}

impl Entry {
    #[inline]
    pub fn is(&self, store: &Store, key: &[u8]) -> bool {
        self.changed & REMOVED == 0 && store.has(self.key, key)
    }

    pub fn text(&self) -> Loc {
        Loc::unpack(self.value)
    }
}

/// Whether values of an `AnyValue` member are bytes, not numbers.
pub(crate) fn is_text(kind: u8) -> bool {
    matches!(kind, 1 | 5 | 6 | 7)
}

/// The key and value of a valid `KeyValue`.
#[inline]
pub(crate) fn read_entry(key_value: &[u8], body: Loc) -> Entry {
    plain_entry(key_value, body).unwrap_or_else(|| any_entry(key_value, body))
}

/// Without key and value. The mark is that of no letters.
pub(crate) const EMPTY: Entry = Entry { key: Loc::NONE, value: 0, tlv: Loc::NONE, kind: 0, changed: 0, mark: 0 };

/// The short way for a key, then a scalar, with every length one byte; nearly all are so.
#[expect(clippy::inline_always, reason = "a call an attribute, with its answer in memory, costs a third more")]
#[inline(always)]
pub(crate) fn plain_entry(key_value: &[u8], body: Loc) -> Option<Entry> {
    let [0x0A, key_len @ 0..0x80, rest @ ..] = key_value else {
        return None;
    };
    let key_len = usize::from(*key_len);
    let (key, rest) = rest.split_at_checked(key_len)?;
    let [0x12, value_len @ 0..0x80, value @ ..] = rest else {
        return None;
    };
    if value.len() != usize::from(*value_len) {
        return None;
    }
    let (kind, value) = match value {
        [0x0A, len @ 0..0x80, text @ ..] if text.len() == usize::from(*len) => {
            (1, body.part(key_len + 6, text.len()).pack())
        }
        [0x10, byte @ 0..0x80] => (2, u64::from(*byte != 0)),
        [0x18, number @ ..] => match varint(number, 0) {
            Some((value, end)) if end == number.len() => (3, value),
            _ => return None,
        },
        [0x21, bits @ ..] => (4, u64::from_le_bytes(bits.try_into().ok()?)),
        _ => return None,
    };
    Some(Entry { key: body.part(2, key_len), value, kind, mark: mark(key), ..EMPTY })
}

/// Any `KeyValue` that is regular.
#[cold]
fn any_entry(key_value: &[u8], body: Loc) -> Entry {
    let mut entry = EMPTY;
    for field in fields(key_value) {
        let content = body.part(field.body, field.len());
        if field.is(1) {
            entry.key = content;
            entry.mark = mark(field.content(key_value));
        } else if field.is(2) {
            (entry.kind, entry.value) = any_value(field.content(key_value), content);
        }
    }
    entry
}

/// The member of an `AnyValue` and its value.
fn any_value(message: &[u8], body: Loc) -> (u8, u64) {
    let mut found = (0, 0);
    for field in fields(message) {
        match (field.number, field.wire_type) {
            (kind @ (1 | 5 | 6 | 7), LEN) => {
                found = (kind as u8, body.part(field.body, field.len()).pack());
            }
            (2, 0) => found = (2, u64::from(field.value != 0)),
            (3, 0) => found = (3, field.value),
            (4, 1) => found = (4, field.value),
            (8, 0) => found = (8, i64::from(field.value as i32) as u64),
            _ => {}
        }
    }
    found
}
