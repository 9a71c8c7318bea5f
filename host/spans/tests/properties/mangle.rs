//! Wire tricks that do not make a request invalid: unknown fields, groups, over-long varints,
//! fields in any order, singular fields that occur again.

use crate::rng::Rng;

/// The messages of a request, as the mangler needs to know them: which field is which message,
/// and the numbers of the known fields. Written down here on its own, from the proto files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    Request,
    ResourceSpans,
    Resource,
    EntityRef,
    ScopeSpans,
    Scope,
    Span,
    Event,
    Link,
    Status,
    KeyValue,
    AnyValue,
    Array,
    KvList,
}

use Message::*;

impl Message {
    pub fn child(self, field: u32) -> Option<Self> {
        Some(match (self, field) {
            (Request, 1) => ResourceSpans,
            (ResourceSpans, 1) => Resource,
            (ResourceSpans, 2) => ScopeSpans,
            (Resource | KvList, 1) | (Scope | Event, 3) | (Span, 9) | (Link, 4) => KeyValue,
            (Resource, 3) => EntityRef,
            (ScopeSpans, 1) => Scope,
            (ScopeSpans, 2) => Span,
            (Span, 11) => Event,
            (Span, 13) => Link,
            (Span, 15) => Status,
            (KeyValue, 2) | (Array, 1) => AnyValue,
            (AnyValue, 5) => Array,
            (AnyValue, 6) => KvList,
            _ => return None,
        })
    }

    /// Whether it has a field of this number.
    pub fn knows(self, field: u32) -> bool {
        let known = match self {
            Request | Array | KvList => 1..=1,
            // Its first one was a code once.
            Status => 2..=3,
            ResourceSpans | Resource | ScopeSpans | KeyValue => 1..=3,
            EntityRef | Scope | Event => 1..=4,
            Link => 1..=6,
            AnyValue => 1..=8,
            Span => 1..=16,
        };
        known.contains(&field)
    }

    /// A number that it does not know: its lowest, a low one that others may know, or one above all. `ResourceSpans`
    /// had a list at 1000 once.
    fn unknown(self, rng: &mut Rng) -> u32 {
        let low: Vec<u32> = (1..=20).filter(|&number| !self.knows(number)).collect();
        match rng.below(3) {
            0 => low[0],
            1 => *rng.pick(&low),
            _ => *rng.pick(&[17, 18, 100, 1000, 1003, 2000, 536_870_911]),
        }
    }
}

/// What may be done, each once in so many fields; 0 never.
#[derive(Clone, Copy, Debug)]
pub struct Tricks {
    pub unknown: usize,
    pub repeat: usize,
    pub shuffle: usize,
    pub overlong: usize,
}

impl Tricks {
    pub fn random(rng: &mut Rng) -> Self {
        let often = |rng: &mut Rng| *rng.pick(&[0, 0, 4, 30]);
        Self { unknown: often(rng), repeat: often(rng), shuffle: often(rng), overlong: often(rng) }
    }
}

/// A field as key and value, the value without its length.
#[derive(Clone)]
struct Tlv {
    number: u32,
    wire: u8,
    value: Vec<u8>,
}

