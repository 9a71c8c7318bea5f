//! Which field of which table is kept where: the columns of the index.

use crate::schema::{EVENT, Kind, LINK, RESOURCE, SCOPE, SPAN, Schema};
use crate::{Field, Table, fields};

/// Where a field of a row's message goes when the row is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Skip,
    Text(u8),
    Number(u8),
    Id(u8),
    /// A span's status, which holds a text and a number.
    Status,
}

/// What the index keeps of each row of a table.
#[derive(Debug)]
pub(crate) struct Layout {
    pub schema: &'static Schema,
    /// The slot of each field of the message, by number.
    pub slots: [Slot; 17],
    pub texts: usize,
    pub numbers: usize,
    pub ids: usize,
    /// The number of the field that holds the attributes.
    pub attributes: u32,
    /// The number of the field that the row is in its owner's message; for a resource and a
    /// scope, of its message in the wrapper.
    pub number: u32,
}

/// The slot of a span's status message.
pub(crate) const STATUS_MESSAGE: u8 = 2;
/// The slot of a span's status code.
pub(crate) const STATUS_CODE: u8 = 7;

use Slot::{Id, Number, Skip, Status, Text};

static RESOURCES: Layout = layout(&RESOURCE, &[(2, Number(0))], 1, 1);
static SCOPES: Layout = layout(&SCOPE, &[(1, Text(0)), (2, Text(1)), (4, Number(0))], 3, 1);
static SPANS: Layout = layout(
    &SPAN,
    &[
        (1, Id(0)),
        (2, Id(1)),
        (3, Text(0)),
        (4, Id(2)),
        (5, Text(1)),
        (6, Number(0)),
        (7, Number(1)),
        (8, Number(2)),
        (10, Number(3)),
        (12, Number(4)),
        (14, Number(5)),
        (15, Status),
        (16, Number(6)),
    ],
    9,
    2,
);
static EVENTS: Layout = layout(&EVENT, &[(1, Number(0)), (2, Text(0)), (4, Number(1))], 3, 11);
static LINKS: Layout = layout(&LINK, &[(1, Id(0)), (2, Id(1)), (3, Text(0)), (5, Number(0)), (6, Number(1))], 4, 13);

#[expect(clippy::indexing_slicing, reason = "runs at compile time, where a wrong index is a compile error")]
const fn layout(schema: &'static Schema, defs: &[(usize, Slot)], attributes: u32, number: u32) -> Layout {
    let mut layout = Layout { schema, slots: [Skip; 17], texts: 0, numbers: 0, ids: 0, attributes, number };
    let mut i = 0;
    while i < defs.len() {
        let (field, slot) = defs[i];
        layout.slots[field] = slot;
        match slot {
            Text(_) => layout.texts += 1,
            Number(_) => layout.numbers += 1,
            Id(_) => layout.ids += 1,
            Status => {
                layout.texts += 1;
                layout.numbers += 1;
            }
            Skip => {}
        }
        i += 1;
    }
    layout
}

/// A column that [`Field`] numbers name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnAt {
    /// A slot, and the bits of the fields to write when it changes.
    Text(usize, u64),
    Number(usize, u64, Width),
    SchemaUrl,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Int32,
    Uint32,
    Fixed32,
    Fixed64,
}

impl Table {
    pub(crate) fn layout(self) -> &'static Layout {
        match self {
            Self::Resources => &RESOURCES,
            Self::Scopes => &SCOPES,
            Self::Spans => &SPANS,
            Self::Events => &EVENTS,
            Self::Links => &LINKS,
        }
    }

    /// Finds the column of a field; none for ids, attributes and what does not exist.
    pub(crate) fn column(self, field: Field) -> Option<ColumnAt> {
        match (self, field) {
            (Self::Resources | Self::Scopes, fields::SCHEMA_URL) => {
                return Some(ColumnAt::SchemaUrl);
            }
            (Self::Spans, fields::span::STATUS_MESSAGE) => {
                let bits = 1 << 15 | crate::index::STATUS_MESSAGE_CHANGED;
                return Some(ColumnAt::Text(STATUS_MESSAGE.into(), bits));
            }
            (Self::Spans, fields::span::STATUS_CODE) => {
                let bits = 1 << 15 | crate::index::STATUS_CODE_CHANGED;
                return Some(ColumnAt::Number(STATUS_CODE.into(), bits, Width::Int32));
            }
            _ => {}
        }
        let layout = self.layout();
        match *layout.slots.get(field as usize)? {
            Text(slot) => Some(ColumnAt::Text(slot.into(), 1 << field)),
            Number(slot) => {
                let kind = match layout.schema.field(field).kind {
                    Kind::Enum(_) => Width::Int32,
                    Kind::Fixed32 => Width::Fixed32,
                    Kind::Fixed64 => Width::Fixed64,
                    _ => Width::Uint32,
                };
                Some(ColumnAt::Number(slot.into(), 1 << field, kind))
            }
            Id(_) | Skip | Status => None,
        }
    }
}
