//! How a call of a plugin can fail.

use std::fmt;

/// The kinds of failure, in the words of metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The guest trapped: a panic, an access out of bounds, a borrow that it kept.
    Trap,
    /// The CPU time of the call, or ten times as much wall time, was spent; of one that is watched, all but a little of the
    /// former.
    Timeout,
    /// A call that is watched took as long as its time, but for a little, by the clock on the wall and not by that of the CPU, which
    /// others had meanwhile: it says nothing of the plugin.
    Overdue,
    /// The guest wanted more memory than its limit.
    Memory,
    /// The edits of the call were larger than the limit.
    Output,
    /// The call made more calls into the host than the limit.
    HostCalls,
    /// The plugin gave up after the host had refused it something.
    HostRefused,
    /// The plugin could not be configured anew.
    Configure,
    /// Lines of the log were dropped because there were too many. Never ends a call.
    Log,
    /// The plugin gave up, or went on, after an update of a metric was refused for its series.
    Metrics,
    /// The same for its store, which is full.
    Store,
}

impl FailureKind {
    /// The word in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::Overdue => "overdue",
            Self::Memory => "memory",
            Self::Output => "output",
            Self::HostCalls => "host_calls",
            Self::HostRefused => "host_refused",
            Self::Configure => "configure",
            Self::Log => "log",
            Self::Metrics => "metrics",
            Self::Store => "store",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is told of a failure is cut here: a plugin can make its message as long as its memory is large.
const MESSAGE_BYTES: usize = 4 << 10;
const BACKTRACE_BYTES: usize = 4 << 10;

/// Cuts a text that a plugin has written, and says so.
pub(crate) fn cut(text: &mut String, most_bytes: usize) {
    if text.len() > most_bytes {
        let told = format!("… (cut, it has {} bytes)", text.len());
        text.truncate(text.floor_char_boundary(most_bytes));
        text.push_str(&told);
        text.shrink_to_fit();
    }
}

impl CallError {
    /// The plugin says itself that it has failed.
    pub(crate) fn gave_up(kind: FailureKind, mut said: String) -> Self {
        cut(&mut said, MESSAGE_BYTES);
        Self { kind, message: format!("the plugin gave up: {said}"), backtrace: None }
    }

    /// A failure of which a plugin may have written what is told.
    pub(crate) fn told(kind: FailureKind, mut message: String, mut backtrace: Option<String>) -> Self {
        cut(&mut message, MESSAGE_BYTES);
        if let Some(backtrace) = &mut backtrace {
            cut(backtrace, BACKTRACE_BYTES);
        }
        Self { kind, message, backtrace }
    }
}

/// A call that failed. The batch is as it was before.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct CallError {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What happened, for the operator.
    pub message: String,
    /// The guest's functions on the stack, innermost first, if it trapped.
    pub backtrace: Option<String>,
}
