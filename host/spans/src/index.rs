//! The lazy index: where the rows of each table are, and later where their fields and attributes
//! are. It is the state of the batch: edits patch it, and every read reads it.

use crate::attributes::Attributes;
use crate::rewrite::{Take, rewrite, survey};
use crate::row_fields::RowFields;
use crate::schema::{RESOURCE, SCOPE, SPAN, Schema};
use crate::store::{Loc, Store};
use crate::wire::{FieldAt, fields};
use crate::{Table, Verdict};

/// A row of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Key and all, where the sender put it; a resource's or scope's is that of its wrapper.
    pub tlv: Loc,
    /// The message's fields: of the wrapped message if it is a resource or scope, nowhere if
    /// that is absent. A normalised copy if the sender's was irregular.
    pub content: Loc,
    /// The row of the owning table.
    pub parent: u32,
    /// Bits of the message's fields to be written anew or appended, and of those below.
    pub changed: u64,
}

impl Row {
    /// The fields of the message that are to be written anew.
    pub fn rewritten(&self) -> u32 {
        (self.changed & FIELDS_CHANGED) as u32
    }

    /// The fields that are to be appended to the message, which lacks them; of the attributes, the
    /// added ones. A field that is to be written anew is not among them.
    pub fn appended(&self) -> u32 {
        (self.changed >> APPENDED) as u32 & !self.rewritten()
    }
}

/// Bits of [`Row::changed`] for fields of the row's message.
pub(crate) const FIELDS_CHANGED: u64 = 0x1_FFFE;
pub(crate) const STATUS_MESSAGE_CHANGED: u64 = 1 << 17;
pub(crate) const STATUS_CODE_CHANGED: u64 = 1 << 18;
/// A wrapper's `schema_url`.
pub(crate) const SCHEMA_URL_CHANGED: u64 = 1 << 19;
/// Something within a resource's or scope's wrapper, other than itself.
pub(crate) const BELOW_CHANGED: u64 = 1 << 20;
/// The commit that is going on changes something in this span.
pub(crate) const TOUCHED: u64 = 1 << 30;
/// The commit that is going on takes this row out.
pub(crate) const DROPPED: u64 = 1 << 31;
/// From here on, the same bits for fields that the message lacks: they go behind its others,
/// which are copied as they are.
pub(crate) const APPENDED: u32 = 32;

/// One table.
#[derive(Debug, Default)]
pub(crate) struct TableIndex {
    pub rows: Vec<Row>,
    /// Of resources and scopes: the wrapper's `schema_url`.
    pub schema_urls: Vec<Loc>,
    pub fields: Option<RowFields>,
    pub attributes: Option<Attributes>,
    is_loaded: bool,
    /// Their memory while they are not there.
    spare: (RowFields, Attributes),
}

impl TableIndex {
    /// Forgets everything but keeps the memory.
    fn clear(&mut self) {
        self.rows.clear();
        self.schema_urls.clear();
        self.is_loaded = false;
        if let Some(fields) = self.fields.take() {
            self.spare.0 = fields;
        }
        if let Some(attributes) = self.attributes.take() {
            self.spare.1 = attributes;
        }
    }

    fn heap_bytes(&self) -> usize {
        let there = self.fields.as_ref().map_or(0, RowFields::heap_bytes)
            + self.attributes.as_ref().map_or(0, Attributes::heap_bytes);
        let (fields, attributes) = &self.spare;
        there + fields.heap_bytes() + attributes.heap_bytes() + heap_bytes(&self.rows) + heap_bytes(&self.schema_urls)
    }
}

/// What a list holds of memory, in bytes.
pub(crate) fn heap_bytes<T>(items: &Vec<T>) -> usize {
    items.capacity() * size_of::<T>()
}

/// The tables.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub resources: TableIndex,
    pub scopes: TableIndex,
    pub spans: TableIndex,
    pub events: TableIndex,
    pub links: TableIndex,
    /// Rows that the last commit has dropped are still there, until somebody looks at any.
    pub has_dropped: bool,
}

