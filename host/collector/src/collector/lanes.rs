//! Two lanes in which generations are prepared beside the control loop, which goes on meanwhile.
//!
//! In the slow one modules are read and compiled, which takes up to their `compile_timeout`. In the quick one are
//! versions that have served or were tried: a bad one has to go although something is being compiled. Each lane
//! prepares one generation at a time. What else is wanted waits where it comes from: a channel of the watch or of
//! the desk, or a signal, so that many changes meanwhile are one reload later.
//!
//! What the quick lane has prepared is put in place first. What the slow one has is older then than what serves, and
//! is prepared once more (`jobs.rs`); what is compiled is in the cache.

use std::collections::VecDeque;
use std::time::Duration;

use super::Collector;
use super::jobs::{Job, Outcome, Preparation};
use crate::config::Source;

/// How long the process waits in the end for threads that prepare what nobody wants any more: they remove the files
/// that they have made. Those that are in a call of a plugin may take longer.
pub(super) const LEAVE_TIME: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Lanes {
    /// Where the configuration is read.
    sources: Vec<Source>,
    slow: Option<Preparation>,
    quick: Option<Preparation>,
    /// What the quick lane does next: what was found to be done at one look, at most one job for each plugin, or was
    /// ordered.
    due: VecDeque<Job>,
}

impl Lanes {
    /// Free lanes, for a configuration that is read there.
    pub(super) fn new(sources: Vec<Source>) -> Self {
        Self { sources, slow: None, quick: None, due: VecDeque::new() }
    }

    /// Whether a slow job may begin.
    pub(super) fn is_free(&self) -> bool {
        self.slow.is_none()
    }

    /// Whether a quick job may begin.
    pub(super) fn is_quick_free(&self) -> bool {
        self.quick.is_none()
    }

    /// Begins a job. Its lane has to be free, but for quick ones that are found at the same time.
    pub(super) fn begin(&mut self, collector: &Collector, job: Job) {
        if job.is_quick() {
            self.due.push_back(job);
            self.go_on(collector);
        } else {
            self.slow = Some(collector.prepare(job, &self.sources));
        }
    }

    /// Waits until a generation is prepared that is to be put in place next. For ever if there is nothing to
    /// wait for.
    pub(super) async fn prepared(&mut self) -> (Preparation, Outcome) {
        let lane = if self.quick.is_some() { &mut self.quick } else { &mut self.slow };
        if let Some(preparation) = lane {
            let outcome = (&mut preparation.next).await;
            if let Some(preparation) = lane.take() {
                return (preparation, outcome);
            }
        }
        std::future::pending().await
    }

    /// Puts it in place, and begins what follows.
    pub(super) async fn conclude(&mut self, collector: &mut Collector, (preparation, outcome): (Preparation, Outcome)) {
        if let Some(job) = collector.conclude(preparation, outcome).await {
            self.begin(collector, job);
        }
        self.go_on(collector);
    }

    fn go_on(&mut self, collector: &Collector) {
        if self.quick.is_none() {
            self.quick = self.due.pop_front().map(|job| collector.prepare(job, &self.sources));
        }
    }

    /// Leaves what is being prepared: whoever waits for it is told so now. What this gives waits until the threads
    /// have ended, for a moment.
    pub(super) fn leave(self) -> impl Future<Output = ()> {
        let threads: Vec<_> = [self.slow, self.quick].into_iter().flatten().map(|left| left.next).collect();
        async {
            let all = async {
                for thread in threads {
                    drop(thread.await);
                }
            };
            // Who takes longer ends with the process.
            let _ = tokio::time::timeout(LEAVE_TIME, all).await;
        }
    }
}
