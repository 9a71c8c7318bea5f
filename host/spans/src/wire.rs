//! Protobuf's primitives: reading varints and fields, writing keys, varints and frames.
//!
//! Every reader answers `None` (or ends) where the bytes are not well formed, so that even a
//! batch wrapped with a wrong verdict cannot make this crate panic.

/// A length-delimited field.
pub(crate) const LEN: u8 = 2;

/// The largest input that is looked at, in bytes: positions keep one bit for themselves, and
/// what edits add must fit as well.
pub(crate) const MAX_BYTES: usize = 1 << 30;

/// Nesting that `prost` allows, counted as it counts.
pub(crate) const MAX_DEPTH: u32 = 100;

/// Reads a varint at `at`; answers it and the position behind it.
#[inline]
pub(crate) fn varint(buf: &[u8], at: usize) -> Option<(u64, usize)> {
    let byte = *buf.get(at)?;
    if byte < 0x80 {
        return Some((u64::from(byte), at + 1));
    }
    long_varint(buf, at, byte)
}

fn long_varint(buf: &[u8], at: usize, first: u8) -> Option<(u64, usize)> {
    let mut value = u64::from(first & 0x7F);
    for i in 1..10 {
        let byte = *buf.get(at + i)?;
        value |= u64::from(byte & 0x7F) << (7 * i);
        if byte < 0x80 {
            // The tenth byte has room for one bit only.
            return (i < 9 || byte < 2).then_some((value, at + i + 1));
        }
    }
    None
}

/// Reads eight bytes, little endian.
#[inline]
pub(crate) fn fixed64(buf: &[u8], at: usize) -> Option<u64> {
    let bytes = buf.get(at..at + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Reads four bytes, little endian.
#[inline]
pub(crate) fn fixed32(buf: &[u8], at: usize) -> Option<u32> {
    let bytes = buf.get(at..at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// One field of a message, as positions in the buffer that [`fields`] was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldAt {
    pub number: u32,
    pub wire_type: u8,
    /// Where its key begins.
    pub start: usize,
    /// Where its content begins: behind the key, and behind the length if it has one.
    pub body: usize,
    /// Where the next field begins.
    pub end: usize,
    /// The value of a varint or fixed field; 0 for others.
    pub value: u64,
}

impl FieldAt {
    pub fn len(self) -> usize {
        self.end - self.body
    }

    /// Whether it is the length-delimited field `number`.
    #[inline]
    pub fn is(self, number: u32) -> bool {
        self.number == number && self.wire_type == LEN
    }

    /// The content, out of the buffer it was read from.
    pub fn content(self, buf: &[u8]) -> &[u8] {
        buf.get(self.body..self.end).unwrap_or_default()
    }

    /// Key and content, out of the buffer it was read from.
    pub fn whole(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start..self.end).unwrap_or_default()
    }
}

/// The fields of a message in order; ends early where the bytes are not well formed.
#[inline]
pub(crate) fn fields(buf: &[u8]) -> Fields<'_> {
    Fields { buf, at: 0 }
}

/// See [`fields`].
pub(crate) struct Fields<'a> {
    buf: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    /// Whether every byte was read; false after an early end.
    pub fn is_done(&self) -> bool {
        self.at == self.buf.len()
    }

    /// How far reading got.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next field if its key is this one byte and its length is one byte: a short way through
    /// fields that follow one another, as attributes do. Answers where it begins, where its content
    /// begins, and where it ends.
    #[inline]
    pub fn next_short(&mut self, key: u8) -> Option<(usize, usize, usize)> {
        let start = self.at;
        let [first, len @ 0..0x80, ..] = self.buf.get(start..)? else {
            return None;
        };
        let end = start + 2 + usize::from(*len);
        if *first != key || end > self.buf.len() {
            return None;
        }
        self.at = end;
        Some((start, start + 2, end))
    }
}

impl Iterator for Fields<'_> {
    type Item = FieldAt;

    #[expect(clippy::inline_always, reason = "every pass over the wire is this loop; a call a field doubles its cost")]
    #[inline(always)]
    fn next(&mut self) -> Option<FieldAt> {
        let start = self.at;
        let (key, body) = varint(self.buf, start)?;
        let number = (key >> 3) as u32;
        let wire_type = (key & 7) as u8;
        let field = |body, end, value| FieldAt { number, wire_type, start, body, end, value };
        let found = match wire_type {
            LEN => {
                let (len, body) = varint(self.buf, body)?;
                let end = body.checked_add(usize::try_from(len).ok()?)?;
                field(body, end, 0)
            }
            0 => {
                let (value, end) = varint(self.buf, body)?;
                field(body, end, value)
            }
            1 => field(body, body + 8, fixed64(self.buf, body)?),
            5 => field(body, body + 4, u64::from(fixed32(self.buf, body)?)),
            3 => field(body, skip_group(self.buf, body, number, MAX_DEPTH)?, 0),
            _ => return None,
        };
        if found.end > self.buf.len() {
            return None;
        }
        self.at = found.end;
        Some(found)
    }
}

