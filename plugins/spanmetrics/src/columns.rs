//! What is pulled of a batch: only what the labels of this configuration are made of.

use std::io::Write as _;

use sluice_sdk::fields::{SCOPE_NAME, SCOPE_VERSION, SPAN_KIND, SPAN_NAME, STATUS_CODE, TRACE_STATE};
use sluice_sdk::kind;
use sluice_sdk::prelude::*;

use crate::tally::Place;

const SERVICE_NAME: &str = "service.name";
const TRACE_ID_BYTES: usize = 16;
const SPAN_ID_BYTES: usize = 8;

/// What a configuration needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Attributes of spans, else of resources.
    pub keys: Vec<String>,
    /// Instrumentation scopes that are told apart.
    pub scopes: Vec<String>,
    /// The events and their attributes.
    pub events: bool,
    /// The ids, for exemplars.
    pub ids: bool,
}

/// A number of every span.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field {
    Kind,
    Status,
}

/// The columns of a batch.
pub(crate) struct Columns {
    scopes: Vec<u32>,
    resources: Vec<u32>,
    services: Values,
    names: Texts,
    kinds: Vec<u64>,
    statuses: Vec<u64>,
    durations: Vec<u64>,
    states: Texts,
    /// For each scope, whether it is told apart; none if no scope is.
    told_apart: Vec<bool>,
    scope_names: Texts,
    scope_versions: Texts,
    attributes: Vec<Attribute>,
    event_spans: Vec<u32>,
    trace_ids: Vec<u8>,
    span_ids: Vec<u8>,
}

/// One attribute, wherever it may be.
struct Attribute {
    spans: Values,
    events: Values,
    resources: Values,
}

impl Wanted {
    /// The number of an attribute.
    pub(crate) fn key(&mut self, key: &str) -> usize {
        self.keys.iter().position(|known| known == key).unwrap_or_else(|| {
            self.keys.push(key.to_owned());
            self.keys.len() - 1
        })
    }

    /// What has to be granted for it.
    pub(crate) fn access(&self) -> Access {
        let mut access = Access::default().read("resources.attributes:service.name").read("spans.name");
        access = access.read("spans.trace_state");
        for key in &self.keys {
            access = access.read(format!("spans.attributes:{key}")).read(format!("resources.attributes:{key}"));
            if self.events {
                access = access.read(format!("events.attributes:{key}"));
            }
        }
        if !self.scopes.is_empty() {
            access = access.read("scopes.name").read("scopes.version");
        }
        if self.ids { access.read("spans.ids") } else { access }
    }
}

impl Columns {
    pub(crate) fn pull(batch: &Batch<'_>, wanted: &Wanted) -> Result<Self, Failure> {
        let mut attributes = Vec::with_capacity(wanted.keys.len());
        for key in &wanted.keys {
            attributes.push(Attribute {
                spans: batch.attribute(Table::Spans, key)?.values,
                events: if wanted.events { batch.attribute(Table::Events, key)?.values } else { Values::default() },
                resources: batch.attribute(Table::Resources, key)?.values,
            });
        }
        let (mut scope_names, mut scope_versions) = (Texts::default(), Texts::default());
        if !wanted.scopes.is_empty() {
            scope_names = batch.texts(Table::Scopes, SCOPE_NAME)?;
            scope_versions = batch.texts(Table::Scopes, SCOPE_VERSION)?;
        }
        let told_apart = |i| wanted.scopes.iter().any(|scope| scope == Texts::str(&scope_names, i));
        Ok(Self {
            scopes: batch.parents(Table::Spans)?,
            resources: batch.parents(Table::Scopes)?,
            services: batch.attribute(Table::Resources, SERVICE_NAME)?.values,
            names: batch.texts(Table::Spans, SPAN_NAME)?,
            kinds: batch.numbers(Table::Spans, SPAN_KIND)?,
            statuses: batch.numbers(Table::Spans, STATUS_CODE)?,
            durations: batch.durations()?,
            states: batch.texts(Table::Spans, TRACE_STATE)?,
            told_apart: (0..scope_names.len()).map(told_apart).collect(),
            event_spans: if wanted.events { batch.parents(Table::Events)? } else { Vec::new() },
            trace_ids: if wanted.ids { batch.trace_ids(Table::Spans)? } else { Vec::new() },
            span_ids: if wanted.ids { batch.span_ids(Table::Spans)? } else { Vec::new() },
            scope_names,
            scope_versions,
            attributes,
        })
    }

    pub(crate) fn spans(&self) -> usize {
        self.scopes.len()
    }

    /// The events, each with the row of its span.
    pub(crate) fn events(&self) -> impl Iterator<Item = (usize, usize)> {
        self.event_spans.iter().enumerate().map(|(event, &span)| (event, span as usize))
    }

