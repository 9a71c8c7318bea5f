//! The probation: what serves anew and fails too often goes, and the version before comes back.
//!
//! Seen from the control loop: counts go in, a verdict comes out. Failures are those of calls, whatever
//! became of their spans; a version is judged by its own calls alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chain::PluginStats;
use crate::config::processor::Rollout;

/// Fewer failures say nothing: a sender may send one bad request again. A plugin that has failed is
/// not called for a while, so more of them would take seconds.
const MIN_FAILURES: u64 = 3;

/// A version on probation.
pub struct Probation {
    /// The component id.
    pub plugin: String,
    /// Its digest.
    pub digest: String,
    rollout: Rollout,
    began: Instant,
    /// Calls of the plugin before, whichever version served.
    calls_before: u64,
    stats: Arc<PluginStats>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on watching.
    Watch,
    /// It has proved itself.
    Passed,
    /// It has to go, for this reason.
    Failed(String),
}

impl Probation {
    /// Begins now.
    pub fn begin(plugin: &str, digest: &str, rollout: &Rollout, stats: &Arc<PluginStats>) -> Self {
        Self {
            plugin: plugin.to_owned(),
            digest: digest.to_owned(),
            rollout: rollout.clone(),
            began: Instant::now(),
            calls_before: stats.calls(),
            stats: Arc::clone(stats),
        }
    }

    /// Whether the version with these figures is the one that is watched. Another configuration has others.
    pub fn is_of(&self, stats: &Arc<PluginStats>) -> bool {
        Arc::ptr_eq(&self.stats, stats)
    }

    /// How it does so far.
    pub fn judge(&self) -> Verdict {
        let calls = self.stats.calls().saturating_sub(self.calls_before);
        judge(&self.rollout, self.began.elapsed(), calls, self.stats.failures())
    }
}

fn judge(rollout: &Rollout, age: Duration, calls: u64, failures: u64) -> Verdict {
    // A call is counted before its failure is, but on another core; never more than all have failed.
    let calls = calls.max(failures);
    if failures >= MIN_FAILURES && failures as f64 > calls as f64 * rollout.max_failure_ratio {
        return Verdict::Failed(format!("{failures} of {calls} calls have failed in the {age:.1?} since it serves"));
    }
    if age >= rollout.probation { Verdict::Passed } else { Verdict::Watch }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_failures_end_it_and_time_passes_it() {
        let rollout = Rollout { probation: Duration::from_secs(10), max_failure_ratio: 0.05 };
        let after = |seconds, calls, failures| judge(&rollout, Duration::from_secs(seconds), calls, failures);
        assert_eq!(after(1, 1000, 0), Verdict::Watch);
        assert_eq!(after(1, 2, 2), Verdict::Watch, "too few to tell");
        assert_eq!(after(1, 100, 5), Verdict::Watch, "within the bound");
        let failed = "6 of 100 calls have failed in the 1.0s since it serves";
        assert_eq!(after(1, 100, 6), Verdict::Failed(failed.to_owned()));
        assert!(matches!(after(1, 0, 5), Verdict::Failed(_)), "calls that are not counted yet");
        assert_eq!(after(10, 100, 5), Verdict::Passed);
        assert!(matches!(after(10, 100, 50), Verdict::Failed(_)), "at the end, too");
        let never = Rollout { max_failure_ratio: 1.0, ..rollout };
        assert_eq!(judge(&never, Duration::from_secs(1), 9, 9), Verdict::Watch);
    }
}
