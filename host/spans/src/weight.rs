//! What an index takes of memory, counted before there is one.

use crate::Table;
use crate::batch::MAX_INDEXED;
use crate::entry::Entry;
use crate::index::Row;
use crate::split::COPIES;
use crate::store::Loc;
use crate::wire::{LEN, fields};

/// What an attribute takes: itself and its mark, twice, because an edit may write the list anew.
const ENTRY_BYTES: usize = 2 * (size_of::<Entry>() + size_of::<u8>());

/// What the index takes, in bytes, of a valid request that is looked into in parts of at most `max_spans` spans
/// ([`crate::Batch::slices`]): that of the largest part. Nothing if the request is so small that it is indexed while it
/// is validated. A few bytes of wire can be a row or an attribute, which usual ones are not: their index is about as
/// large as they are. Only boundaries are read, about 1 ns an attribute.
pub fn index_bytes(wire: &[u8], max_spans: usize) -> usize {
    if wire.len() <= MAX_INDEXED {
        return 0;
    }
    let max_spans = max_spans.max(1);
    let mut weight = Weight { max_spans, ..Weight::default() };
    weight.request(wire);
    // What is beside the spans is in each part. If that is too much, parts are larger than they should be.
    let beside = wire.len().saturating_sub(weight.span_bytes);
    let copies = beside.saturating_mul(weight.spans / max_spans);
    if copies > wire.len().saturating_mul(COPIES) { weight.all } else { weight.largest.max(weight.part) }
}

#[derive(Default)]
struct Weight {
    max_spans: usize,
    /// The spans so far, and what they have on the wire.
    spans: usize,
    span_bytes: usize,
    /// What the index takes of everything, of the part that is being counted, and of the largest part before it.
    all: usize,
    part: usize,
    largest: usize,
}

impl Weight {
    fn add(&mut self, bytes: usize) {
        self.all += bytes;
        self.part += bytes;
    }

    fn request(&mut self, wire: &[u8]) {
        for field in fields(wire).filter(|field| field.is(1)) {
            self.resource(field.content(wire));
        }
    }

    fn resource(&mut self, wrapper: &[u8]) {
        let mut own = row_bytes(Table::Resources);
        self.add(own);
        for field in fields(wrapper) {
            let content = field.content(wrapper);
            if field.is(1) {
                let entries = entry_bytes(content, Table::Resources);
                own += entries;
                self.add(entries);
            } else if field.is(2) {
                self.scope(content, own);
            }
        }
    }

    /// `above` is what the resource takes, in every part that has something of it.
    fn scope(&mut self, wrapper: &[u8], above: usize) {
        let mut own = row_bytes(Table::Scopes);
        self.add(own);
        for field in fields(wrapper) {
            let content = field.content(wrapper);
            if field.is(1) {
                let entries = entry_bytes(content, Table::Scopes);
                own += entries;
                self.add(entries);
            } else if field.is(2) {
                if self.spans > 0 && self.spans.is_multiple_of(self.max_spans) {
                    self.largest = self.largest.max(std::mem::replace(&mut self.part, above + own));
                }
                self.spans += 1;
                self.span_bytes += content.len();
                self.add(span_bytes(content));
            }
        }
    }
}

fn span_bytes(span: &[u8]) -> usize {
    let attributes = Table::Spans.layout().attributes;
    let (mut bytes, mut all) = (row_bytes(Table::Spans), fields(span));
    while let Some(field) = all.next() {
        if field.is(attributes) {
            bytes += ENTRY_BYTES;
            while all.next_short(key(attributes)).is_some() {
                bytes += ENTRY_BYTES;
            }
        }
        for below in [Table::Events, Table::Links] {
            if field.is(below.layout().number) {
                bytes += row_bytes(below) + entry_bytes(field.content(span), below);
            }
        }
    }
    bytes
}

