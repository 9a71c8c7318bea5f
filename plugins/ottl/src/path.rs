//! Paths: which column a name means.

use sluice_sdk::{Table, fields};

/// What paths without a context are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// `resource`
    Resource,
    /// `scope` or `instrumentation_scope`
    Scope,
    /// `span`
    Span,
    /// `spanevent`
    SpanEvent,
}

/// A column that a condition reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub table: Table,
    pub column: Column,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Column {
    Text(u32),
    Number(u32),
    Duration,
    Attribute(String),
    TraceIdHex,
    SpanIdHex,
    ParentSpanIdHex,
}

const DROPPED_ATTRIBUTES_OF_RESOURCE: u32 = 2;
const DROPPED_ATTRIBUTES_OF_SCOPE_OR_EVENT: u32 = 4;
const DROPPED_ATTRIBUTES: u32 = 10;
const DROPPED_EVENTS: u32 = 12;
const DROPPED_LINKS: u32 = 14;
const EVENT_TIME_UNIX_NANO: u32 = 1;

impl Context {
    /// The context that a name at the beginning of a path means.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "resource" => Self::Resource,
            "scope" | "instrumentation_scope" => Self::Scope,
            "span" => Self::Span,
            "spanevent" => Self::SpanEvent,
            _ => return None,
        })
    }

    pub(super) fn table(self) -> Table {
        match self {
            Self::Resource => Table::Resources,
            Self::Scope => Table::Scopes,
            Self::Span => Table::Spans,
            Self::SpanEvent => Table::Events,
        }
    }

    /// The column of a field, its parts joined by dots. `None` if the subset has no such field.
    pub(super) fn field(self, name: &str) -> Option<Column> {
        Some(match (self, name) {
            (Self::Resource | Self::Scope, "schema_url") => Column::Text(fields::SCHEMA_URL),
            (Self::Resource, "dropped_attributes_count") => Column::Number(DROPPED_ATTRIBUTES_OF_RESOURCE),
            (Self::Scope, "name") => Column::Text(fields::SCOPE_NAME),
            (Self::Scope, "version") => Column::Text(fields::SCOPE_VERSION),
            (Self::Scope | Self::SpanEvent, "dropped_attributes_count") => {
                Column::Number(DROPPED_ATTRIBUTES_OF_SCOPE_OR_EVENT)
            }
            (Self::SpanEvent, "name") => Column::Text(fields::EVENT_NAME),
            (Self::SpanEvent, "time_unix_nano") => Column::Number(EVENT_TIME_UNIX_NANO),
            (Self::Span, "name") => Column::Text(fields::SPAN_NAME),
            (Self::Span, "trace_state") => Column::Text(fields::TRACE_STATE),
            (Self::Span, "status.message") => Column::Text(fields::STATUS_MESSAGE),
            (Self::Span, "status.code") => Column::Number(fields::STATUS_CODE),
            (Self::Span, "duration") => Column::Duration,
            (Self::Span, "kind") => Column::Number(fields::SPAN_KIND),
            (Self::Span, "start_time_unix_nano") => Column::Number(fields::START_TIME_UNIX_NANO),
            (Self::Span, "end_time_unix_nano") => Column::Number(fields::END_TIME_UNIX_NANO),
            (Self::Span, "dropped_attributes_count") => Column::Number(DROPPED_ATTRIBUTES),
            (Self::Span, "dropped_events_count") => Column::Number(DROPPED_EVENTS),
            (Self::Span, "dropped_links_count") => Column::Number(DROPPED_LINKS),
            (Self::Span, "trace_id.string") => Column::TraceIdHex,
            (Self::Span, "span_id.string") => Column::SpanIdHex,
            (Self::Span, "parent_span_id.string") => Column::ParentSpanIdHex,
            _ => return None,
        })
    }
}

impl Path {
    /// What must be granted to read it; numbers always are.
    pub(super) fn grant(&self) -> Option<String> {
        let table = match self.table {
            Table::Resources => "resources",
            Table::Scopes => "scopes",
            Table::Spans => "spans",
            Table::Events => "events",
            Table::Links => "links",
        };
        let field = match (&self.column, self.table) {
            (Column::Number(_) | Column::Duration, _) => return None,
            (Column::Attribute(key), _) => return Some(format!("{table}.attributes:{key}")),
            (Column::TraceIdHex | Column::SpanIdHex | Column::ParentSpanIdHex, _) => "ids",
            (Column::Text(fields::SCHEMA_URL), _) => "schema_url",
            (Column::Text(fields::STATUS_MESSAGE), _) => "status_message",
            (Column::Text(fields::TRACE_STATE), Table::Spans) => "trace_state",
            (Column::Text(fields::SCOPE_VERSION), Table::Scopes) => "version",
            (Column::Text(_), _) => "name",
        };
        Some(format!("{table}.{field}"))
    }
}

impl Path {
    /// What must be granted to set it. What cannot be set has none that the host knows.
    pub(super) fn grant_to_write(&self) -> String {
        match self.column {
            Column::Number(fields::STATUS_CODE) => "spans.status_code".to_owned(),
            Column::Number(_) => "spans.kind".to_owned(),
            _ => self.grant().unwrap_or_default(),
        }
    }
}

/// The number that an enum's name stands for.
pub(super) fn enumeration(name: &str) -> Option<i64> {
    Some(match name {
        "SPAN_KIND_UNSPECIFIED" | "STATUS_CODE_UNSET" => 0,
        "SPAN_KIND_INTERNAL" | "STATUS_CODE_OK" => 1,
        "SPAN_KIND_SERVER" | "STATUS_CODE_ERROR" => 2,
        "SPAN_KIND_CLIENT" => 3,
        "SPAN_KIND_PRODUCER" => 4,
        "SPAN_KIND_CONSUMER" => 5,
        _ => return None,
    })
}
