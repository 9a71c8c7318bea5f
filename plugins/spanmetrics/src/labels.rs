//! Labels: what they are called, and where their values come from.

use sluice_sdk::Texts;

use crate::columns::{Columns, Field};
use crate::names;
use crate::tally::Place;

/// Longer values are cut here: the host takes no longer ones.
const MAX_VALUE_BYTES: usize = 256;

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

    /// Adds the value of a span, or of an event of it; an empty one if there is none.
    pub(crate) fn write(&self, columns: &Columns, place: Place, out: &mut Texts) {
        let number = |field| columns.numbers(field).get(place.row).copied().unwrap_or_default();
        let from = out.bytes.len();
        match &self.source {
            Source::Name => out.bytes.extend_from_slice(columns.names().get(place.row)),
            Source::Kind => out.bytes.extend_from_slice(kind(number(Field::Kind))),
            Source::Status => out.bytes.extend_from_slice(status(number(Field::Status))),
            Source::Attribute(number, default) => {
                if !columns.attribute(*number, place, &mut out.bytes) {
                    out.bytes.extend_from_slice(default.as_deref().unwrap_or_default().as_bytes());
                }
            }
            Source::Service | Source::ScopeName | Source::ScopeVersion => {
                self.write_of_owner(columns, columns.owner(place.row), out);
                return;
            }
        }
        end(from, out);
    }

    /// Adds what a scope, or its resource, has of the value; an empty one if that is nothing.
    pub(crate) fn write_of_owner(&self, columns: &Columns, scope: usize, out: &mut Texts) {
        let from = out.bytes.len();
        match &self.source {
            Source::Service => out.bytes.extend_from_slice(columns.service(scope)),
            Source::ScopeName => out.bytes.extend_from_slice(columns.scope(scope).0),
            Source::ScopeVersion => out.bytes.extend_from_slice(columns.scope(scope).1),
            Source::Attribute(number, _) => _ = columns.attribute_of_owner(*number, scope, &mut out.bytes),
            Source::Name | Source::Kind | Source::Status => {}
        }
        end(from, out);
    }
}

/// Ends the value that was written from here on.
fn end(from: usize, out: &mut Texts) {
    cut(from, &mut out.bytes);
    out.ends.push(out.bytes.len() as u32);
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
