//! Splicing the wire: untouched runs are copied as slices, changed rows are rebuilt field by
//! field in the order of the wire, unknown fields stay where they are.

mod lengthened;

use bytes::Bytes;

use crate::entry::{ADDED, Entry, KEY_CHANGED, VALUE_CHANGED, is_text};
use crate::index::{DROPPED, Index, Row, SCHEMA_URL_CHANGED, STATUS_CODE_CHANGED, STATUS_MESSAGE_CHANGED};
use crate::layout::{Layout, STATUS_CODE, STATUS_MESSAGE, Slot};
use crate::run::Run;
use crate::schema::Kind;
use crate::store::{Loc, Store};
use crate::walk::Request;
use crate::wire::{fields, put_bytes, put_frame, put_key, put_varint};
use crate::{Batch, Table};

/// The part of the wire that stays free for growing before the output is allocated anew: lengths that take a byte
/// more, mostly. What edits add is known.
const HEADROOM_PART: usize = 8;

/// The part of a written request that it may have room for beside itself.
const SLACK_PART: usize = 4;

impl Batch {
    /// The request as it is now. An untouched batch answers the very bytes it came from.
    pub fn encode(&mut self) -> Bytes {
        self.splice(&mut [])
    }

    /// The output, where `requests` end in it instead of where they end now.
    pub(crate) fn splice(&mut self, requests: &mut [Request]) -> Bytes {
        if !self.is_changed {
            return self.store.wire.clone();
        }
        for table in Table::ALL {
            if let Some(attributes) = &mut self.index.table_mut(table).attributes {
                attributes.join_common(&mut self.store);
            }
        }
        let wire = self.store.wire.len();
        let room = wire + self.grown.min(wire) + wire / HEADROOM_PART;
        let mut out = Vec::with_capacity(room);
        let splicer = Splicer { store: &self.store, index: &self.index };
        let mut start = 0;
        for request in &mut *requests {
            splicer.request(Loc::new(start, request.end - start), &mut out);
            start = std::mem::replace(&mut request.end, out.len());
        }
        splicer.request(Loc::new(start, wire - start), &mut out);
        written(out)
    }
}

/// A request that was written. It may wait for long, and in a queue it counts as its bytes, so it does not keep
/// much more than that.
pub(crate) fn written(mut out: Vec<u8>) -> Bytes {
    if out.capacity() - out.len() > out.len() / SLACK_PART {
        out.shrink_to_fit();
    }
    out.into()
}

/// Copies a message, but lets `emit` write the fields of the mask: each once, where it occurs
/// first, or at the end.
fn rebuild(message: &[u8], mask: u32, out: &mut Vec<u8>, mut emit: impl FnMut(u32, &mut Vec<u8>)) {
    let mut run = Run::new(message);
    let mut missing = mask;
    for field in fields(message) {
        let bit = if field.number < 32 { 1 << field.number } else { 0 };
        if mask & bit == 0 {
            run.add(field.start, field.end, out);
        } else if missing & bit != 0 {
            run.flush(out);
            missing &= !bit;
            emit(field.number, out);
        }
    }
    run.flush(out);
    for number in bits(missing) {
        emit(number, out);
    }
}

struct Splicer<'a> {
    store: &'a Store,
    index: &'a Index,
}

