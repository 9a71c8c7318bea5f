//! Why a read or an edit was not done.

/// The reason of a [`Refusal`], numbered as in the plugin contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum RefusalCode {
    /// Not declared by the plugin, or not granted to it. This crate never answers it.
    Denied = 1,
    /// No such table, or no such field in that table.
    Unknown = 2,
    /// A row or entry number that the table does not have.
    OutOfRange = 3,
    /// An argument that is not well formed: lengths that do not fit, text that is not UTF-8.
    Malformed = 4,
    /// Over a limit.
    Limit = 5,
    /// Not possible here, such as dropping rows of the resources table.
    NotPossible = 6,
}

/// What was asked for and not done, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The kind of reason.
    pub code: RefusalCode,
    /// The reason in words.
    pub message: String,
}

impl Refusal {
    /// A refusal with [`RefusalCode::Denied`].
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(RefusalCode::Denied, message)
    }

    /// A refusal with [`RefusalCode::Unknown`].
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(RefusalCode::Unknown, message)
    }

    /// A refusal with [`RefusalCode::OutOfRange`].
    pub fn out_of_range(message: impl Into<String>) -> Self {
        Self::new(RefusalCode::OutOfRange, message)
    }

    /// A refusal with [`RefusalCode::Malformed`].
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(RefusalCode::Malformed, message)
    }

    /// A refusal with [`RefusalCode::Limit`].
    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(RefusalCode::Limit, message)
    }

    /// A refusal with [`RefusalCode::NotPossible`].
    pub fn not_possible(message: impl Into<String>) -> Self {
        Self::new(RefusalCode::NotPossible, message)
    }

    /// A refusal of any kind.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
