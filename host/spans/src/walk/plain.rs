//! The short way of the walk: spans and attributes that look as nearly all do. What does not goes the long way,
//! which decides alone what is wrong.

use super::text::is_short_ascii;
use crate::entry::{Entry, is_text};
use crate::wire::{fixed64, varint};

/// The first fields of a span.
#[derive(Default)]
pub(crate) struct Head {
    /// Where they end.
    pub end: usize,
    /// The bits of those that are there.
    pub seen: u32,
    pub trace_id: usize,
    pub span_id: usize,
    pub parent_id: usize,
    pub name: (usize, usize),
    pub kind: u8,
    pub times: [u64; 2],
}

/// The fields with which spans begin that are written in the order of their numbers, up to the
/// times. The first that is not as nearly all are ends them, and goes the long way.
#[inline]
pub(super) fn plain_head(buf: &[u8], at: usize) -> Head {
    let mut head = Head { end: at, ..Head::default() };
    let rest = |head: &Head| buf.get(head.end..).unwrap_or_default();
    if let [0x0A, 16, id @ ..] = rest(&head)
        && id.len() >= 16
    {
        head = Head { trace_id: head.end + 2, end: head.end + 18, seen: 1 << 1, ..head };
    }
    if let [0x12, 8, id @ ..] = rest(&head)
        && id.len() >= 8
    {
        head = Head { span_id: head.end + 2, end: head.end + 10, seen: head.seen | 1 << 2, ..head };
    }
    if let [0x22, 8, id @ ..] = rest(&head)
        && id.len() >= 8
    {
        head = Head { parent_id: head.end + 2, end: head.end + 10, seen: head.seen | 1 << 4, ..head };
    }
    if let [0x2A, len @ 0..0x80, name @ ..] = rest(&head)
        && let Some(name) = name.get(..usize::from(*len))
        && is_short_ascii(name)
    {
        let at = head.end + 2;
        head = Head { name: (at, name.len()), end: at + name.len(), seen: head.seen | 1 << 5, ..head };
    }
    if let [0x30, kind @ 0..0x80, ..] = rest(&head) {
        head = Head { kind: *kind, end: head.end + 2, seen: head.seen | 1 << 6, ..head };
    }
    for (i, key) in [(0, 0x39), (1, 0x41)] {
        if rest(&head).first() == Some(&key)
            && let Some(time) = fixed64(buf, head.end + 1)
            && let Some(place) = head.times.get_mut(i)
        {
            *place = time;
            head = Head { end: head.end + 9, seen: head.seen | 1 << (7 + i), ..head };
        }
    }
    head
}

/// Whether what must be UTF-8 in a plain entry is ASCII.
#[inline]
pub(super) fn is_ascii_entry(key_value: &[u8], entry: &Entry) -> bool {
    // Keys and lengths are below 0x80 here, so that one look tells of both texts.
    let texts = if is_text(entry.kind) { Some(key_value) } else { key_value.get(2..2 + entry.key.len as usize) };
    texts.is_some_and(is_short_ascii)
}

/// Whether a `KeyValue` is as nearly all are: an ASCII key, then a scalar value, every length one
/// byte. Such a one is valid, regular and known; any other goes the long way.
#[inline]
pub(super) fn is_plain(key_value: &[u8]) -> bool {
    let [0x0A, key_len @ 0..0x80, rest @ ..] = key_value else {
        return false;
    };
    let Some((key, rest)) = rest.split_at_checked(usize::from(*key_len)) else {
        return false;
    };
    let [0x12, value_len @ 0..0x80, value @ ..] = rest else {
        return false;
    };
    if value.len() != usize::from(*value_len) {
        return false;
    }
    match value {
        // Keys and lengths are below 0x80 here, so that one look tells of both texts.
        [0x0A, len @ 0..0x80, text @ ..] => text.len() == usize::from(*len) && is_short_ascii(key_value),
        [0x10 | 0x18, number @ ..] => {
            varint(number, 0).is_some_and(|(_, end)| end == number.len()) && is_short_ascii(key)
        }
        [0x21, double @ ..] => double.len() == 8 && is_short_ascii(key),
        _ => false,
    }
}
