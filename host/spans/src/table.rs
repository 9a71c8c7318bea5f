//! The five tables of a batch, and how their fields are numbered.

/// A field of a row: its number in OTLP's protobuf. [`crate::fields`] names the known ones.
pub type Field = u32;

/// A table of a batch. The numbers are those of the plugin contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Table {
    /// One row a `ResourceSpans`.
    Resources = 0,
    /// One row a `ScopeSpans`; owned by a resource.
    Scopes = 1,
    /// One row a `Span`; owned by a scope.
    Spans = 2,
    /// One row a `Span.Event`; owned by a span.
    Events = 3,
    /// One row a `Span.Link`; owned by a span.
    Links = 4,
}

impl Table {
    /// Every table, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Resources, Self::Scopes, Self::Spans, Self::Events, Self::Links];

    /// What a row of the table is called in messages to people.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Resources => "resource",
            Self::Scopes => "scope",
            Self::Spans => "span",
            Self::Events => "event",
            Self::Links => "link",
        }
    }
}

impl TryFrom<u32> for Table {
    type Error = crate::Refusal;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::Resources),
            1 => Ok(Self::Scopes),
            2 => Ok(Self::Spans),
            3 => Ok(Self::Events),
            4 => Ok(Self::Links),
            _ => Err(crate::Refusal::unknown(format!("no table {number}"))),
        }
    }
}
