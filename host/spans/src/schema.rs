//! The messages of an OTLP trace request: which fields they have, and what those hold.
//!
//! The tables follow opentelemetry-proto 1.x as `prost` generates it, including the members that
//! only profiles use, so that the walk's verdict is `prost`'s.

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A number that OTLP does not know.
    Unknown,
    Bool,
    Int32,
    Int64,
    Uint32,
    /// An enum, with its names by number.
    Enum(&'static [&'static str]),
    Fixed32,
    Fixed64,
    Double,
    String,
    Bytes,
    /// An id of so many bytes.
    Id(usize),
    /// An id of so many bytes, or none.
    OptionalId(usize),
    Message(&'static Schema),
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldDef {
    pub kind: Kind,
    /// Bits of the fields of which at most one may occur together with this one: its own, or all
    /// members of its oneof; none if it is repeated.
    pub excludes: u32,
    /// The name in OTLP/JSON.
    pub name: &'static str,
}

impl FieldDef {
    pub const fn is_repeated(&self) -> bool {
        self.excludes == 0
    }
}

/// A message: its fields by number, and the ids without which it is refused.
#[derive(Debug)]
pub(crate) struct Schema {
    pub fields: [FieldDef; 17],
    /// Bits of the fields that must occur.
    pub required: u32,
    /// A row of a table: a resource, a scope or a span.
    pub is_row: bool,
}

impl Schema {
    #[inline]
    pub fn field(&self, number: u32) -> &FieldDef {
        self.fields.get(number as usize).unwrap_or(&UNKNOWN)
    }

    /// The known fields in order of their numbers.
    pub fn known(&self) -> impl Iterator<Item = (u32, &FieldDef)> {
        (0u32..).zip(&self.fields).filter(|(_, field)| !matches!(field.kind, Kind::Unknown))
    }
}

static UNKNOWN: FieldDef = FieldDef { kind: Kind::Unknown, excludes: 0, name: "" };

/// A field in the tables below.
struct Def(u32, &'static str, Kind, Label);

#[derive(Clone, Copy)]
enum Label {
    One,
    Many,
    Member,
}
use Kind::{Bool, Bytes, Double, Enum, Fixed32, Fixed64, Id, Int32, Int64, Message, OptionalId, String, Uint32};
use Label::{Many, Member, One};

#[expect(clippy::indexing_slicing, reason = "runs at compile time, where a wrong index is a compile error")]
const fn schema(defs: &[Def], required: u32, is_row: bool) -> Schema {
    let mut fields = [FieldDef { kind: Kind::Unknown, excludes: 0, name: "" }; 17];
    let mut members = 0;
    let mut i = 0;
    while i < defs.len() {
        if matches!(defs[i].3, Member) {
            members |= 1 << defs[i].0;
        }
        i += 1;
    }
    i = 0;
    while i < defs.len() {
        let Def(number, name, kind, label) = &defs[i];
        fields[*number as usize] = FieldDef {
            kind: *kind,
            excludes: match label {
                One => 1 << *number,
                Many => 0,
                Member => members,
            },
            name,
        };
        i += 1;
    }
    Schema { fields, required, is_row }
}

pub(crate) static REQUEST: Schema = schema(&[Def(1, "resourceSpans", Message(&RESOURCE_SPANS), Many)], 0, false);

pub(crate) static RESOURCE_SPANS: Schema = schema(
    &[
        Def(1, "resource", Message(&RESOURCE), One),
        Def(2, "scopeSpans", Message(&SCOPE_SPANS), Many),
        Def(3, "schemaUrl", String, One),
    ],
    0,
    false,
);

pub(crate) static RESOURCE: Schema = schema(
    &[
        Def(1, "attributes", Message(&KEY_VALUE), Many),
        Def(2, "droppedAttributesCount", Uint32, One),
        Def(3, "entityRefs", Message(&ENTITY_REF), Many),
    ],
    0,
    true,
);

pub(crate) static ENTITY_REF: Schema = schema(
    &[
        Def(1, "schemaUrl", String, One),
        Def(2, "type", String, One),
        Def(3, "idKeys", String, Many),
        Def(4, "descriptionKeys", String, Many),
    ],
    0,
    false,
);

pub(crate) static SCOPE_SPANS: Schema = schema(
    &[Def(1, "scope", Message(&SCOPE), One), Def(2, "spans", Message(&SPAN), Many), Def(3, "schemaUrl", String, One)],
    0,
    false,
);

pub(crate) static SCOPE: Schema = schema(
    &[
        Def(1, "name", String, One),
        Def(2, "version", String, One),
        Def(3, "attributes", Message(&KEY_VALUE), Many),
        Def(4, "droppedAttributesCount", Uint32, One),
    ],
    0,
    true,
);

static SPAN_KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

static STATUS_CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

pub(crate) static SPAN: Schema = schema(
    &[
        Def(1, "traceId", Id(16), One),
        Def(2, "spanId", Id(8), One),
        Def(3, "traceState", String, One),
        Def(4, "parentSpanId", OptionalId(8), One),
        Def(5, "name", String, One),
        Def(6, "kind", Enum(&SPAN_KINDS), One),
        Def(7, "startTimeUnixNano", Fixed64, One),
        Def(8, "endTimeUnixNano", Fixed64, One),
        Def(9, "attributes", Message(&KEY_VALUE), Many),
        Def(10, "droppedAttributesCount", Uint32, One),
        Def(11, "events", Message(&EVENT), Many),
        Def(12, "droppedEventsCount", Uint32, One),
        Def(13, "links", Message(&LINK), Many),
        Def(14, "droppedLinksCount", Uint32, One),
        Def(15, "status", Message(&STATUS), One),
        Def(16, "flags", Fixed32, One),
    ],
    1 << 1 | 1 << 2,
    true,
);

pub(crate) static EVENT: Schema = schema(
    &[
        Def(1, "timeUnixNano", Fixed64, One),
        Def(2, "name", String, One),
        Def(3, "attributes", Message(&KEY_VALUE), Many),
        Def(4, "droppedAttributesCount", Uint32, One),
    ],
    0,
    false,
);

pub(crate) static LINK: Schema = schema(
    &[
        Def(1, "traceId", Id(16), One),
        Def(2, "spanId", Id(8), One),
        Def(3, "traceState", String, One),
        Def(4, "attributes", Message(&KEY_VALUE), Many),
        Def(5, "droppedAttributesCount", Uint32, One),
        Def(6, "flags", Fixed32, One),
    ],
    1 << 1 | 1 << 2,
    false,
);

static STATUS: Schema = schema(&[Def(2, "message", String, One), Def(3, "code", Enum(&STATUS_CODES), One)], 0, false);

pub(crate) static KEY_VALUE: Schema = schema(
    &[Def(1, "key", String, One), Def(2, "value", Message(&ANY_VALUE), One), Def(3, "keyStrindex", Int32, One)],
    0,
    false,
);

pub(crate) static ANY_VALUE: Schema = schema(
    &[
        Def(1, "stringValue", String, Member),
        Def(2, "boolValue", Bool, Member),
        Def(3, "intValue", Int64, Member),
        Def(4, "doubleValue", Double, Member),
        Def(5, "arrayValue", Message(&ARRAY_VALUE), Member),
        Def(6, "kvlistValue", Message(&KEY_VALUE_LIST), Member),
        Def(7, "bytesValue", Bytes, Member),
        Def(8, "stringValueStrindex", Int32, Member),
    ],
    0,
    false,
);

pub(crate) static ARRAY_VALUE: Schema = schema(&[Def(1, "values", Message(&ANY_VALUE), Many)], 0, false);

pub(crate) static KEY_VALUE_LIST: Schema = schema(&[Def(1, "values", Message(&KEY_VALUE), Many)], 0, false);
