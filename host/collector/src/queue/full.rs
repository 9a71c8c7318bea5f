//! Why a queue takes nothing.

/// The queue has no room. Nothing was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the queue of exporter {exporter} is {why}")]
pub struct Full {
    /// The exporter's component id.
    pub exporter: String,
    /// Why there is no room.
    pub why: NoRoom,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// It holds as much as it may.
    #[error("full")]
    Full,
    /// It takes nothing any more.
    #[error("closed")]
    Closed,
    /// Its disk does not keep up.
    #[error("behind with writing to its disk")]
    Behind,
    /// The request would not fit into it if it were empty.
    #[error("smaller than this request")]
    TooLarge,
}