impl Index {
    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.has_dropped = false;
        for table in Table::ALL {
            self.table_mut(table).clear();
        }
    }

    /// How much memory it holds, in bytes.
    pub fn heap_bytes(&self) -> usize {
        Table::ALL.into_iter().map(|table| self.table(table).heap_bytes()).sum()
    }

    /// Hands out the memory for what the validating walk is going to record.
    pub fn lend(&mut self) -> (RowFields, Attributes, Vec<Row>, Vec<Row>) {
        let (fields, attributes) = std::mem::take(&mut self.spans.spare);
        (fields, attributes, std::mem::take(&mut self.events.rows), std::mem::take(&mut self.links.rows))
    }

    /// Knows this much of spans from now on.
    pub fn know_spans(&mut self, fields: RowFields, attributes: Attributes, events: Vec<Row>, links: Vec<Row>) {
        self.spans.fields = Some(fields);
        self.spans.attributes = Some(attributes);
        for (table, rows) in [(&mut self.events, events), (&mut self.links, links)] {
            table.rows = rows;
            table.is_loaded = true;
        }
    }

    pub fn table(&self, table: Table) -> &TableIndex {
        match table {
            Table::Resources => &self.resources,
            Table::Scopes => &self.scopes,
            Table::Spans => &self.spans,
            Table::Events => &self.events,
            Table::Links => &self.links,
        }
    }

    pub fn table_mut(&mut self, table: Table) -> &mut TableIndex {
        match table {
            Table::Resources => &mut self.resources,
            Table::Scopes => &mut self.scopes,
            Table::Spans => &mut self.spans,
            Table::Events => &mut self.events,
            Table::Links => &mut self.links,
        }
    }

    /// Finds the rows of a table, if that was not done yet.
    pub fn load_rows(&mut self, store: &mut Store, verdict: Verdict, table: Table) {
        if std::mem::take(&mut self.has_dropped) {
            self.take_out();
        }
        if !self.spans.is_loaded {
            self.spans.rows.reserve(verdict.spans as usize);
            Boundaries { index: self, store, irregular: verdict.irregular }.read();
            for table in [Table::Resources, Table::Scopes, Table::Spans] {
                self.table_mut(table).is_loaded = true;
            }
        }
        if !self.table(table).is_loaded {
            self.load_spans(store);
        }
    }

    /// Finds the fields of spans, and the rows of events and links, in one pass over the spans.
    fn load_spans(&mut self, store: &Store) {
        let Self { spans, events, links, .. } = self;
        let row = |parent, content: Loc, field: FieldAt| Row {
            tlv: content.part(field.start, field.end - field.start),
            content: content.part(field.body, field.len()),
            parent,
            changed: 0,
        };
        let memory = std::mem::take(&mut spans.spare.0);
        let fields = memory.read(store, &spans.rows, Table::Spans.layout(), |parent, content, field| {
            if field.number == Table::Events.layout().number {
                events.rows.push(row(parent, content, field));
            } else if field.number == Table::Links.layout().number {
                links.rows.push(row(parent, content, field));
            }
        });
        spans.fields = Some(fields);
        events.is_loaded = true;
        links.is_loaded = true;
    }

    /// Finds the intrinsic fields of a table's rows, if that was not done yet.
    pub fn load_fields(&mut self, store: &mut Store, verdict: Verdict, table: Table) {
        self.load_rows(store, verdict, table);
        if self.table(table).fields.is_some() {
            return;
        }
        if table == Table::Spans {
            self.load_spans(store);
            return;
        }
        let index = self.table_mut(table);
        let memory = std::mem::take(&mut index.spare.0);
        index.fields = Some(memory.read(store, &index.rows, table.layout(), |_, _, _| {}));
    }

    /// Finds the attributes of a table's rows, if that was not done yet. What all rows have in common
    /// stays apart.
    pub fn find_attributes(&mut self, store: &mut Store, verdict: Verdict, table: Table) {
        self.load_rows(store, verdict, table);
        let index = self.table_mut(table);
        if index.attributes.is_none() {
            let field = table.layout().attributes;
            let memory = std::mem::take(&mut index.spare.1);
            index.attributes = Some(memory.read(store, &index.rows, field));
        }
    }
}

