//! The validating walk at the door: one pass over the wire, driven by the schema, no positions
//! kept, nothing allocated. Its verdict is `prost`'s on every input, plus a rule for ids: a trace
//! id has 16 bytes, a span id 8, a parent's id 8 or none.

mod plain;
mod text;

use crate::Malformed;
use crate::entry::{EMPTY, Entry, plain_entry, read_entry};
use crate::malformed::{Fault, What};
use crate::schema::{KEY_VALUE, Kind, REQUEST, SPAN, Schema};
use crate::store::Loc;
use crate::wire::{LEN, MAX_BYTES, MAX_DEPTH, fields, skip_value, varint};

pub(crate) use plain::Head;
use plain::{is_ascii_entry, is_plain, plain_head};
use text::is_utf8;

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
    validate_with(wire, &mut [Request::all_of(wire)], ()).map(|(verdict, ())| verdict)
}

/// A request within the bytes that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Where it ends; the next one begins there.
    pub end: usize,
    pub spans: u32,
}

impl Request {
    /// The only one, whose spans are not counted yet.
    pub fn all_of(wire: &[u8]) -> Self {
        Self { end: wire.len(), spans: 0 }
    }
}

/// Checks each of `requests`, which fill `wire`, as [`validate`] does, counts its spans, and shows
/// `recorder` the spans on the way. The verdict is that of all together.
pub(crate) fn validate_with<R: Recorder>(
    wire: &[u8],
    requests: &mut [Request],
    recorder: R,
) -> Result<(Verdict, R), Malformed> {
    let mut walk = Walk { verdict: Verdict::default(), recorder };
    let too_long = (wire.len() > MAX_BYTES).then_some(Fault::new(0, What::TooLong));
    too_long
        .map_or(Ok(()), Err)
        .and_then(|()| walk.requests(wire, requests))
        .map_err(|f| Malformed::locate(wire, f))?;
    Ok((walk.verdict, walk.recorder))
}

/// Is shown what the walk has found valid within spans, in the order of the wire. Positions are
/// those in the whole request.
pub(crate) trait Recorder {
    /// Whether it wants to be shown anything.
    const RECORDS: bool;
    /// The next span has these fields at its beginning.
    fn begin(&mut self, head: &Head);
    /// The span has this attribute, from key to end.
    fn attribute(&mut self, entry: Entry);
    /// The span has this other field.
    fn field(&mut self, buf: &[u8], start: usize, end: usize);
    /// The span has ended.
    fn end(&mut self);
}

impl Recorder for () {
    const RECORDS: bool = false;
    fn begin(&mut self, _: &Head) {}
    fn attribute(&mut self, _: Entry) {}
    fn field(&mut self, _: &[u8], _: usize, _: usize) {}
    fn end(&mut self) {}
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
pub(crate) struct Walk<R = ()> {
    pub verdict: Verdict,
    recorder: R,
}

impl<R: Recorder> Walk<R> {
    fn requests(&mut self, wire: &[u8], requests: &mut [Request]) -> Result<(), Fault> {
        let mut start = 0;
        for request in requests {
            let before = self.verdict.spans;
            self.message(&REQUEST, wire.get(..request.end).unwrap_or_default(), start, MAX_DEPTH)?;
            request.spans = self.verdict.spans - before;
            start = request.end;
        }
        Ok(())
    }

    /// Checks the message that is `buf[at..]`; `depth` is how much nesting is left.
    pub fn message(&mut self, schema: &'static Schema, buf: &[u8], at: usize, depth: u32) -> Result<(), Fault> {
        if !std::ptr::eq(schema, &raw const SPAN) {
            return self.fields::<false>(schema, buf, (at, 0), depth);
        }
        self.verdict.spans += 1;
        let head = plain_head(buf, at);
        self.recorder.begin(&head);
        let at = if depth > 2 { self.plain_attributes::<true>(buf, ATTRIBUTE, head.end) } else { head.end };
        self.fields::<true>(schema, buf, (at, head.seen), depth)?;
        self.recorder.end();
        Ok(())
    }

    /// Checks the fields from `at` on, when those with the bits `seen` have occurred. Those of a
    /// span are shown to the recorder.
    #[inline]
    fn fields<const IS_SPAN: bool>(
        &mut self,
        schema: &'static Schema,
        buf: &[u8],
        (mut at, mut seen): (usize, u32),
        depth: u32,
    ) -> Result<(), Fault> {
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
                if IS_SPAN && R::RECORDS {
                    self.recorder.attribute(entry_at(buf, start, at));
                }
                if let Some(&key @ 0..0x80) = buf.get(start) {
                    at = self.plain_attributes::<IS_SPAN>(buf, key, at);
                }
            } else if IS_SPAN && R::RECORDS {
                self.recorder.field(buf, start, at);
            }
        }
        if seen & schema.required == schema.required { Ok(()) } else { Err(Fault::new(at, What::MissingId)) }
    }

    /// Where the next field begins that is not a plain attribute with this key of one byte:
    /// attributes follow one another, mostly.
    #[inline]
    fn plain_attributes<const IS_SPAN: bool>(&mut self, buf: &[u8], key: u8, mut at: usize) -> usize {
        while let Some([field, len @ 0..0x80, rest @ ..]) = buf.get(at..)
            && *field == key
            && let Some(key_value) = rest.get(..usize::from(*len))
        {
            let end = at + 2 + key_value.len();
            if IS_SPAN && R::RECORDS {
                let Some(entry) = plain_entry(key_value, Loc::new(at + 2, key_value.len())) else { break };
                if !is_ascii_entry(key_value, &entry) {
                    break;
                }
                self.recorder.attribute(Entry { tlv: Loc::new(at, end - at), ..entry });
            } else if !is_plain(key_value) {
                break;
            }
            at = end;
        }
        at
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
                if len == 0 && schema.required == 0 {
                    return Ok(());
                }
                self.message(schema, buf, at, depth - 1)
            }
            Kind::String if !is_utf8(content) => Err(Fault::new(at, What::Utf8)),
            Kind::Id(size) if len != size => Err(Fault::new(at, What::IdLength(size))),
            Kind::OptionalId(size) if len != size && len != 0 => Err(Fault::new(at, What::IdLength(size))),
            _ => Ok(()),
        }
    }
}

fn is_attribute(kind: Kind) -> bool {
    matches!(kind, Kind::Message(schema) if std::ptr::eq(schema, &raw const KEY_VALUE))
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

/// The key of a span's attributes.
const ATTRIBUTE: u8 = 9 << 3 | LEN;

/// The attribute that lies there with its key, once it was found valid.
fn entry_at(buf: &[u8], start: usize, end: usize) -> Entry {
    let whole = buf.get(start..end).unwrap_or_default();
    let tlv = Loc::new(start, end - start);
    fields(whole).next().map_or(EMPTY, |field| {
        let body = tlv.part(field.body, field.len());
        Entry { tlv, ..read_entry(field.content(whole), body) }
    })
}
