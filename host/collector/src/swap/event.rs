//! What is told of a swap: how long each step took, how it ended.

use std::fmt;
use std::time::{Duration, Instant};

/// A step of a swap, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The configuration is read.
    Read,
    /// The module is read; its size, digest, signature and contract are checked.
    Verify,
    /// The module is compiled or found in the cache.
    Compile,
    /// The plugin describes itself and takes its configuration; access is checked.
    Configure,
    /// An instance for every core is made.
    Instantiate,
    /// The cores take the new version over, each between two requests.
    Swap,
}

impl Step {
    /// The name in events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Verify => "verify",
            Self::Compile => "compile",
            Self::Configure => "configure",
            Self::Instantiate => "instantiate",
            Self::Swap => "swap",
        }
    }
}

/// How long the steps took.
#[derive(Debug, Clone, Default)]
pub struct Steps(Vec<(Step, Duration)>);

impl Steps {
    /// Notes a step that began at `started` and has just ended.
    pub fn took(&mut self, step: Step, started: Instant) {
        self.0.push((step, started.elapsed()));
    }
}

/// A JSON object of milliseconds by step.
impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.0.iter().map(|(step, took)| format!("\"{}\":{:.3}", step.as_str(), took.as_secs_f64() * 1e3));
        write!(f, "{{{}}}", steps.collect::<Vec<_>>().join(","))
    }
}
