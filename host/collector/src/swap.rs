//! Swaps: what starts one, and what is told of it.

pub mod event;
pub mod probation;
pub mod recent;
pub mod self_test;
pub mod versions;
pub mod watch;

/// What started a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// A file changed: a configuration or a module.
    File,
    /// SIGHUP.
    Sighup,
    /// The admin API.
    Admin,
    /// The admin API, to go back.
    Rollback,
    /// A version that failed too often after it came, to go back.
    Probation,
}

impl Trigger {
    /// Whether a version that was before comes back.
    pub fn goes_back(self) -> bool {
        matches!(self, Self::Rollback | Self::Probation)
    }

    /// The name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Sighup => "sighup",
            Self::Admin => "admin",
            Self::Rollback => "rollback",
            Self::Probation => "probation",
        }
    }
}
