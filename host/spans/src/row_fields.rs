//! The intrinsic fields of a table's rows: positions of texts and ids, and numbers.

use std::ops::Range;

use crate::Table;
use crate::index::{Row, heap_bytes};
use crate::layout::{Layout, STATUS_CODE, STATUS_MESSAGE, Slot};
use crate::schema::{Kind, Schema};
use crate::store::{Loc, Store};
use crate::wire::{FieldAt, LEN, fields};

/// The position of an id that is absent.
pub(crate) const NO_ID: u32 = u32::MAX;

/// One record a row in each list; how long a record is says the table's [`Layout`].
#[derive(Debug)]
pub(crate) struct RowFields {
    texts: Vec<Loc>,
    numbers: Vec<u64>,
    ids: Vec<u32>,
    layout: &'static Layout,
}

impl Default for RowFields {
    fn default() -> Self {
        Self { texts: Vec::new(), numbers: Vec::new(), ids: Vec::new(), layout: Table::Spans.layout() }
    }
}

/// The record of one row, as large as the largest table needs.
pub(crate) struct Record {
    pub texts: [Loc; 3],
    pub numbers: [u64; 8],
    pub ids: [u32; 3],
}

impl Record {
    /// Of a row without fields.
    pub const NONE: Self = Self { texts: [Loc::NONE; 3], numbers: [0; 8], ids: [NO_ID; 3] };

    /// Takes over a field of the message `buf`, which lies at `content`; says whether it has a slot.
    #[inline]
    pub fn read(&mut self, buf: &[u8], content: Loc, layout: &'static Layout, field: FieldAt) -> bool {
        match layout.slots.get(field.number as usize) {
            Some(Slot::Text(slot)) => self.put_text(*slot, content.part(field.body, field.len())),
            Some(Slot::Number(slot)) => self.put_number(*slot, number_of(layout.schema, field.number, field.value)),
            Some(Slot::Id(slot)) => {
                let at = if field.len() == 0 { NO_ID } else { content.at(field.body) };
                if let Some(place) = self.ids.get_mut(usize::from(*slot)) {
                    *place = at;
                }
            }
            Some(Slot::Status) if field.wire_type == LEN => {
                read_status(field.content(buf), content.part(field.body, field.len()), self);
            }
            None | Some(Slot::Skip | Slot::Status) => return false,
        }
        true
    }

    fn put_text(&mut self, slot: u8, text: Loc) {
        if let Some(place) = self.texts.get_mut(usize::from(slot)) {
            *place = text;
        }
    }

    fn put_number(&mut self, slot: u8, number: u64) {
        if let Some(place) = self.numbers.get_mut(usize::from(slot)) {
            *place = number;
        }
    }
}

impl RowFields {
    /// Reads the fields of every row in place of what is here. `other` is shown the length-delimited fields that
    /// are kept nowhere here and are not attributes, with the number of their row.
    pub fn read(
        self,
        store: &Store,
        rows: &[Row],
        layout: &'static Layout,
        mut other: impl FnMut(u32, Loc, FieldAt),
    ) -> Self {
        let mut all = self.emptied(rows.len(), layout);
        for (i, row) in (0..).zip(rows) {
            let record = read_row(store, row.content, layout, |field| other(i, row.content, field));
            all.push(&record);
        }
        all
    }

    /// No rows any more, but room for some.
    pub fn emptied(mut self, rows: usize, layout: &'static Layout) -> Self {
        self.texts.clear();
        self.texts.reserve(rows * layout.texts);
        self.numbers.clear();
        self.numbers.reserve(rows * layout.numbers);
        self.ids.clear();
        self.ids.reserve(rows * layout.ids);
        Self { layout, ..self }
    }

    /// How much memory it holds, in bytes.
    pub fn heap_bytes(&self) -> usize {
        heap_bytes(&self.texts) + heap_bytes(&self.numbers) + heap_bytes(&self.ids)
    }

    /// Adds a row.
    #[inline]
    pub fn push(&mut self, record: &Record) {
        let Self { texts, numbers, ids, layout } = self;
        texts.extend_from_slice(record.texts.get(..layout.texts).unwrap_or_default());
        numbers.extend_from_slice(record.numbers.get(..layout.numbers).unwrap_or_default());
        ids.extend_from_slice(record.ids.get(..layout.ids).unwrap_or_default());
    }