impl Splicer<'_> {
    /// Writes the request that `wire` is.
    fn request(&self, wire: Loc, out: &mut Vec<u8>) {
        let first = self.rows(Table::Resources).partition_point(|row| row.tlv.at < wire.at);
        self.children(wire, Table::Resources, 1, first, out, |_, _| false);
    }

    /// Copies the message at `content`. Its children are the rows of `table` from `first` on, in
    /// the field `number`; those that are dropped, or not in the index any more, are left out. `instead` may
    /// write another field itself.
    fn children(
        &self,
        content: Loc,
        table: Table,
        number: u32,
        first: usize,
        out: &mut Vec<u8>,
        mut instead: impl FnMut(u32, &mut Vec<u8>) -> bool,
    ) {
        let buf = self.store.get(content);
        let mut rows = (first..).zip(self.rows(table).get(first..).unwrap_or_default());
        let mut next = rows.next();
        let mut run = Run::new(buf);
        for field in fields(buf) {
            if !field.is(number) {
                run.flush(out);
                if !instead(field.number, out) {
                    run.add(field.start, field.end, out);
                }
                continue;
            }
            match next {
                Some((i, row)) if row.tlv.at == content.at(field.start) => {
                    if row.changed == 0 {
                        run.add(field.start, field.end, out);
                    } else if row.changed & DROPPED == 0 {
                        run.flush(out);
                        let body = content.part(field.body, field.len());
                        self.child(table, i, row, (number, body), out);
                    }
                    next = rows.next();
                }
                _ => {}
            }
        }
        run.flush(out);
    }

    fn rows(&self, table: Table) -> &[Row] {
        &self.index.table(table).rows
    }

    /// Writes a changed row, which lies at `body` with its wrapper, as the field `number`.
    fn child(&self, table: Table, i: usize, row: &Row, (number, body): (u32, Loc), out: &mut Vec<u8>) {
        let below = match table {
            Table::Resources => Table::Scopes,
            Table::Scopes => Table::Spans,
            _ if self.lengthened(table, i, row, number, out) => return,
            _ => return put_frame(out, number, body.len as usize, |out| self.row(table, i, row, out)),
        };
        put_frame(out, number, body.len as usize, |out| self.wrapper((table, below), i, row, body, out));
    }

    /// The wrapper of a resource or scope, with what is below it.
    fn wrapper(&self, (table, below): (Table, Table), i: usize, row: &Row, body: Loc, out: &mut Vec<u8>) {
        let first = self.rows(below).partition_point(|row| (row.parent as usize) < i);
        let mut is_written = row.rewritten() | row.appended() == 0;
        let mut is_url_written = row.changed & SCHEMA_URL_CHANGED == 0;
        let (keeps, keeps_url) = (is_written, is_url_written);
        let mut instead = |field: u32, out: &mut Vec<u8>| match field {
            1 if !keeps => {
                if !std::mem::replace(&mut is_written, true) {
                    self.wrapped(table, i, row, out);
                }
                true
            }
            3 if !keeps_url => {
                if !std::mem::replace(&mut is_url_written, true) {
                    self.schema_url(table, i, out);
                }
                true
            }
            _ => false,
        };
        self.children(body, below, 2, first, out, &mut instead);
        instead(1, out);
        instead(3, out);
    }

    /// A resource or scope in its wrapper.
    fn wrapped(&self, table: Table, i: usize, row: &Row, out: &mut Vec<u8>) {
        put_frame(out, 1, row.content.len as usize, |out| {
            self.row(table, i, row, out);
        });
    }

    fn schema_url(&self, table: Table, i: usize, out: &mut Vec<u8>) {
        let urls = &self.index.table(table).schema_urls;
        self.text(3, urls.get(i).copied().unwrap_or(Loc::NONE), out);
    }

    /// The fields of a changed row.
    fn row(&self, table: Table, i: usize, row: &Row, out: &mut Vec<u8>) {
        let message = self.store.get(row.content);
        let rewritten = row.rewritten();
        if rewritten == 0 {
            out.extend_from_slice(message);
        } else {
            rebuild(message, rewritten, out, |number, out| self.field(table, i, row, number, out));
        }
        for number in bits(row.appended()) {
            if number == table.layout().attributes {
                self.added(table, i, number, out);
            } else {
                self.field(table, i, row, number, out);
            }
        }
    }

    /// One changed field of a row.
    fn field(&self, table: Table, i: usize, row: &Row, number: u32, out: &mut Vec<u8>) {
        let layout = table.layout();
        if number == layout.attributes {
            self.attributes(table, i, number, out);
            return;
        }
        let children = [Table::Events, Table::Links];
        if table == Table::Spans
            && let Some(below) = children.into_iter().find(|below| below.layout().number == number)
        {
            self.below(below, i, number, out);
            return;
        }
        let Some(fields) = &self.index.table(table).fields else {
            return;
        };
        match layout.slots.get(number as usize) {
            Some(Slot::Text(slot)) => self.text(number, fields.text(i, (*slot).into()), out),
            Some(Slot::Number(slot)) => {
                put_number(layout, number, fields.number(i, (*slot).into()), out);
            }
            Some(Slot::Status) => self.status(i, row, out),
            _ => {}
        }
    }

    fn text(&self, number: u32, text: Loc, out: &mut Vec<u8>) {
        put_text(self.store, number, text, out);
    }

    fn status(&self, i: usize, row: &Row, out: &mut Vec<u8>) {
        let Some(span) = &self.index.spans.fields else {
            return;
        };
        let buf = self.store.get(row.content);
        let status = fields(buf).find(|field| field.is(15));
        let content = status.map_or(&[][..], |status| status.content(buf));
        let bit = |changed: u64, number: u32| u32::from(row.changed & changed != 0) << number;
        let mask = bit(STATUS_MESSAGE_CHANGED, 2) | bit(STATUS_CODE_CHANGED, 3);
        put_frame(out, 15, content.len(), |out| {
            rebuild(content, mask, out, |number, out| {
                let code = span.number(i, STATUS_CODE.into());
                if number == 2 {
                    self.text(2, span.text(i, STATUS_MESSAGE.into()), out);
                } else if code != 0 {
                    put_key(out, 3, 0);
                    put_varint(out, code);
                }
            });
        });
    }

    /// The events or links of a span.
    fn below(&self, table: Table, span: usize, number: u32, out: &mut Vec<u8>) {
        let rows = self.rows(table);
        let start = rows.partition_point(|row| (row.parent as usize) < span);
        let of_span = rows.iter().enumerate().skip(start);
        let mut run = Loc::NONE;
        for (i, row) in of_span.take_while(|(_, row)| row.parent as usize == span) {
            if row.changed == 0 {
                self.join_run(&mut run, row.tlv, out);
            } else if row.changed & DROPPED == 0 {
                self.end_run(&mut run, out);
                put_frame(out, number, row.content.len as usize, |out| {
                    self.row(table, i, row, out);
                });
            }
        }
        self.end_run(&mut run, out);
    }

    fn attributes(&self, table: Table, row: usize, number: u32, out: &mut Vec<u8>) {
        let Some(attributes) = &self.index.table(table).attributes else {
            return;
        };
        self.entries(attributes.row(row), number, out);
        out.extend_from_slice(self.store.get(attributes.common_run()));
    }

    /// The entries that edits have put at the end of a row.
    fn added(&self, table: Table, row: usize, number: u32, out: &mut Vec<u8>) {
        if let Some(attributes) = &self.index.table(table).attributes {
            self.entries(attributes.added_in(row), number, out);
            out.extend_from_slice(self.store.get(attributes.common_run()));
        }
    }

    fn entries(&self, entries: &[Entry], number: u32, out: &mut Vec<u8>) {
        let mut run = Loc::NONE;
        for entry in entries {
            if entry.changed & !ADDED == 0 {
                self.join_run(&mut run, entry.tlv, out);
            } else {
                self.end_run(&mut run, out);
                put_entry(self.store, number, entry, out);
            }
        }
        self.end_run(&mut run, out);
    }

    /// Adds a piece to a run of pieces that lie one after another, or begins another run.
    fn join_run(&self, run: &mut Loc, piece: Loc, out: &mut Vec<u8>) {
        if run.touches(piece) {
            run.len += piece.len;
        } else {
            self.end_run(run, out);
            *run = piece;
        }
    }

    fn end_run(&self, run: &mut Loc, out: &mut Vec<u8>) {
        out.extend_from_slice(self.store.get(*run));
        *run = Loc::NONE;
    }
}

