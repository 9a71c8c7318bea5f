//! The probation: what serves anew and goes beyond a bound goes, and the version before comes back.
//!
//! Seen from the control loop: counts go in, a verdict comes out. Failures are those of calls, whatever
//! became of their spans; a version is judged by its own calls alone. Cores count nothing more for it than
//! they always do: what calls take is known of those with which batches are kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bounds::Window;
use super::recent::Recent;
use crate::chain::{PluginStats, Totals};
use crate::config::processor::Rollout;
use crate::generation::Served;

/// A version on probation.
pub struct Probation {
    /// The component id.
    pub plugin: String,
    /// Its digest.
    pub digest: String,
    rollout: Rollout,
    began: Instant,
    /// Where the present window begins.
    mark: Totals,
    stats: Arc<PluginStats>,
    recent: Arc<Recent>,
    /// What calls took before.
    usual: Option<Duration>,
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
    /// Begins now, with what serves from now on.
    pub fn begin(plugin: &str, now: &Served) -> Self {
        Self::of(plugin, now.prepared.digest(), &now.settings.rollout, &now.stats, &now.recent)
    }

    fn of(plugin: &str, digest: &str, rollout: &Rollout, stats: &Arc<PluginStats>, recent: &Arc<Recent>) -> Self {
        Self {
            plugin: plugin.to_owned(),
            digest: digest.to_owned(),
            rollout: rollout.clone(),
            began: Instant::now(),
            mark: stats.totals(),
            stats: Arc::clone(stats),
            usual: recent.usual(),
            recent: Arc::clone(recent),
        }
    }

    /// Whether the version with these figures is the one that is watched. Another configuration has others.
    pub fn is_of(&self, stats: &Arc<PluginStats>) -> bool {
        Arc::ptr_eq(&self.stats, stats)
    }

    /// How it does so far.
    pub fn judge(&mut self) -> Verdict {
        let totals = self.stats.totals();
        let window = Window {
            calls: totals.calls.saturating_sub(self.mark.calls),
            failures: totals.failures.saturating_sub(self.mark.failures),
            spans: totals.spans.saturating_sub(self.mark.spans),
            dropped: totals.dropped.saturating_sub(self.mark.dropped),
            took: self.recent.usual_now(self.began),
            usual: self.usual,
        };
        if let Some(reason) = window.breach(&self.rollout) {
            return Verdict::Failed(reason);
        }
        if window.is_full() {
            self.mark = totals;
        }
        if self.began.elapsed() >= self.rollout.probation { Verdict::Passed } else { Verdict::Watch }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::chain::PluginMetrics;
    use crate::series::Aggregates;
    use crate::telemetry::metrics::Metrics;

    fn on_probation(rollout: &Rollout) -> (Probation, Arc<Recent>) {
        let metrics = PluginMetrics::new(Metrics::default().registry(), &Aggregates::default()).unwrap();
        let stats = Arc::new(metrics.plugin("wasm/a", "1", "d", None, 0));
        let recent = Arc::new(Recent::default());
        (0..10).for_each(|_| recent.note(Instant::now(), Duration::from_micros(100)));
        (Probation::of("wasm/a", "d", rollout, &stats, &recent), recent)
    }

    #[test]
    fn time_passes_it() {
        let (mut probation, _) = on_probation(&Rollout { probation: Duration::from_hours(1), ..Rollout::default() });
        assert_eq!(probation.judge(), Verdict::Watch);
        let (mut probation, _) = on_probation(&Rollout { probation: Duration::ZERO, ..Rollout::default() });
        assert_eq!(probation.judge(), Verdict::Passed);
    }

    #[test]
    fn calls_that_take_longer_than_those_before_end_it() {
        let (mut probation, recent) = on_probation(&Rollout::default());
        (0..6).for_each(|_| recent.note(Instant::now(), Duration::from_micros(299)));
        assert_eq!(probation.judge(), Verdict::Watch);
        (0..6).for_each(|_| recent.note(Instant::now(), Duration::from_micros(500)));
        assert!(matches!(probation.judge(), Verdict::Failed(reason) if reason.contains("max_latency_ratio is 3")));
    }
}