    /// The texts of all rows, and how many a row has.
    pub fn texts(&self) -> (&[Loc], usize) {
        (&self.texts, self.layout.texts)
    }

    pub fn numbers(&self, slot: usize) -> impl Iterator<Item = u64> {
        column(&self.numbers, self.layout.numbers, slot)
    }

    /// Where the ids are; [`NO_ID`] for an absent one.
    pub fn ids(&self, slot: usize) -> impl Iterator<Item = u32> {
        column(&self.ids, self.layout.ids, slot)
    }

    pub fn text(&self, row: usize, slot: usize) -> Loc {
        let at = row * self.layout.texts + slot;
        self.texts.get(at).copied().unwrap_or(Loc::NONE)
    }

    pub fn number(&self, row: usize, slot: usize) -> u64 {
        let at = row * self.layout.numbers + slot;
        self.numbers.get(at).copied().unwrap_or(0)
    }

    /// Answers where the text was before.
    pub fn set_text(&mut self, row: usize, slot: usize, text: Loc) -> Loc {
        let place = self.texts.get_mut(row * self.layout.texts + slot);
        place.map_or(text, |place| std::mem::replace(place, text))
    }

    pub fn set_number(&mut self, row: usize, slot: usize, number: u64) {
        if let Some(place) = self.numbers.get_mut(row * self.layout.numbers + slot) {
            *place = number;
        }
    }

    /// Keeps only the rows for which `keep` says so.
    pub fn retain(&mut self, keep: &[bool]) {
        retain_records(&mut self.texts, self.layout.texts, keep);
        retain_records(&mut self.numbers, self.layout.numbers, keep);
        retain_records(&mut self.ids, self.layout.ids, keep);
    }
}

/// One of the `width` items of every record.
pub(crate) fn column<T: Copy>(items: &[T], width: usize, slot: usize) -> impl Iterator<Item = T> + Clone {
    items.chunks_exact(width.max(1)).filter_map(move |record| record.get(slot).copied())
}

fn retain_records<T: Copy>(items: &mut Vec<T>, width: usize, keep: &[bool]) {
    let mut end = 0;
    for run in kept_runs(keep) {
        let (from, to) = (run.start * width, items.len().min(run.end * width));
        items.copy_within(from.min(to)..to, end);
        end += to.saturating_sub(from);
    }
    items.truncate(end);
}

/// The runs of rows that are kept: few rows are dropped, so they are long.
pub(crate) fn kept_runs(keep: &[bool]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + keep.get(at..)?.iter().position(|stays| *stays)?;
        let kept = keep.get(start..)?;
        at = start + kept.iter().position(|stays| !*stays).unwrap_or(kept.len());
        Some(start..at)
    })
}

#[inline]
fn read_row(store: &Store, content: Loc, layout: &'static Layout, mut other: impl FnMut(FieldAt)) -> Record {
    let mut record = Record::NONE;
    let attributes = (layout.attributes << 3) as u8 | LEN;
    let buf = store.get(content);
    let mut all = fields(buf);
    while let Some(field) = all.next() {
        if field.is(layout.attributes) {
            while all.next_short(attributes).is_some() {}
            continue;
        }
        if !record.read(buf, content, layout, field) && field.wire_type == LEN {
            other(field);
        }
    }
    record
}

fn read_status(status: &[u8], content: Loc, record: &mut Record) {
    for field in fields(status) {
        match field.number {
            2 => record.put_text(STATUS_MESSAGE, content.part(field.body, field.len())),
            3 => record.put_number(STATUS_CODE, sign_extended(field.value)),
            _ => {}
        }
    }
}

/// A number as protobuf reads it: 32-bit fields take the low half of what is on the wire.
fn number_of(schema: &Schema, number: u32, value: u64) -> u64 {
    match schema.field(number).kind {
        Kind::Enum(_) | Kind::Int32 => sign_extended(value),
        Kind::Uint32 => u64::from(value as u32),
        _ => value,
    }
}

fn sign_extended(value: u64) -> u64 {
    i64::from(value as i32) as u64
}
