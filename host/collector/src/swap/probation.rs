//! The probation: what serves anew and goes beyond a bound goes, and the version before comes back.
//!
//! Seen from the control loop: counts go in, a verdict comes out. Failures are those of calls, whatever
//! became of their spans; a version is judged by its own calls alone. Cores count nothing more for it than
//! they always do: what calls take is known of those with which batches are kept.
//!
//! Calls may take longer because batches have become larger. What that explains is no reason to go: then both versions
//! are compared side by side on the batches that came last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_sandbox::Prepared;

use super::bounds::{Times, Window};
use super::recent::{Recent, Usual};
use super::side_by_side;
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
    /// What calls were like before.
    usual: Option<Usual>,
    /// The version before.
    before: Option<Prepared>,
    /// When both may be compared side by side.
    compare: Instant,
    /// It is too slow, side by side.
    too_slow: Option<String>,
}

/// What calls take on live traffic.
struct Live {
    /// Beside what they took before.
    plain: Times,
    /// Beside what they would have taken at most before, with batches as large as now.
    sized: Times,
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
    /// Begins now, with what serves from now on in the place of the version before.
    pub fn begin(plugin: &str, now: &Served, before: Option<&Served>) -> Self {
        let begun = Self::of(plugin, now.prepared.digest(), &now.settings.rollout, &now.stats, &now.recent);
        Self { before: before.map(|before| before.prepared.clone()), ..begun }
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
            before: None,
            compare: Instant::now(),
            too_slow: None,
        }
    }

    /// Whether the version with these figures is the one that is watched. Another configuration has others.
    pub fn is_of(&self, stats: &Arc<PluginStats>) -> bool {
        Arc::ptr_eq(&self.stats, stats)
    }

    /// The version before, if it is time to compare both side by side: calls take too long, and it may be for the size
    /// of the batches alone.
    pub fn is_to_be_compared(&self) -> Option<&Prepared> {
        let Live { plain, sized } = self.live()?;
        let may_be_for_size = plain.is_beyond(&self.rollout) && !sized.is_beyond(&self.rollout);
        self.before.as_ref().filter(|_| may_be_for_size && Instant::now() >= self.compare)
    }

    /// Takes note of what calls of both take side by side, if that could be told, and how long it took to find out.
    pub fn compared(&mut self, times: Option<Times>, cost: Duration) {
        self.too_slow = times.and_then(|times| times.breach(&self.rollout));
        self.compare = side_by_side::again(cost);
    }

    fn live(&self) -> Option<Live> {
        let (usual, now) = (self.usual?, self.recent.usual_now(self.began)?);
        let plain = Times { took: now.took, usual: usual.took };
        Some(Live { plain, sized: Times { usual: usual.took.mul_f64(usual.growth(&now)), ..plain } })
    }

    /// How it does so far: `has_done_well` if a call has ever gone well, `is_open` if it is not called until a probe
    /// does.
    pub fn judge(&mut self, has_done_well: bool, is_open: bool) -> Verdict {
        let (totals, times) = (self.stats.totals(), self.live().map(|live| live.sized));
        let window = Window {
            calls: totals.calls.saturating_sub(self.mark.calls),
            failures: totals.failures.saturating_sub(self.mark.failures),
            spans: totals.spans.saturating_sub(self.mark.spans),
            dropped: totals.dropped.saturating_sub(self.mark.dropped),
            took: times.map(|times| times.took),
            usual: times.map(|times| times.usual),
        };
        if let Some(reason) = window.breach(&self.rollout).or_else(|| self.too_slow.take()) {
            return Verdict::Failed(reason);
        }
        if window.is_full() {
            self.mark = totals;
        }
        if self.began.elapsed() < self.rollout.probation {
            return Verdict::Watch;
        }
        // Without a good call no window was ever full: this one is all of the probation.
        if let Some(reason) = window.only_fails(&self.rollout).filter(|_| !has_done_well) {
            return Verdict::Failed(reason);
        }
        // What is not called proves nothing: a probe goes well, or more of them fail, unless failures do not matter.
        if is_open && self.rollout.max_failure_ratio < 1.0 { Verdict::Watch } else { Verdict::Passed }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::chain::PluginMetrics;
    use crate::series::Aggregates;
    use crate::swap::recent::Call;
    use crate::telemetry::metrics::Metrics;

    fn on_probation(rollout: &Rollout) -> (Probation, Arc<Recent>) {
        let metrics = PluginMetrics::new(Metrics::default().registry(), &Aggregates::default()).unwrap();
        let (stats, recent) = (Arc::new(metrics.plugin("wasm/a", "1", None, 0)), Arc::new(Recent::default()));
        call(&recent, 10, 100, 10);
        (Probation::of("wasm/a", "d", rollout, &stats, &recent), recent)
    }

    fn call(recent: &Recent, times: u32, micros: u64, spans: u32) {
        let took = Duration::from_micros(micros);
        (0..times).for_each(|_| recent.note(Call { at: Instant::now(), took, spans, bytes: 500 }));
    }

    /// How a version does that is called, and does well at times.
    fn judge(probation: &mut Probation) -> Verdict {
        probation.judge(true, false)
    }

    #[test]
    fn time_passes_it() {
        let (mut probation, _) = on_probation(&Rollout { probation: Duration::from_hours(1), ..Rollout::default() });
        assert_eq!(judge(&mut probation), Verdict::Watch);
        let (mut probation, _) = on_probation(&Rollout { probation: Duration::ZERO, ..Rollout::default() });
        assert_eq!(judge(&mut probation), Verdict::Passed);
        assert_eq!(probation.judge(false, false), Verdict::Passed, "nobody has called it");
    }

    #[test]
    fn time_does_not_pass_it_while_its_breaker_is_open() {
        let over = Rollout { probation: Duration::ZERO, ..Rollout::default() };
        let (mut probation, _) = on_probation(&over);
        assert_eq!(probation.judge(true, true), Verdict::Watch);
        let (mut probation, _) = on_probation(&Rollout { max_failure_ratio: 1.0, ..over });
        assert_eq!(probation.judge(true, true), Verdict::Passed, "failures are no reason to go");
    }

    #[test]
    fn calls_that_take_longer_than_those_before_end_it() {
        let (mut probation, recent) = on_probation(&Rollout::default());
        call(&recent, 6, 299, 10);
        assert_eq!(judge(&mut probation), Verdict::Watch);
        call(&recent, 6, 500, 10);
        assert!(matches!(judge(&mut probation), Verdict::Failed(reason) if reason.contains("max_latency_ratio is 3")));
    }

    #[test]
    fn what_larger_batches_explain_does_not_end_it() {
        let (mut probation, recent) = on_probation(&Rollout::default());
        call(&recent, 6, 1_500, 50);
        assert_eq!(judge(&mut probation), Verdict::Watch, "five times as large, within three times as long");
        let micros = |took, usual| Times { took: Duration::from_micros(took), usual: Duration::from_micros(usual) };
        probation.compared(Some(micros(1_500, 500)), Duration::ZERO);
        assert_eq!(judge(&mut probation), Verdict::Watch);
        // Side by side, it is for the version.
        probation.compared(Some(micros(1_500, 499)), Duration::ZERO);
        assert!(matches!(judge(&mut probation), Verdict::Failed(reason) if reason.contains("499.0µs before")));
        call(&recent, 6, 1_501, 50);
        assert!(matches!(judge(&mut probation), Verdict::Failed(reason) if reason.contains("500.0µs before")));
    }
}
