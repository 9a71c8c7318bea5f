//! Labels: what they are called, and where their values come from.

use crate::columns::{Columns, Field};
use crate::names;

/// Longer values are cut here: the host takes no longer ones.
const MAX_VALUE_BYTES: usize = 256;

/// Ends a value in a key: no byte of UTF-8.
pub(crate) const END: u8 = 0xff;

/// Where a label's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// `service.name` of the resource.
    Service,
    /// The span's name.
    Name,
    /// `SPAN_KIND_…`
    Kind,
    /// `STATUS_CODE_…`
    Status,
    /// The name of the instrumentation scope, of the scopes that are asked for.
    ScopeName,
    /// Its version.
    ScopeVersion,
    /// The attribute of this number in what is pulled; else this.
    Attribute(usize, Option<String>),
}

/// A label.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    /// As Prometheus has it.
    pub name: String,
    pub source: Source,
}

impl Label {
    /// A label for what OpenTelemetry calls this.
    pub(crate) fn new(name: &str, source: Source) -> Self {
        Self { name: names::label(name), source }
    }

    /// Adds the value in this row, or of this event of it, to a key; empty if there is none.
    pub(crate) fn write(&self, columns: &Columns, row: usize, event: Option<usize>, key: &mut Vec<u8>) {
        match &self.source {
            Source::Service => push(columns.service(row), key),
            Source::Name => push(columns.name(row), key),
            Source::Kind => push(kind(columns.number(Field::Kind, row)), key),
            Source::Status => push(status(columns.number(Field::Status, row)), key),
            Source::ScopeName => push(columns.scope(row).0, key),
            Source::ScopeVersion => push(columns.scope(row).1, key),
            Source::Attribute(number, default) => {
                let from = key.len();
                if columns.attribute(*number, row, event, key) {
                    cut(from, key);
                } else {
                    push(default.as_deref().unwrap_or_default().as_bytes(), key);
                }
            }
        }
        key.push(END);
    }
}

fn push(value: &[u8], key: &mut Vec<u8>) {
    let from = key.len();
    key.extend_from_slice(value);
    cut(from, key);
}

/// Cuts what was written from here on, not within a character.
fn cut(from: usize, key: &mut Vec<u8>) {
    if key.len() - from > MAX_VALUE_BYTES {
        let is_inside = |key: &[u8], at: usize| key.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
        let mut end = from + MAX_VALUE_BYTES;
        while end > from && is_inside(key, end) {
            end -= 1;
        }
        key.truncate(end);
    }
}

/// The words of the Collector; what is none of OTLP's kinds has none there either.
fn kind(number: u64) -> &'static [u8] {
    match number {
        0 => b"SPAN_KIND_UNSPECIFIED",
        1 => b"SPAN_KIND_INTERNAL",
        2 => b"SPAN_KIND_SERVER",
        3 => b"SPAN_KIND_CLIENT",
        4 => b"SPAN_KIND_PRODUCER",
        5 => b"SPAN_KIND_CONSUMER",
        _ => b"",
    }
}

fn status(number: u64) -> &'static [u8] {
    match number {
        0 => b"STATUS_CODE_UNSET",
        1 => b"STATUS_CODE_OK",
        2 => b"STATUS_CODE_ERROR",
        _ => b"",
    }
}
