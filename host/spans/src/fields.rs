//! Numbers of the fields that columns can be read from and written to.
//!
//! They are OTLP's protobuf field numbers within the row's message. A field of a row that lives
//! elsewhere has a composed number: 1003 is field 3 of the wrapping `ResourceSpans` or
//! `ScopeSpans`, 1502 and 1503 are fields 2 and 3 of the message in field 15 (a span's status).

use crate::Field;

/// `ResourceSpans.schema_url` and `ScopeSpans.schema_url`, a text.
pub const SCHEMA_URL: Field = 1003;

/// Fields of the resources table.
pub mod resource {
    use crate::Field;
    /// How many attributes the sender dropped.
    pub const DROPPED_ATTRIBUTES_COUNT: Field = 2;
}

/// Fields of the scopes table.
pub mod scope {
    use crate::Field;
    /// The scope's name, a text.
    pub const NAME: Field = 1;
    /// The scope's version, a text.
    pub const VERSION: Field = 2;
    /// How many attributes the sender dropped.
    pub const DROPPED_ATTRIBUTES_COUNT: Field = 4;
}

/// Fields of the spans table.
pub mod span {
    use crate::Field;
    /// W3C tracestate, a text.
    pub const TRACE_STATE: Field = 3;
    /// The span's name, a text.
    pub const NAME: Field = 5;
    /// The span's kind, OTLP's enum number.
    pub const KIND: Field = 6;
    /// Start, in nanoseconds since the Unix epoch.
    pub const START_TIME_UNIX_NANO: Field = 7;
    /// End, in nanoseconds since the Unix epoch.
    pub const END_TIME_UNIX_NANO: Field = 8;
    /// How many attributes the sender dropped.
    pub const DROPPED_ATTRIBUTES_COUNT: Field = 10;
    /// How many events the sender dropped.
    pub const DROPPED_EVENTS_COUNT: Field = 12;
    /// How many links the sender dropped.
    pub const DROPPED_LINKS_COUNT: Field = 14;
    /// W3C trace flags and OTLP's remote bits.
    pub const FLAGS: Field = 16;
    /// The status' message, a text.
    pub const STATUS_MESSAGE: Field = 1502;
    /// The status' code, OTLP's enum number.
    pub const STATUS_CODE: Field = 1503;
}

/// Fields of the events table.
pub mod event {
    use crate::Field;
    /// When it happened, in nanoseconds since the Unix epoch.
    pub const TIME_UNIX_NANO: Field = 1;
    /// The event's name, a text.
    pub const NAME: Field = 2;
    /// How many attributes the sender dropped.
    pub const DROPPED_ATTRIBUTES_COUNT: Field = 4;
}

/// Fields of the links table.
pub mod link {
    use crate::Field;
    /// W3C tracestate, a text.
    pub const TRACE_STATE: Field = 3;
    /// How many attributes the sender dropped.
    pub const DROPPED_ATTRIBUTES_COUNT: Field = 5;
    /// W3C trace flags and OTLP's remote bits.
    pub const FLAGS: Field = 6;
}
