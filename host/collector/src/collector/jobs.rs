//! Jobs: what is to be done to the present generation, whoever wants it.
//!
//! What enters is an order of the admin API, or one that nobody waits for: a trigger, or what follows from a trial
//! or a probation. It is prepared aside, on the generation that serves then. If another one serves when that is done
//! it is prepared once more, on that one: what was put in place meanwhile must not be undone. What leaves is
//! how it ended.

use std::pin::Pin;
use std::sync::Arc;

use super::Collector;
use super::alone::Judged;
use super::preparing::{self, Lost};
use super::reload::{Next, Problem, Which, Work};
use crate::config::Source;
use crate::extension::admin::{Asked, Order};
use crate::generation::Candidate;
use crate::swap::Trigger;
use crate::swap::versions::RolledBack;

/// See the module.
pub(super) struct Job {
    order: Order,
    trigger: Trigger,
    /// Why, if it was not an operator who wanted it.
    reason: Option<String>,
    /// What came of it on a generation that serves no more.
    earlier: Option<Judged>,
}

/// What is to be done once it is in place.
pub(super) enum Then {
    /// Nothing.
    Nothing,
    /// What serves is remembered as rolled back no more.
    Allow(RolledBack),
    /// What has served must not serve again.
    Remember {
        /// That.
        digest: String,
        /// What serves instead.
        instead: String,
    },
    /// The trial of a candidate has ended.
    End {
        /// What serves.
        present: String,
        /// What was tried.
        candidate: Arc<Candidate>,
    },
}

/// What comes of a preparation.
pub(super) type Outcome = Result<Result<Next, Problem>, Lost>;

/// A job whose generation is being prepared.
pub(super) struct Preparation {
    job: Job,
    then: Then,
    /// How many generations had been put in place when it began.
    base: u64,
    /// The next generation, when it is ready.
    pub(super) next: Pin<Box<dyn Future<Output = Outcome>>>,
}

impl Job {
    /// What the admin API was asked for.
    pub(super) fn ordered(order: Order) -> Self {
        let trigger = match order.asked {
            Asked::Reload | Asked::Swap { .. } => Trigger::Admin,
            Asked::Rollback(_) => Trigger::Rollback,
            Asked::Promote(_) => Trigger::Promote,
            Asked::Abort(_) => Trigger::Abort,
        };
        Self { order, trigger, reason: None, earlier: None }
    }

    /// What nobody waits for.
    pub(super) fn of_itself(trigger: Trigger, asked: Asked) -> Self {
        Self { trigger, ..Self::ordered(Order::new(asked)) }
    }

    /// For this reason.
    pub(super) fn because(self, reason: String) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// Whether it is [quick](Asked::is_quick).
    pub(super) fn is_quick(&self) -> bool {
        self.order.asked.is_quick()
    }

    /// Whether it is about this plugin alone.
    pub(super) fn is_about(&self, id: &str) -> bool {
        self.order.asked.plugin() == Some(id)
    }
}

impl Collector {
    /// Begins to prepare what a job wants.
    pub(super) fn prepare(&self, mut job: Job, sources: &[Source]) -> Preparation {
        let trigger = job.trigger;
        let plan = match &job.order.asked {
            Asked::Reload => Ok((self.reload(sources, trigger, job.earlier.take()), Then::Nothing)),
            Asked::Swap { plugin, force } => Ok(self.look_again(plugin, *force)),
            Asked::Rollback(plugin) => self.roll_back(plugin, trigger, job.reason.clone()),
            Asked::Promote(plugin) => self.promote(plugin),
            Asked::Abort(plugin) => self.abort(plugin),
        };
        let (work, then) = plan.unwrap_or_else(|reason| {
            let work: Work = Box::new(move || Err(Problem::Order(reason)));
            (work, Then::Nothing)
        });
        Preparation { job, then, base: self.generation, next: Box::pin(preparing::aside(trigger.is_in_haste(), work)) }
    }

    /// To read the module of one plugin again. Everything else stays as it is, in the files as here.
    fn look_again(&self, plugin: &str, force: bool) -> (Work, Then) {
        let rolled_back = self.workshop.versions.rolled_back(plugin).filter(|_| force);
        (self.look_at(plugin, Which::Module { force }), rolled_back.map_or(Then::Nothing, Then::Allow))
    }

    /// Puts in place what was prepared, and tells how it ended. Gives the job that follows: the same once more, or
    /// another one.
    pub(super) async fn conclude(&mut self, preparation: Preparation, outcome: Outcome) -> Option<Job> {
        let Preparation { mut job, then, base, .. } = preparation;
        let outcome = match outcome {
            Ok(Ok(next)) if base != self.generation => {
                tracing::info!(
                    event = "reload",
                    trigger = job.trigger.as_str(),
                    outcome = "again",
                    "something else was put in place meanwhile; what is compiled is kept"
                );
                job.earlier = next.judged;
                return Some(job);
            }
            other => other,
        };
        let Job { order, trigger, reason, .. } = job;
        let mut done = self.put_in_place(outcome, trigger).await;
        let plugin = order.asked.plugin().unwrap_or_default();
        let mut follows = None;
        match (&done.error, then) {
            (None, Then::Nothing) => {}
            (None, Then::Allow(rolled_back)) => self.allow(plugin, rolled_back),
            (None, Then::Remember { digest, instead }) => self.remember(plugin, &digest, &instead),
            (None, Then::End { present, candidate }) => {
                done.swaps.push(self.ended(plugin, (&present, &candidate), trigger, reason));
            }
            (Some(error), _) => match (trigger, &order.asked) {
                (Trigger::Probation, _) => self.serves_on(plugin, error).await,
                // It would be tried for ever.
                (Trigger::Trial(_), Asked::Promote(_)) => {
                    let abort = Job::of_itself(trigger, Asked::Abort(plugin.to_owned()));
                    follows = Some(abort.because(error.clone()));
                }
                _ => {}
            },
        }
        order.done(done);
        follows
    }
}