/// The pass that finds resources, scopes and spans.
struct Boundaries<'a> {
    index: &'a mut Index,
    store: &'a mut Store,
    irregular: bool,
}

impl Boundaries<'_> {
    fn read(&mut self) {
        // A second handle on the same bytes, so that the arena can be written meanwhile.
        let wire = self.store.wire.clone();
        for field in fields(&wire).filter(|field| field.is(1)) {
            let tlv = Loc::new(field.start, field.end - field.start);
            self.resource(&wire, tlv, Loc::new(field.body, field.len()));
        }
    }

    fn resource(&mut self, wire: &[u8], tlv: Loc, wrapper: Loc) {
        let parent = self.index.resources.rows.len() as u32;
        let mut parts = Parts::default();
        let content = slice(wire, wrapper);
        for field in fields(content) {
            let found = wrapper.part(field.body, field.len());
            if field.is(2) {
                let tlv = wrapper.part(field.start, field.end - field.start);
                self.scope(wire, tlv, found, parent);
            } else if field.is(1) {
                parts.add(found);
            } else if field.is(3) {
                parts.schema_url = found;
            }
        }
        let content = self.wrapped(&RESOURCE, wire, &parts);
        self.index.resources.rows.push(Row { tlv, content, parent: 0, changed: 0 });
        self.index.resources.schema_urls.push(parts.schema_url);
    }

    fn scope(&mut self, wire: &[u8], tlv: Loc, wrapper: Loc, resource: u32) {
        let parent = self.index.scopes.rows.len() as u32;
        let mut parts = Parts::default();
        let content = slice(wire, wrapper);
        for field in fields(content) {
            let found = wrapper.part(field.body, field.len());
            if field.is(2) {
                let content = if self.irregular { self.normalised(&SPAN, wire, found) } else { found };
                self.index.spans.rows.push(Row {
                    tlv: wrapper.part(field.start, field.end - field.start),
                    content,
                    parent,
                    changed: 0,
                });
            } else if field.is(1) {
                parts.add(found);
            } else if field.is(3) {
                parts.schema_url = found;
            }
        }
        let content = self.wrapped(&SCOPE, wire, &parts);
        self.index.scopes.rows.push(Row { tlv, content, parent: resource, changed: 0 });
        self.index.scopes.schema_urls.push(parts.schema_url);
    }

    /// The resource or scope that a wrapper holds, however many occurrences it is in.
    fn wrapped(&mut self, schema: &'static Schema, wire: &[u8], parts: &Parts) -> Loc {
        if !self.irregular || parts.first.is_none() {
            return parts.first;
        }
        if parts.more.is_empty() {
            return self.normalised(schema, wire, parts.first);
        }
        let fragments: Vec<&[u8]> =
            std::iter::once(&parts.first).chain(&parts.more).map(|&part| slice(wire, part)).collect();
        self.store.push_with(|out| rewrite(schema, &fragments, Take::OVERRIDDEN, out))
    }

    /// The same row if it is regular, else a normalised copy.
    fn normalised(&mut self, schema: &'static Schema, wire: &[u8], row: Loc) -> Loc {
        let content = slice(wire, row);
        if survey(schema, content).irregular {
            self.store.push_with(|out| rewrite(schema, &[content], Take::OVERRIDDEN, out))
        } else {
            row
        }
    }
}

/// What a wrapper has beside its children.
struct Parts {
    first: Loc,
    more: Vec<Loc>,
    schema_url: Loc,
}

impl Default for Parts {
    fn default() -> Self {
        Self { first: Loc::NONE, more: Vec::new(), schema_url: Loc::NONE }
    }
}

impl Parts {
    fn add(&mut self, part: Loc) {
        if self.first.is_none() {
            self.first = part;
        } else {
            self.more.push(part);
        }
    }
}

fn slice(wire: &[u8], loc: Loc) -> &[u8] {
    let at = loc.at as usize;
    wire.get(at..at + loc.len as usize).unwrap_or_default()
}
