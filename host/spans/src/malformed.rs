//! Why bytes are not an `ExportTraceServiceRequest`.

use crate::schema::{Kind, REQUEST, Schema};
use crate::wire::fields;

/// What is wrong with the input, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}, in {path}")]
pub struct Malformed {
    /// Byte offset into the input.
    pub offset: usize,
    /// The message it is in, such as `resourceSpans[0].scopeSpans[1].spans[7]`; `request` for
    /// the outermost.
    pub path: String,
    /// What is wrong.
    pub what: String,
}

/// What is wrong, before anybody asked where that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum What {
    #[error("the input is longer than 1 GiB")]
    TooLong,
    #[error("no valid varint")]
    Varint,
    #[error("no valid field key")]
    Key,
    #[error("a field that reaches beyond its message")]
    Truncated,
    #[error("a field with the wrong wire type")]
    WireType,
    #[error("an unknown field that is not well formed")]
    Unknown,
    #[error("messages nested more than 100 deep")]
    TooDeep,
    #[error("text that is not UTF-8")]
    Utf8,
    #[error("an id that does not have {0} bytes")]
    IdLength(usize),
    #[error("a trace id or span id is missing")]
    MissingId,
}

/// Something wrong at a byte offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    offset: usize,
    what: What,
}

impl Fault {
    pub fn new(offset: usize, what: What) -> Self {
        Self { offset, what }
    }
}

impl Malformed {
    /// Puts the place of a fault into words. Walks the input once more, as far as the fault.
    pub(crate) fn locate(wire: &[u8], fault: Fault) -> Self {
        let mut path = String::new();
        let mut schema = &REQUEST;
        let mut message = wire;
        let mut base = 0;
        while let Some(inner) = child_at(schema, message, fault.offset.saturating_sub(base)) {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&inner.label);
            base += inner.at;
            schema = inner.schema;
            message = inner.content;
        }
        if path.is_empty() {
            path.push_str("request");
        }
        Self { offset: fault.offset, path, what: fault.what.to_string() }
    }
}

struct Child<'a> {
    label: String,
    at: usize,
    schema: &'static Schema,
    content: &'a [u8],
}

/// The message within `message` whose content covers the offset, if there is one.
fn child_at<'a>(schema: &Schema, message: &'a [u8], offset: usize) -> Option<Child<'a>> {
    let field = fields(message).find(|field| field.end >= offset && field.start < offset)?;
    let def = schema.field(field.number);
    let Kind::Message(inner) = def.kind else {
        return None;
    };
    if field.wire_type != crate::wire::LEN || offset < field.body {
        return None;
    }
    let same = |other: &crate::wire::FieldAt| other.is(field.number);
    let nth = fields(message).take_while(|other| other.start < field.start).filter(same).count();
    let label = if def.is_repeated() { format!("{}[{nth}]", def.name) } else { def.name.to_owned() };
    Some(Child { label, at: field.body, schema: inner, content: field.content(message) })
}