    pub(crate) fn state(&self, row: usize) -> &str {
        self.states.str(row)
    }

    /// End minus start; 0 if it ends before it begins.
    pub(crate) fn duration_nanos(&self, row: usize) -> u64 {
        self.durations.get(row).copied().unwrap_or_default()
    }

    /// Whether any span has a `tracestate`.
    pub(crate) fn have_states(&self) -> bool {
        !self.states.bytes.is_empty()
    }

    pub(crate) fn names(&self) -> &Texts {
        &self.names
    }

    pub(crate) fn numbers(&self, field: Field) -> &[u64] {
        match field {
            Field::Kind => &self.kinds,
            Field::Status => &self.statuses,
        }
    }

    /// The scope of each span.
    pub(crate) fn scopes(&self) -> &[u32] {
        &self.scopes
    }

    /// How many scopes there are.
    pub(crate) fn owners(&self) -> usize {
        self.resources.len()
    }

    /// The scope of a span.
    pub(crate) fn owner(&self, row: usize) -> usize {
        self.scopes.get(row).map_or(usize::MAX, |&scope| scope as usize)
    }

    fn resource(&self, scope: usize) -> usize {
        self.resources.get(scope).map_or(usize::MAX, |&resource| resource as usize)
    }

    /// The service that a scope is in.
    pub(crate) fn service(&self, scope: usize) -> &[u8] {
        let resource = self.resource(scope);
        if self.services.kind(resource) == kind::STRING { self.services.texts.get(resource) } else { &[] }
    }

    /// Name and version of a scope, if it is told apart.
    pub(crate) fn scope(&self, scope: usize) -> (&[u8], &[u8]) {
        match self.told_apart.get(scope) {
            Some(true) => (self.scope_names.get(scope), self.scope_versions.get(scope)),
            _ => (&[], &[]),
        }
    }

    /// The values of an attribute, of the spans and of the events.
    pub(crate) fn values(&self, number: usize) -> [Option<&Values>; 2] {
        let attribute = self.attributes.get(number);
        [attribute.map(|attribute| &attribute.spans), attribute.map(|attribute| &attribute.events)]
    }

    /// Whether a resource has an attribute.
    pub(crate) fn resources_have(&self, number: usize) -> bool {
        self.attributes.get(number).is_some_and(|attribute| !attribute.resources.is_empty())
    }

    /// Adds the value of an attribute: the span's, else the event's, else the resource's. False if it has none.
    pub(crate) fn attribute(&self, number: usize, Place { row, event }: Place, out: &mut Vec<u8>) -> bool {
        let Some(Attribute { spans, events, .. }) = self.attributes.get(number) else { return false };
        write(spans, row, out)
            || event.is_some_and(|event| write(events, event, out))
            || self.attribute_of_owner(number, self.owner(row), out)
    }

    /// Adds the value that the resource of a scope has of an attribute. False if it has none.
    pub(crate) fn attribute_of_owner(&self, number: usize, scope: usize, out: &mut Vec<u8>) -> bool {
        let resource = self.resource(scope);
        self.attributes.get(number).is_some_and(|attribute| write(&attribute.resources, resource, out))
    }

    /// Trace and span id in hex; none for a span without a trace.
    pub(crate) fn ids(&self, row: usize) -> Option<[String; 2]> {
        let of = |ids: &[u8], size: usize| ids.get(row * size..(row + 1) * size).map(<[u8]>::to_vec);
        let trace = of(&self.trace_ids, TRACE_ID_BYTES).filter(|id| id.iter().any(|&byte| byte != 0))?;
        let hex = |id: &[u8]| id.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect();
        Some([hex(&trace), hex(&of(&self.span_ids, SPAN_ID_BYTES)?)])
    }
}

fn digit(nibble: u8) -> char {
    char::from_digit(nibble.into(), 16).unwrap_or('0')
}

/// Adds a value as text. Arrays, maps and bytes are none.
fn write(values: &Values, i: usize, out: &mut Vec<u8>) -> bool {
    let bits = values.bits(i);
    // Writing to a vector does not fail.
    let _ = match values.kind(i) {
        kind::STRING => out.write_all(values.texts.get(i)),
        kind::BOOL => write!(out, "{}", bits != 0),
        kind::INT => {
            int(bits.cast_signed(), out);
            Ok(())
        }
        kind::DOUBLE => write!(out, "{}", f64::from_bits(bits)),
        _ => return false,
    };
    true
}

/// Adds a whole number: status codes are in every other configuration, and formatting costs more than the rest.
fn int(value: i64, out: &mut Vec<u8>) {
    let mut rest = value.unsigned_abs();
    if value < 0 {
        out.push(b'-');
    }
    let from = out.len();
    loop {
        out.push(b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(from..) {
        digits.reverse();
    }
}
