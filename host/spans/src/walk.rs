//! The validating walk at the door: one pass over the wire, driven by the schema, no positions
//! kept, nothing allocated. Its verdict is `prost`'s on every input, plus a rule for ids: a trace
//! id has 16 bytes, a span id 8, a parent's id 8 or none.

use crate::Malformed;
use crate::malformed::{Fault, What};
use crate::schema::{KEY_VALUE, Kind, REQUEST, SPAN, Schema};
use crate::wire::{LEN, MAX_BYTES, MAX_DEPTH, fields, skip_value, varint};

/// What [`validate`] found out about well-formed input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many spans there are.
    pub spans: u32,
    /// Somewhere a field, or a oneof, of which protobuf lets one occur occurs again.
    pub irregular: bool,
    /// Somewhere there is a field that OTLP does not know.
    pub unknown: bool,
}

/// Checks that `wire` is an `ExportTraceServiceRequest`, and finds out what there is to know
/// before indexing it.
///
/// # Errors
/// Says what is wrong and where. What `prost` would not decode is refused, and so is an id of a
/// wrong length, and input over 1 GiB.
pub fn validate(wire: &[u8]) -> Result<Verdict, Malformed> {
    let mut walk = Walk::default();
    let result = if wire.len() > MAX_BYTES {
        Err(Fault::new(0, What::TooLong))
    } else {
        walk.message(&REQUEST, wire, 0, MAX_DEPTH)
    };
    match result {
        Ok(()) => Ok(walk.verdict),
        Err(fault) => Err(Malformed::locate(wire, fault)),
    }
}

/// Counts the spans of valid input. Only the boundaries of messages are read, about 4 ns a span.
///
/// # Errors
/// Says where the boundaries do not fit; anything else that is wrong goes unnoticed.
pub fn count_spans(wire: &[u8]) -> Result<u32, Malformed> {
    let mut spans = 0;
    let result = count_within(wire, 0, 3, &mut spans);
    result.map(|()| spans).map_err(|fault| Malformed::locate(wire, fault))
}

/// Counts in a message that is `levels` above the content of a span: request 3, scope 1.
fn count_within(message: &[u8], base: usize, levels: u32, spans: &mut u32) -> Result<(), Fault> {
    let child = if levels == 3 { 1 } else { 2 };
    let mut all = fields(message);
    for field in all.by_ref().filter(|field| field.is(child)) {
        if levels == 1 {
            *spans += 1;
        } else {
            count_within(field.content(message), base + field.body, levels - 1, spans)?;
        }
    }
    if all.is_done() { Ok(()) } else { Err(Fault::new(base + all.at(), What::Truncated)) }
}

/// The state of one walk.
#[derive(Default)]
pub(crate) struct Walk {
    pub verdict: Verdict,
}

impl Walk {
    /// Checks the message that is `buf[at..]`; `depth` is how much nesting is left.
    pub fn message(&mut self, schema: &'static Schema, buf: &[u8], mut at: usize, depth: u32) -> Result<(), Fault> {
        let mut seen = 0u32;
        if std::ptr::eq(schema, &raw const SPAN) {
            self.verdict.spans += 1;
            let (len, head) = plain_head(buf.get(at..).unwrap_or_default());
            (at, seen) = (at + len, head);
        }
        while at < buf.len() {
            let start = at;
            let Some((key, body)) = varint(buf, at) else {
                return Err(Fault::new(start, What::Varint));
            };
            let (number, wire_type) = check_key(key, start)?;
            let field = schema.field(number);
            if matches!(field.kind, Kind::Unknown) {
                self.verdict.unknown = true;
                at = skip_value(buf, body, wire_type, number, depth).ok_or(Fault::new(start, What::Unknown))?;
                continue;
            }
            if seen & field.excludes != 0 {
                self.verdict.irregular = true;
            }
            seen |= 1 << number;
            at = self.field(field.kind, buf, (start, body), wire_type, depth)?;
            if depth > 2 && is_attribute(field.kind) {
                at = skip_plain(buf, start, at);
            }
        }
        if seen & schema.required == schema.required { Ok(()) } else { Err(Fault::new(at, What::MissingId)) }
    }

    /// Checks a known field; answers where the next one begins.
    #[inline]
    fn field(
        &mut self,
        kind: Kind,
        buf: &[u8],
        (start, body): (usize, usize),
        wire_type: u8,
        depth: u32,
    ) -> Result<usize, Fault> {
        let (expected, width) = match kind {
            Kind::Fixed64 | Kind::Double => (1, 8),
            Kind::Fixed32 => (5, 4),
            Kind::Bool | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Enum(_) => (0, 0),
            _ => (LEN, 0),
        };
        if wire_type != expected {
            return Err(Fault::new(start, What::WireType));
        }
        if expected == 0 {
            let read = varint(buf, body).ok_or(Fault::new(body, What::Varint))?;
            return Ok(read.1);
        }
        if width > 0 {
            let end = body + width;
            return (end <= buf.len()).then_some(end).ok_or(Fault::new(body, What::Truncated));
        }
        let (len, content) = varint(buf, body).ok_or(Fault::new(body, What::Varint))?;
        let rest = buf.len() - content;
        if len > rest as u64 {
            return Err(Fault::new(body, What::Truncated));
        }
        let end = content + len as usize;
        self.delimited(kind, buf.get(..end).unwrap_or_default(), content, depth)?;
        Ok(end)
    }

