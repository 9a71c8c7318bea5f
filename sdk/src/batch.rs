//! The batch: columns out, edits in.

use std::cell::RefCell;

use crate::columns::{Column, Entries, EntryKeys, Texts, Values};
use crate::lifecycle::Failure;
use crate::strings::Strings;
use crate::view::{Pending, Spans};

use crate::backend::{Backend, Source};

/// The tables of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Resources: what makes spans.
    Resources = 0,
    /// Instrumentation scopes.
    Scopes = 1,
    /// Spans.
    Spans = 2,
    /// Events of spans.
    Events = 3,
    /// Links of spans.
    Links = 4,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Resources, Self::Scopes, Self::Spans, Self::Events, Self::Links];
}

/// Rows that can be meant without naming them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Every row.
    All = 1,
    /// Rows that lack the attribute.
    Without = 2,
    /// Rows that have it.
    With = 3,
}

/// Numbers of fields, as in `Batch::texts` and `Batch::numbers`.
pub mod fields {
    /// Text of spans and links.
    pub const TRACE_STATE: u32 = 3;
    /// Text of spans.
    pub const SPAN_NAME: u32 = 5;
    /// Number of spans.
    pub const SPAN_KIND: u32 = 6;
    /// Number of spans.
    pub const START_TIME_UNIX_NANO: u32 = 7;
    /// Number of spans.
    pub const END_TIME_UNIX_NANO: u32 = 8;
    /// Text of spans.
    pub const STATUS_MESSAGE: u32 = 1502;
    /// Number of spans.
    pub const STATUS_CODE: u32 = 1503;
    /// Text of events.
    pub const EVENT_NAME: u32 = 2;
    /// Text of scopes.
    pub const SCOPE_NAME: u32 = 1;
    /// Text of scopes.
    pub const SCOPE_VERSION: u32 = 2;
    /// Text of resources and scopes.
    pub const SCHEMA_URL: u32 = 1003;
}

/// Why the host did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// 1 denied, 2 unknown table or field, 3 row out of range, 4 malformed, 5 over a limit, 6 not
    /// possible here.
    pub code: u32,
    /// In words.
    pub message: String,
}

/// With `?` a refusal ends the call, and the failure policy of the plugin applies.
impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { code: 0, message: refusal.message }
    }
}

/// The batch of spans of one call. Reads see it as it was when the call began; edits are applied
/// when the call has returned `Ok`.
pub struct Batch<'b> {
    backend: &'b Backend,
    pub(crate) pending: RefCell<Pending>,
}

macro_rules! forward {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        impl Batch<'_> {
            $($(#[$doc])*
            ///
            /// # Errors
            /// When the host refuses.
            pub fn $name(&self, $($arg: $type),*) -> Result<$out, Refusal> {
                Source::$name(self.backend, $($arg),*)
            })*
        }
    };
}

forward! {
    /// How many rows a table has.
    len(table: Table) -> u32;
    /// The owner of each row: scope of a span, resource of a scope, span of an event or link.
    parents(table: Table) -> Vec<u32>;
    /// A numeric field of every row; 0 where it is not set.
    numbers(table: Table, field: u32) -> Vec<u64>;
    /// End minus start of every span, in nanoseconds.
    durations() -> Vec<u64>;
    /// A text field of every row.
    texts(table: Table, field: u32) -> Texts;
    /// 16 bytes a row, of spans or links.
    trace_ids(table: Table) -> Vec<u8>;
    /// 8 bytes a row, of spans or links.
    span_ids(table: Table) -> Vec<u8>;
    /// 8 bytes a span, zeros for a root.
    parent_span_ids() -> Vec<u8>;
    /// One attribute over all rows; empty if no row has it.
    attribute(table: Table, key: &str) -> Column;
    /// Every occurrence of every granted attribute.
    entries(table: Table) -> Entries;
    /// The keys of the same entries.
    entry_keys(table: Table) -> EntryKeys;
    /// Every string that may be read, of all tables; for scanners.
    strings() -> Strings;
    /// Drops rows of spans, events or links.
    drop_rows(table: Table, rows: &[u32]) -> ();
    /// Sets an attribute. One value a row, or one for all.
    set_attribute(table: Table, key: &str, rows: &[u32], values: Values) -> ();
    /// Sets an attribute to one value in rows that need not be named: those that were so when the
    /// call began, whatever it has edited since.
    fill_attribute(table: Table, key: &str, which: Rows, value: Values) -> ();
    /// Removes every occurrence of a key.
    remove_attribute(table: Table, key: &str, rows: &[u32]) -> ();
    /// Gives an attribute another key.
    rename_attribute(table: Table, key: &str, to: &str, rows: &[u32]) -> ();
    /// Replaces the values of entries. One value each, or one for all.
    set_entries(table: Table, entries: &[u32], values: Values) -> ();
    /// Removes entries.
    remove_entries(table: Table, entries: &[u32]) -> ();
    /// Sets a text field. One text a row, or one for all.
    set_texts(table: Table, field: u32, rows: &[u32], texts: Texts) -> ();
    /// Sets a numeric field. One number a row, or one for all.
    set_numbers(table: Table, field: u32, rows: &[u32], numbers: &[u64]) -> ();
    /// Takes out what no column shows: 1 overridden occurrences, 2 fields unknown to OTLP. Grants to write:
    /// `overridden`, `unknown`, of every table.
    clean(what: u32) -> ();
}

impl<'b> Batch<'b> {
    #[doc(hidden)]
    pub fn new(backend: &'b Backend) -> Self {
        Self { backend, pending: RefCell::default() }
    }

    /// The spans, one after the other.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn spans(&self) -> Result<Spans<'_>, Refusal> {
        Spans::new(self)
    }

    /// Pushes what the per-span view has collected. Called by the SDK after `process`.
    #[doc(hidden)]
    pub fn push_pending(&self) -> Result<(), Refusal> {
        let pending = self.pending.take();
        pending.push(self)
    }
}
