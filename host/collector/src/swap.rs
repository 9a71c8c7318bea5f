//! Swaps: what starts one, and what is told of it.

pub mod event;
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
}

impl Trigger {
    /// The name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Sighup => "sighup",
            Self::Admin => "admin",
        }
    }
}