/// What the attributes of a message take.
fn entry_bytes(message: &[u8], table: Table) -> usize {
    let attributes = table.layout().attributes;
    fields(message).filter(|field| field.is(attributes)).count() * ENTRY_BYTES
}

/// What a row takes, its fields included, without its attributes.
fn row_bytes(table: Table) -> usize {
    let layout = table.layout();
    let fields = layout.texts * size_of::<Loc>() + layout.numbers * size_of::<u64>() + layout.ids * size_of::<u32>();
    // Where its attributes begin, and the schema that a resource or scope has.
    size_of::<Row>() + fields + size_of::<u32>() + size_of::<Loc>()
}

/// The key of a length-delimited field with a number below 16.
fn key(number: u32) -> u8 {
    (number << 3) as u8 | LEN
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Batch;
    use crate::wire::put_bytes;

    fn field(number: u32, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, number, content);
        out
    }

    /// A request of spans with ids and this in them each.
    fn request(resource: &[u8], spans: usize, more: &[u8]) -> Vec<u8> {
        let span = [&field(1, &[7; 16])[..], &field(2, &[9; 8]), more].concat();
        field(1, &[field(1, resource), field(2, &field(2, &span).repeat(spans))].concat())
    }

    /// What the index of a request takes when everything was looked at, and what was counted.
    fn taken_and_counted(wire: Vec<u8>, max_spans: usize) -> (usize, usize) {
        let counted = index_bytes(&wire, max_spans);
        let parts = Batch::parse(wire.into()).unwrap().slices(max_spans);
        let taken = parts.into_iter().map(|mut part| {
            for table in Table::ALL {
                part.load_fields(table);
                part.load_attributes(table);
            }
            part.index.heap_bytes()
        });
        (taken.max().unwrap(), counted)
    }

    /// Lists that grow have room for up to twice as much, which is no memory before something is in it.
    #[test]
    fn no_index_takes_more_than_was_counted() {
        const MANY: usize = 300_000;
        let link = field(13, &[field(1, &[1; 16]), field(2, &[2; 8])].concat());
        let huge = field(1, &field(1, &vec![b'k'; 100_000]));
        let usual = field(9, &[field(1, b"http.request.method"), field(2, &field(1, b"GET"))].concat()).repeat(12);
        for (what, wire) in [
            ("attributes", request(&[], 1, &field(9, &[]).repeat(MANY))),
            ("events", request(&[], 1, &field(11, &[]).repeat(MANY))),
            ("attributes of an event", request(&[], 1, &field(11, &field(3, &[]).repeat(MANY)))),
            ("links", request(&[], 1, &link.repeat(MANY / 10))),
            ("attributes of a resource", request(&field(1, &[]).repeat(MANY), 1, &[])),
            ("resources", [request(&[], 1, &[]), field(1, &[]).repeat(MANY)].concat()),
            ("scopes", field(1, &field(2, &[]).repeat(MANY))),
            ("spans of a huge resource", request(&huge, 60_000, &[])),
            ("usual spans", request(&field(1, &field(1, b"service.name")), 3_000, &usual)),
        ] {
            let (taken, counted) = taken_and_counted(wire, 512);
            assert!(taken <= 2 * counted, "{what}: {taken} bytes, {counted} counted");
        }
    }

    #[test]
    fn usual_requests_take_some_part_of_themselves() {
        let attribute = field(9, &[field(1, b"http.request.method"), field(2, &field(1, b"GET"))].concat());
        for spans in [1_000, 50_000] {
            let wire = request(&field(1, &field(1, b"service.name")), spans, &attribute.repeat(12));
            let (whole, counted) = (wire.len(), index_bytes(&wire, 512));
            assert!(counted < 512 * 1_200 && counted > 512 * 12 * 33, "{spans}: {counted} of {whole}");
        }
        assert_eq!(index_bytes(&request(&[], 1, &field(9, &[]).repeat(100_000)), 512), 0, "it is small");
    }
}
