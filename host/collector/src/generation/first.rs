//! The first generation: what served last serves on, and what has not proved itself yet has to.
//!
//! A version that is in its file at the start may have come while the process was down, or was being tried when
//! it ended. With a strategy other than `immediate` the version that served last serves, and the other one is
//! tried beside it as after any swap. With `immediate` it serves, on probation.
//!
//! Without a `state_dir` nothing is known of what served last, and every version serves at once.

use std::collections::HashMap;

use super::{Attempt, Fresh, Look, Problem, Processors, Served, Unfit, Workshop};
use crate::config::processor::{self, Strategy};
use crate::config::{Component, Config};

impl Workshop {
    /// All processors of the first generation. Blocking, as [`Workshop::processors`] is.
    ///
    /// # Errors
    /// For every processor that cannot serve.
    pub fn first(&self, config: &Config) -> Result<Processors, Vec<Unfit>> {
        let last = config.used_processors().filter_map(|component| self.served_last(component, config));
        let (present, mut fresh): (HashMap<_, _>, Vec<_>) =
            last.map(|(served, fresh)| ((fresh.id.clone(), served), fresh)).unzip();
        let mut all = self.processors(config, &present, Look::Start)?;
        // What is tried is told of after that beside which it is tried.
        fresh.append(&mut all.fresh);
        for fresh in fresh.iter_mut().filter(|fresh| !fresh.is_candidate && fresh.module.is_some()) {
            let now = all.served.get(&fresh.id).map(|now| now.prepared.digest());
            fresh.from = self.versions.last(&fresh.id).filter(|last| Some(last.as_str()) != now);
        }
        Ok(Processors { fresh, ..all })
    }

    /// The version of a processor that served last, if another one is in the file and is to be tried first.
    fn served_last(&self, component: &Component<processor::Settings>, config: &Config) -> Option<(Served, Fresh)> {
        let (id, settings) = (component.id.to_string(), &component.settings);
        if settings.module.is_none() || settings.rollout.strategy == Strategy::Immediate {
            return None;
        }
        let last = self.versions.last(&id)?;
        // A file that cannot be used is told of when it is looked at for good.
        let in_file = self.verify(component, config, Look::Start, &mut Attempt::default()).ok()?;
        if in_file.digest() == last {
            return None;
        }
        let mut attempt = Attempt::default();
        match self.processor(component, None, config, Look::Kept(&id, &last), &mut attempt) {
            Ok((served, instances)) => {
                let Attempt { steps, module, .. } = attempt;
                let fresh = Fresh {
                    id,
                    from: None,
                    steps,
                    self_test: None,
                    module,
                    instances: instances.unwrap_or_default(),
                    is_candidate: false,
                    is_on_probation: false,
                    reason: None,
                };
                Some((served, fresh))
            }
            Err(Problem { reason, .. }) => {
                tracing::warn!(
                    event = "plugin.versions",
                    plugin = id,
                    digest = last,
                    reason,
                    "the version that served last cannot serve; the one in the file serves without being tried first"
                );
                None
            }
        }
    }
}