/// Writes a changed attribute as the field `number`: its key, its value, and what else it had.
pub(crate) fn put_entry(store: &Store, number: u32, entry: &Entry, out: &mut Vec<u8>) {
    let whole = store.get(entry.tlv);
    let content = fields(whole).next().map_or(&[][..], |field| field.content(whole));
    let guess = content.len().max(entry.key.len as usize);
    let is_new = entry.tlv.is_none();
    let mask = if is_new { KEY_CHANGED | VALUE_CHANGED } else { entry.changed & (KEY_CHANGED | VALUE_CHANGED) };
    put_frame(out, number, guess, |out| {
        rebuild(content, mask.into(), out, |number, out| {
            if number == 1 {
                put_text(store, 1, entry.key, out);
            } else {
                put_value(store, entry, out);
            }
        });
    });
}

fn put_value(store: &Store, entry: &Entry, out: &mut Vec<u8>) {
    let kind = u32::from(entry.kind);
    let text = if is_text(entry.kind) { entry.text() } else { Loc::NONE };
    put_frame(out, 2, text.len as usize, |out| match entry.kind {
        0 => {}
        4 => {
            put_key(out, kind, 1);
            out.extend_from_slice(&entry.value.to_le_bytes());
        }
        2 | 3 | 8 => {
            put_key(out, kind, 0);
            put_varint(out, entry.value);
        }
        _ => put_bytes(out, kind, store.get(text)),
    });
}

/// Writes a text; an empty one is what an absent field means.
fn put_text(store: &Store, number: u32, text: Loc, out: &mut Vec<u8>) {
    if text.len > 0 {
        put_bytes(out, number, store.get(text));
    }
}

/// The numbers of the bits that are set, from the lowest.
fn bits(mut mask: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (mask != 0).then(|| mask.trailing_zeros());
        mask &= mask.wrapping_sub(1);
        bit
    })
}

/// A number as its field is written; 0 is what an absent field means.
fn put_number(layout: &Layout, field: u32, number: u64, out: &mut Vec<u8>) {
    if number == 0 {
        return;
    }
    match layout.schema.field(field).kind {
        Kind::Fixed64 => {
            put_key(out, field, 1);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Kind::Fixed32 => {
            put_key(out, field, 5);
            out.extend_from_slice(&(number as u32).to_le_bytes());
        }
        _ => {
            put_key(out, field, 0);
            put_varint(out, number);
        }
    }
}
