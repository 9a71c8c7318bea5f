//! What the validating walk records of spans on its way, so that a request that is going to be
//! looked into is walked once and not three times.

use crate::Table;
use crate::attributes::Attributes;
use crate::entry::Entry;
use crate::index::Row;
use crate::layout::Layout;
use crate::lease::Lease;
use crate::row_fields::{Record, RowFields};
use crate::store::Loc;
use crate::walk::{Head, Recorder};
use crate::wire::{LEN, fields};

/// The fields, attributes, events and links of the spans seen so far.
pub(crate) struct SpanParts {
    /// Whose memory this is.
    index: Lease,
    layout: &'static Layout,
    record: Record,
    fields: RowFields,
    attributes: Attributes,
    events: Vec<Row>,
    links: Vec<Row>,
    /// How many spans have ended.
    spans: u32,
}

/// What a span takes on the wire at least, usually.
const USUAL_BYTES: usize = 256;

impl SpanParts {
    /// Nothing yet, but room for a request of so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut index = Lease::default();
        let (fields, attributes, events, links) = index.lend();
        let layout = Table::Spans.layout();
        Self {
            index,
            layout,
            record: Record::NONE,
            fields: fields.emptied(bytes / USUAL_BYTES, layout),
            attributes: attributes.emptied(bytes),
            events,
            links,
            spans: 0,
        }
    }

    /// An index that knows these.
    pub fn into_index(mut self) -> Lease {
        self.index.know_spans(self.fields, self.attributes, self.events, self.links);
        self.index
    }
}

impl Recorder for SpanParts {
    const RECORDS: bool = true;

    fn begin(&mut self, head: &Head) {
        let id = |bit: u32, at: usize| if head.seen & 1 << bit == 0 { crate::row_fields::NO_ID } else { at as u32 };
        let name = if head.seen & 1 << 5 == 0 { Loc::NONE } else { Loc::new(head.name.0, head.name.1) };
        let [start, end] = head.times;
        self.record = Record {
            texts: [Loc::NONE, name, Loc::NONE],
            numbers: [head.kind.into(), start, end, 0, 0, 0, 0, 0],
            ids: [id(1, head.trace_id), id(2, head.span_id), id(4, head.parent_id)],
        };
    }

    #[inline]
    fn attribute(&mut self, entry: Entry) {
        self.attributes.push(entry);
    }

    #[inline]
    fn field(&mut self, buf: &[u8], start: usize, end: usize) {
        let tlv = Loc::new(start, end - start);
        let whole = buf.get(start..end).unwrap_or_default();
        let Some(field) = fields(whole).next() else { return };
        if self.record.read(whole, tlv, self.layout, field) || field.wire_type != LEN {
            return;
        }
        let row = Row { tlv, content: tlv.part(field.body, field.len()), parent: self.spans, changed: 0 };
        if field.number == Table::Events.layout().number {
            self.events.push(row);
        } else if field.number == Table::Links.layout().number {
            self.links.push(row);
        }
    }

    fn end(&mut self) {
        self.fields.push(&self.record);
        self.attributes.end_row();
        self.spans += 1;
    }
}