pub fn varint(buf: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = buf[*at];
        *at += 1;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn put_varint(out: &mut Vec<u8>, mut value: u64, pad: usize) {
    loop {
        if value < 0x80 {
            break;
        }
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    if pad == 0 {
        out.push(value as u8);
        return;
    }
    out.push(value as u8 | 0x80);
    for _ in 1..pad {
        out.push(0x80);
    }
    out.push(0);
}

/// Reads what `prost` wrote: no groups.
fn parse(buf: &[u8]) -> Vec<Tlv> {
    let mut at = 0;
    let mut all = Vec::new();
    while at < buf.len() {
        let key = varint(buf, &mut at);
        let wire = (key & 7) as u8;
        let start = at;
        let value = match wire {
            0 => {
                varint(buf, &mut at);
                buf[start..at].to_vec()
            }
            2 => {
                let len = varint(buf, &mut at) as usize;
                at += len;
                buf[at - len..at].to_vec()
            }
            _ => {
                at += if wire == 1 { 8 } else { 4 };
                buf[start..at].to_vec()
            }
        };
        let number = (key >> 3) as u32;
        all.push(Tlv { number, wire, value });
    }
    all
}

fn write(rng: &mut Rng, overlong: usize, fields: &[Tlv], out: &mut Vec<u8>) {
    let pad = |rng: &mut Rng| {
        let padded = overlong > 0 && rng.one_in(overlong);
        if padded { 1 + rng.below(3) } else { 0 }
    };
    for field in fields {
        let n = pad(rng);
        put_varint(out, u64::from(field.number) << 3 | u64::from(field.wire), n);
        if field.wire == 2 {
            let n = pad(rng);
            put_varint(out, field.value.len() as u64, n);
        }
        out.extend_from_slice(&field.value);
    }
}

fn unknown(rng: &mut Rng, number: u32, depth: usize) -> Tlv {
    let mut value = Vec::new();
    let wire = *rng.pick(&[0, 1, 2, 3, 5]);
    match wire {
        0 => put_varint(&mut value, rng.number(), 0),
        1 => value = rng.bytes(8),
        5 => value = rng.bytes(4),
        2 => {
            let n = rng.below(200);
            value = rng.bytes(n);
        }
        _ => {
            if depth < 4 {
                for _ in 0..rng.below(3) {
                    let inner = 1 + rng.below(40) as u32;
                    let field = unknown(rng, inner, depth + 1);
                    write(rng, 0, &[field], &mut value);
                }
            }
            put_varint(&mut value, u64::from(number) << 3 | 4, 0);
        }
    }
    Tlv { number, wire, value }
}

/// The same kind of message with tricks; valid if the message is.
pub fn mangle(rng: &mut Rng, tricks: Tricks, message: Message, buf: &[u8]) -> Vec<u8> {
    let happens = |rng: &mut Rng, often: usize| often > 0 && rng.one_in(often);
    let mut fields = Vec::new();
    for mut field in parse(buf) {
        let child = message.child(field.number);
        let plain = field.value.clone();
        if let Some(child) = child {
            field.value = mangle(rng, tricks, child, &field.value);
        }
        if field.wire == 0 && happens(rng, tricks.overlong) {
            // More bits than a 32-bit field or a bool has.
            let wide = varint(&field.value, &mut 0) | 1 << (32 + rng.below(32));
            field.value.clear();
            put_varint(&mut field.value, wide, 0);
        }
        if happens(rng, tricks.unknown) {
            let number = message.unknown(rng);
            fields.push(unknown(rng, number, 0));
        }
        if happens(rng, tricks.repeat) && field.value.len() < 10_000 {
            let mut again = field.clone();
            // Another value where any will do; otherwise the same once more, or its first half.
            if field.wire == 0 && message != AnyValue {
                again.value = vec![rng.below(100) as u8];
            } else if child.is_some_and(|child| child != Link && child != Span) && rng.one_in(2) {
                let half = parse(&plain);
                again.value.clear();
                write(rng, 0, &half[..half.len() / 2], &mut again.value);
            }
            fields.push(again);
        }
        fields.push(field);
    }
    if message == AnyValue && happens(rng, tricks.repeat) {
        let again = match rng.below(4) {
            0 => (1, 2, b"other".to_vec()),
            1 => (3, 0, vec![7]),
            2 => (5, 2, vec![0x0A, 0x02, 0x18, 0x05]),
            _ => (6, 2, vec![0x0A, 0x03, 0x0A, 0x01, b'k']),
        };
        let (number, wire, value) = again;
        let at = rng.below(fields.len() + 1);
        fields.insert(at, Tlv { number, wire, value });
    }
    if happens(rng, tricks.unknown) {
        let number = message.unknown(rng);
        fields.push(unknown(rng, number, 0));
    }
    if happens(rng, tricks.shuffle) {
        for i in (1..fields.len()).rev() {
            fields.swap(i, rng.below(i + 1));
        }
    }
    let mut out = Vec::new();
    write(rng, tricks.overlong, &fields, &mut out);
    out
}
