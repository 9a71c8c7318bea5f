//! Swaps: what starts one, and what is told of it.

pub mod bounds;
pub mod counts;
pub mod differences;
pub mod event;
pub mod late;
pub mod probation;
pub mod recent;
pub mod self_test;
pub mod side_by_side;
pub mod trial;
pub mod versions;
pub mod watch;

use trial::Phase;

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
    /// A version that went beyond a bound after it came, to go back.
    Probation,
    /// The trial of a candidate, which is over.
    Trial(Phase),
    /// The end of a trial that another version has waited for.
    Turn,
    /// The admin API, to have a candidate serve.
    Promote,
    /// The admin API, to let go of a candidate.
    Abort,
}

impl Trigger {
    /// Whether a version that was before comes back.
    pub fn goes_back(self) -> bool {
        matches!(self, Self::Rollback | Self::Probation)
    }

    /// Whether a version that has to go may be there until it is done.
    pub fn is_in_haste(self) -> bool {
        self.goes_back() || matches!(self, Self::Trial(_) | Self::Abort)
    }

    /// The name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Sighup => "sighup",
            Self::Admin => "admin",
            Self::Rollback => "rollback",
            Self::Probation => "probation",
            Self::Trial(phase) => phase.as_str(),
            Self::Turn => "turn",
            Self::Promote => "promote",
            Self::Abort => "abort",
        }
    }
}