    /// Checks the content `buf[at..]` of a length-delimited field.
    #[inline]
    fn delimited(&mut self, kind: Kind, buf: &[u8], at: usize, depth: u32) -> Result<(), Fault> {
        let content = buf.get(at..).unwrap_or_default();
        let len = content.len();
        match kind {
            Kind::Message(schema) => {
                if depth > 2 && is_attribute(kind) && is_plain(content) {
                    return Ok(());
                }
                if depth == 0 {
                    return Err(Fault::new(at, What::TooDeep));
                }
                self.message(schema, buf, at, depth - 1)
            }
            Kind::String if !is_text(content) => Err(Fault::new(at, What::Utf8)),
            Kind::Id(size) if len != size => Err(Fault::new(at, What::IdLength(size))),
            Kind::OptionalId(size) if len != size && len != 0 => Err(Fault::new(at, What::IdLength(size))),
            _ => Ok(()),
        }
    }
}

fn is_attribute(kind: Kind) -> bool {
    matches!(kind, Kind::Message(schema) if std::ptr::eq(schema, &raw const KEY_VALUE))
}

/// Where the next field begins that is not a plain attribute with the same key as the one at
/// `first`: attributes follow one another, mostly.
#[inline]
fn skip_plain(buf: &[u8], first: usize, mut at: usize) -> usize {
    let key = buf.get(first).filter(|&&key| key < 0x80);
    while let Some([field, len @ 0..0x80, rest @ ..]) = buf.get(at..)
        && Some(field) == key
        && let Some(key_value) = rest.get(..usize::from(*len))
        && is_plain(key_value)
    {
        at += 2 + key_value.len();
    }
    at
}

#[inline]
fn check_key(key: u64, at: usize) -> Result<(u32, u8), Fault> {
    let number = (key >> 3) as u32;
    let wire_type = (key & 7) as u8;
    if key > u64::from(u32::MAX) || number == 0 || wire_type > 5 {
        return Err(Fault::new(at, What::Key));
    }
    Ok((number, wire_type))
}

/// UTF-8, with a short way for short ASCII, which nearly all is.
#[inline]
fn is_text(bytes: &[u8]) -> bool {
    is_short_ascii(bytes) || std::str::from_utf8(bytes).is_ok()
}

#[inline]
fn is_short_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let len = bytes.len();
    // Both ends, which overlap in short texts, then what lies between them.
    let all = if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let mut all = both_halves(first) | both_halves(last);
        if len > 32 {
            let between = bytes.get(16..len - 16).unwrap_or_default();
            match (between.first_chunk(), between.last_chunk()) {
                (Some(first), Some(last)) if len <= 64 => all |= both_halves(first) | both_halves(last),
                _ => return all & HIGH == 0 && between.is_ascii(),
            }
        }
        all
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        u64::from_le_bytes(*first) | u64::from_le_bytes(*last)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*first) | u32::from_le_bytes(*last))
    } else {
        u64::from(bytes.iter().fold(0, |all, byte| all | byte))
    };
    all & HIGH == 0
}

#[inline]
fn both_halves(bytes: &[u8; 16]) -> u64 {
    let all = u128::from_le_bytes(*bytes);
    all as u64 | (all >> 64) as u64
}

/// The fields with which spans begin that are written in the order of their numbers, up to the
/// times. Answers how far they go and the bits of those that are there; the first that is not as
/// nearly all are ends them, and goes the long way.
#[inline]
fn plain_head(span: &[u8]) -> (usize, u32) {
    let (mut rest, mut seen) = (span, 0);
    if let [0x0A, 16, tail @ ..] = rest
        && let Some(tail) = tail.get(16..)
    {
        (rest, seen) = (tail, seen | 1 << 1);
    }
    if let [0x12, 8, tail @ ..] = rest
        && let Some(tail) = tail.get(8..)
    {
        (rest, seen) = (tail, seen | 1 << 2);
    }
    if let [0x22, 8, tail @ ..] = rest
        && let Some(tail) = tail.get(8..)
    {
        (rest, seen) = (tail, seen | 1 << 4);
    }
    if let [0x2A, len @ 0..0x80, tail @ ..] = rest
        && let Some((name, tail)) = tail.split_at_checked(usize::from(*len))
        && is_short_ascii(name)
    {
        (rest, seen) = (tail, seen | 1 << 5);
    }
    if let [0x30, 0..0x80, tail @ ..] = rest {
        (rest, seen) = (tail, seen | 1 << 6);
    }
    if let [0x39, tail @ ..] = rest
        && let Some(tail) = tail.get(8..)
    {
        (rest, seen) = (tail, seen | 1 << 7);
    }
    if let [0x41, tail @ ..] = rest
        && let Some(tail) = tail.get(8..)
    {
        (rest, seen) = (tail, seen | 1 << 8);
    }
    (span.len() - rest.len(), seen)
}

/// Whether a `KeyValue` is as nearly all are: an ASCII key, then a scalar value, every length one
/// byte. Such a one is valid, regular and known; any other goes the long way.
#[inline]
fn is_plain(key_value: &[u8]) -> bool {
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