/// Finds the end of a group whose content begins at `at`; `depth` is what `prost` would have
/// left for the field that holds the group.
pub(crate) fn skip_group(buf: &[u8], mut at: usize, number: u32, depth: u32) -> Option<usize> {
    loop {
        let (key, body) = varint(buf, at)?;
        let inner = u32::try_from(key).ok()? >> 3;
        if inner == 0 {
            return None;
        }
        if key & 7 == 4 {
            return (inner == number).then_some(body);
        }
        at = skip_value(buf, body, (key & 7) as u8, inner, depth.checked_sub(1)?)?;
    }
}

/// Finds the end of an unknown field whose key has been read, by `prost`'s rules.
pub(crate) fn skip_value(buf: &[u8], at: usize, wire_type: u8, number: u32, depth: u32) -> Option<usize> {
    if depth == 0 {
        return None;
    }
    let end = match wire_type {
        0 => varint(buf, at)?.1,
        1 => at + 8,
        5 => at + 4,
        LEN => {
            let (len, body) = varint(buf, at)?;
            body.checked_add(usize::try_from(len).ok()?)?
        }
        3 => skip_group(buf, at, number, depth)?,
        _ => return None,
    };
    (end <= buf.len()).then_some(end)
}

/// How many bytes a varint takes.
pub(crate) fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Writes a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a field's key.
pub(crate) fn put_key(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

/// Writes a length-delimited field.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_key(out, number, LEN);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a length-delimited field whose content `write` appends. `guess` is about how long the
/// content will be: room for that length is left, and the content moved if the guess was wrong.
pub(crate) fn put_frame(out: &mut Vec<u8>, number: u32, guess: usize, write: impl FnOnce(&mut Vec<u8>)) {
    put_key(out, number, LEN);
    let frame = open_frame(out, guess);
    write(out);
    close_frame(out, frame);
}

/// An open length-delimited field: where its length is, and where its content begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    length_at: usize,
    body: usize,
}

/// Leaves room for the length of a content of about `guess` bytes; the key is written already.
pub(crate) fn open_frame(out: &mut Vec<u8>, guess: usize) -> Frame {
    let length_at = out.len();
    out.resize(length_at + varint_len(guess as u64), 0);
    Frame { length_at, body: out.len() }
}

/// Writes the length of the content that was appended since [`open_frame`].
pub(crate) fn close_frame(out: &mut Vec<u8>, frame: Frame) {
    let length = out.len() - frame.body;
    let room = frame.body - frame.length_at;
    let needed = varint_len(length as u64);
    if needed > room {
        let by = needed - room;
        out.resize(out.len() + by, 0);
        out.copy_within(frame.body..frame.body + length, frame.body + by);
    } else if needed < room {
        let by = room - needed;
        out.copy_within(frame.body.., frame.body - by);
        out.truncate(out.len() - by);
    }
    let mut value = length as u64;
    for byte in out.iter_mut().skip(frame.length_at).take(needed) {
        *byte = value as u8 & 0x7F;
        value >>= 7;
        if value > 0 {
            *byte |= 0x80;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn varints_are_protobufs() {
        // The example of the encoding guide.
        assert_eq!(varint(&[0x96, 0x01], 0), Some((150, 2)));
        assert_eq!(varint(&[0x80, 0x00], 0), Some((0, 2)));
        let max = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        assert_eq!(varint(&max, 0), Some((u64::MAX, 10)));
        let mut over = max;
        over[9] = 0x02;
        assert_eq!(varint(&over, 0), None);
        assert_eq!(varint(&[0x80; 11], 0), None);
        assert_eq!(varint(&[0x80], 0), None);
    }

    #[test]
    fn frames_get_the_shortest_length_whatever_the_guess() {
        for guess in [0, 127, 128, 20_000, 3_000_000] {
            for length in [0, 1, 127, 128, 16_383, 16_384] {
                let mut out = vec![7];
                put_frame(&mut out, 2, guess, |out| out.resize(out.len() + length, 9));
                let mut expected = vec![7];
                put_bytes(&mut expected, 2, &vec![9; length]);
                assert!(out == expected, "guess {guess}, length {length}");
            }
        }
    }
}
