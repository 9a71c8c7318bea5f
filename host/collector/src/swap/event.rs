//! What is told of a swap: how long each step took, how it ended.

use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use serde_json::json;

use super::self_test::Report;
use super::trial::{self, Phase};

/// A step of a swap, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its look-up tables are read.
    Read,
    /// The module is read; its size, digest, signature and contract are checked.
    Verify,
    /// The module is compiled or found in the cache.
    Compile,
    /// The plugin describes itself and takes its configuration; access is checked.
    Configure,
    /// The plugin works on recent batches, and nothing of it counts.
    SelfTest,
    /// An instance for every core is made.
    Instantiate,
    /// The instances that serve hand over what they know to the new ones.
    Restore,
    /// It is tried on a share of the spans.
    Trial(Phase),
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
            Self::SelfTest => "self_test",
            Self::Instantiate => "instantiate",
            Self::Restore => "restore",
            Self::Trial(phase) => phase.as_str(),
            Self::Swap => "swap",
        }
    }
}

/// How long the steps took, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Steps(Vec<(Step, Duration)>);

impl Steps {
    /// Notes a step that began at `started` and has just ended.
    pub fn took(&mut self, step: Step, started: Instant) {
        self.0.push((step, started.elapsed()));
    }

    /// Those of which no event has told before: the first ones of a candidate were told when its trial began.
    pub fn untold(&self) -> impl Iterator<Item = (Step, Duration)> {
        let from = self.0.iter().rposition(|(step, _)| matches!(step, Step::Trial(_)));
        self.0.iter().skip(from.unwrap_or(0)).copied()
    }
}

/// Milliseconds by step.
impl Serialize for Steps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Microseconds are fine enough.
        let millis = |took: Duration| took.as_micros() as f64 / 1e3;
        serializer.collect_map(self.0.iter().map(|(step, took)| (step.as_str(), millis(*took))))
    }
}

/// How an attempt to change a plugin ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Swap {
    /// The component id.
    pub plugin: String,
    /// The digest that served before, if any did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The digest that was to serve, if its file could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What started it.
    pub trigger: &'static str,
    /// The last step.
    pub step: &'static str,
    /// How long each step took.
    pub ms: Steps,
    /// `swapped`, `candidate` (it is tried), `superseded` (another came while it was tried), `rolled_back`
    /// or `failed`.
    pub outcome: &'static str,
    /// What the version did in its self-test, if it passed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_test: Option<Report>,
    /// How its trial went, if it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<trial::Report>,
    /// Why it has failed, or why the version before had to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Swap {
    /// Writes the event.
    pub fn log(&self, capabilities: &[String]) {
        let Self { plugin, from, to, trigger, step, outcome, reason, .. } = self;
        let (from, to) = (from.as_deref().unwrap_or_default(), to.as_deref().unwrap_or_default());
        let (steps, capabilities) = (json!(self.ms).to_string(), capabilities.join(","));
        let self_test = json!(self.self_test).to_string();
        let trial = json!(self.trial).to_string();
        match reason {
            None => tracing::info!(
                event = "plugin.swap",
                plugin,
                from,
                to,
                trigger,
                step,
                capabilities,
                json.ms = steps,
                json.self_test = self_test,
                json.trial = trial,
                outcome
            ),
            Some(reason) => tracing::error!(
                event = "plugin.swap",
                plugin,
                from,
                to,
                trigger,
                step,
                json.ms = steps,
                json.trial = trial,
                outcome,
                reason
            ),
        }
    }
}
