//! The upstreams of an exporter: one, or several of which the first that is there gets everything.
//!
//! A request goes through them in rounds. In a round it is offered to one after the other, in the order
//! of the configuration, those left out whose circuit is open or that have asked this request to come
//! later. When a round has come to nothing there is a pause, and the next one begins with the first.
//! So everything comes back to the first upstream with the first probe of its circuit that it answers.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Metrics;
use super::circuit::{Circuit, Leave, Verdict, after};
use super::retry::Schedule;
use super::sender::{Refusal, Retry, Transport};

/// One upstream.
pub(super) struct Upstream {
    /// The exporter that it is configured as; none if that is the one that sends.
    pub id: Option<String>,
    pub transport: Transport,
    circuit: Circuit,
}

/// All upstreams of an exporter, the best first.
pub(super) struct Upstreams {
    all: Vec<Upstream>,
    /// What is not tried again is tried without asking the circuits.
    patient: bool,
    /// A circuit lets through what it did not.
    changed: Arc<Notify>,
}

/// An upstream that may be tried.
pub(super) struct Turn<'u> {
    /// Its place among them.
    pub index: usize,
    pub upstream: &'u Upstream,
    /// None where circuits are not asked.
    pub leave: Option<Leave<'u>>,
}

/// What there is to do for a request.
enum Look<'u> {
    Go(Turn<'u>),
    /// Until then, or until something changes.
    Wait(Option<Instant>),
}

/// How far a request has come.
pub(super) struct Course {
    standing: Vec<Standing>,
    /// An upstream may have taken it although it did not say so.
    pub maybe_taken: bool,
}

/// How a request stands with one upstream.
#[derive(Clone, Default)]
struct Standing {
    /// It was tried in this round.
    tried: bool,
    /// It will never be taken there.
    over: bool,
    /// Not to be tried before.
    held: Option<Instant>,
}

impl Upstreams {
    /// With transports by the exporters that they are configured as.
    pub fn new(
        exporter: &str,
        transports: Vec<(Option<String>, Transport)>,
        schedule: Schedule,
        metrics: &Metrics,
    ) -> Self {
        let changed = Arc::new(Notify::new());
        let upstream = |(id, transport): (Option<String>, Transport)| {
            let shown = metrics.circuit(exporter, id.as_deref());
            let circuit = Circuit::new(exporter, id.clone(), schedule, shown, Arc::clone(&changed));
            Upstream { id, transport, circuit }
        };
        Self { all: transports.into_iter().map(upstream).collect(), patient: schedule.enabled, changed }
    }

    /// A request that begins its way; an upstream may have it already.
    pub fn course(&self, maybe_taken: bool) -> Course {
        Course { standing: vec![Standing::default(); self.all.len()], maybe_taken }
    }

    /// The first upstream that may be tried. Waits until there is one; in the course one of them must
    /// be left.
    pub async fn first(&self, course: &Course) -> Turn<'_> {
        // The usual case costs one lock.
        if let Look::Go(turn) = self.look(course) {
            return turn;
        }
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before looking, so that no change is missed.
            let _ = changed.as_mut().enable();
            match self.look(course) {
                Look::Go(turn) => return turn,
                Look::Wait(None) => changed.await,
                Look::Wait(Some(until)) => drop(tokio::time::timeout_at(until.into(), changed).await),
            }
        }
    }

    /// The next one that may be tried now in this round.
    pub fn another(&self, course: &Course) -> Option<Turn<'_>> {
        match self.look(course) {
            Look::Go(turn) => Some(turn),
            Look::Wait(_) => None,
        }
    }

    fn look(&self, course: &Course) -> Look<'_> {
        let now = Instant::now();
        let mut earliest: Option<Instant> = None;
        for (index, (upstream, standing)) in self.all.iter().zip(&course.standing).enumerate() {
            if standing.tried || standing.over {
                continue;
            }
            if !self.patient {
                return Look::Go(Turn { index, upstream, leave: None });
            }
            let until = match standing.held.filter(|held| *held > now) {
                Some(held) => Some(held),
                None => match upstream.circuit.verdict(now) {
                    Verdict::Go { probe } => {
                        return Look::Go(Turn { index, upstream, leave: Some(upstream.circuit.leave(probe)) });
                    }
                    Verdict::Wait(until) => until,
                },
            };
            earliest = [earliest, until].into_iter().flatten().min();
        }
        Look::Wait(earliest)
    }
}

impl Course {
    /// Notes that an upstream has not taken it, and may be asked again or not.
    pub fn refused(&mut self, index: usize, refusal: &Refusal, now: Instant) {
        self.maybe_taken |= refusal.maybe_taken;
        let Some(standing) = self.standing.get_mut(index) else { return };
        *standing = match refusal.retry {
            Retry::Later => Standing { tried: true, ..Standing::default() },
            Retry::After(asked) => Standing { tried: true, over: false, held: Some(after(now, asked)) },
            Retry::Never | Retry::NotThis | Retry::Done => Standing { over: true, ..Standing::default() },
        };
    }

    /// Whether no upstream will ever take it.
    pub fn is_over(&self) -> bool {
        self.standing.iter().all(|standing| standing.over)
    }

    /// Ends a round that has come to nothing. Gives how long all that are left want to be left alone.
    pub fn end_round(&mut self, now: Instant) -> Option<Duration> {
        let mut asked = None;
        for standing in self.standing.iter_mut().filter(|standing| !standing.over) {
            standing.tried = false;
            let wants = standing.held.map_or(Duration::ZERO, |held| held.saturating_duration_since(now));
            asked = Some(asked.map_or(wants, |least: Duration| least.min(wants)));
        }
        asked.filter(|asked| !asked.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn refusal(retry: Retry) -> Refusal {
        Refusal { reason: "r".to_owned(), message: String::new(), retry, maybe_taken: false }
    }

    fn course(upstreams: usize) -> Course {
        Course { standing: vec![Standing::default(); upstreams], maybe_taken: false }
    }

    #[test]
    fn only_what_all_ask_for_makes_a_pause_longer() {
        let now = Instant::now();
        let mut one = course(1);
        one.refused(0, &refusal(Retry::After(60 * SECOND)), now);
        assert_eq!(one.end_round(now), Some(60 * SECOND));
        let mut two = course(2);
        two.refused(0, &refusal(Retry::After(60 * SECOND)), now);
        two.refused(1, &refusal(Retry::After(2 * SECOND)), now);
        assert_eq!(two.end_round(now), Some(2 * SECOND));
        two.refused(1, &refusal(Retry::Later), now);
        assert_eq!(two.end_round(now), None, "the second one asks for nothing");
    }

    #[test]
    fn one_that_refuses_us_is_out_and_the_other_is_not_waited_for_in_vain() {
        let now = Instant::now();
        let mut two = course(2);
        two.refused(0, &refusal(Retry::Never), now);
        assert!(!two.is_over());
        two.refused(1, &refusal(Retry::After(SECOND)), now);
        assert_eq!(two.end_round(now), Some(SECOND), "the one that is out asks for nothing");
        two.refused(1, &refusal(Retry::Never), now);
        assert!(two.is_over());
    }
}
