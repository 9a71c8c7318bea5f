//! State moves: the instances of the version that serves hand over what they know to those of the next.
//!
//! What enters is a generation that is ready but for this. Each core is asked for its instances' snapshots
//! between two requests, and every new instance is given all of them, beside the cores. What the old
//! instances learn between that and the swap, some milliseconds later, is not moved: memory of instances
//! is a cache, and what must not be lost is in the plugin's store.
//!
//! A version that has the same layout (`schema`) and cannot read the snapshots does not serve. One that
//! comes back does all the same, and starts empty: going back must not fail for what the version that has to go
//! has written. One with another layout starts empty.
//!
//! A canary is given the state as it is when its trial begins, and when it is promoted its new instances are
//! given that of the version beside it, which has seen most of the traffic. A shadow starts empty.

use std::collections::HashMap;
use std::time::Instant;

use sluice_sandbox::{CallError, InstantiateError, Prepared};

use super::Collector;
use super::preparing::{self, Lost};
use crate::generation::{Fresh, Processors, Served, Unfit};
use crate::route::Routes;
use crate::swap::Trigger;
use crate::swap::event::Step;

/// What the instances of one plugin have handed over.
type Snapshots = Vec<Vec<u8>>;

impl Collector {
    /// Moves the state of what is replaced. Versions that cannot take over what they say that they can are
    /// the inner error.
    ///
    /// # Errors
    /// When the work was lost.
    pub(super) async fn hand_over(
        &self,
        processors: &mut Processors,
        trigger: Trigger,
    ) -> Result<Result<(), Vec<Unfit>>, Lost> {
        let started = Instant::now();
        let schema = |prepared: &Prepared| prepared.description().schema;
        let mut ids = Vec::new();
        for fresh in processors.fresh.iter().filter(|fresh| !fresh.instances.is_empty()) {
            let id = &fresh.id;
            let Some((before, next)) = self.served.get(id).zip(made(&processors.served, fresh)) else { continue };
            let (before, next) = (schema(&before.prepared), schema(next));
            if before == next {
                ids.push(id.clone());
            } else {
                tracing::info!(event = "plugin.state", plugin = id, outcome = "empty", before, next);
            }
        }
        if ids.is_empty() {
            return Ok(Ok(()));
        }
        let mut snapshots = self.snapshots(ids).await;
        let mut moving = Vec::new();
        for fresh in std::mem::take(&mut processors.fresh) {
            match snapshots.remove(&fresh.id).zip(made(&processors.served, &fresh).cloned()) {
                Some((snapshots, next)) => moving.push((fresh, snapshots, next)),
                None => processors.fresh.push(fresh),
            }
        }
        // A call of a plugin may take as long as its limit says, and there is one for each core.
        let work = move || moving.into_iter().map(|moves| take_over(moves, trigger, started)).collect();
        let moved: Vec<Result<Fresh, Box<Unfit>>> = preparing::aside(trigger.is_in_haste(), work).await?;
        let mut unfit = Vec::new();
        for fresh in moved {
            match fresh {
                Ok(fresh) => processors.fresh.push(fresh),
                Err(one) => unfit.push(*one),
            }
        }
        Ok(if unfit.is_empty() { Ok(()) } else { Err(unfit) })
    }

    /// What the instances of these plugins hand over, by plugin; those that hand over nothing are not in it.
    async fn snapshots(&self, ids: Vec<String>) -> HashMap<String, Snapshots> {
        let question = move |routes: &Routes| -> Vec<(String, Vec<u8>)> {
            let slots = routes.slots.iter().flatten().filter(|slot| ids.contains(&slot.plan.id));
            slots.filter_map(|slot| Some((slot.plan.id.clone(), slot.snapshot()?))).collect()
        };
        let mut all = HashMap::<_, Snapshots>::new();
        // Cores that have stopped have nothing to hand over; the process is ending.
        for (id, snapshot) in self.cores.ask(question).await.into_iter().flatten().flatten() {
            all.entry(id).or_default().push(snapshot);
        }
        all
    }
}

/// What the new instances of a plugin are instances of.
fn made<'s>(served: &'s HashMap<String, Served>, fresh: &Fresh) -> Option<&'s Prepared> {
    let served = served.get(&fresh.id)?;
    match &served.candidate {
        Some(candidate) if fresh.is_candidate => Some(&candidate.served.prepared),
        _ => Some(&served.prepared),
    }
}

/// Gives the snapshots to all new instances of a plugin.
fn take_over(
    (mut fresh, snapshots, prepared): (Fresh, Snapshots, Prepared),
    trigger: Trigger,
    started: Instant,
) -> Result<Fresh, Box<Unfit>> {
    let restored = fresh.instances.iter_mut().try_for_each(|instance| instance.restore(&snapshots));
    let (plugin, count) = (&fresh.id, snapshots.len());
    let bytes = snapshots.iter().map(Vec::len).sum::<usize>();
    let emptied: Result<(), CallError> = match restored {
        Ok(()) => {
            tracing::info!(event = "plugin.state", plugin, outcome = "restored", snapshots = count, bytes);
            Ok(())
        }
        Err(error) if trigger.goes_back() => {
            tracing::warn!(event = "plugin.state", plugin, outcome = "empty", snapshots = count, bytes, reason = %error);
            // Some may have taken a part.
            let instances =
                fresh.instances.iter().map(|_| prepared.instantiate()).collect::<Result<_, InstantiateError>>();
            instances.map(|instances| fresh.instances = instances).map_err(CallError::from)
        }
        Err(error) => Err(error),
    };
    fresh.steps.took(Step::Restore, started);
    let Err(error) = emptied else { return Ok(fresh) };
    let reason = format!(
        "it cannot take over what the version before knows: {error}; if it is not meant to, describe another `schema`"
    );
    let Fresh { id, from, steps, .. } = fresh;
    let to = Some(prepared.digest().to_owned());
    Err(Box::new(Unfit { id, step: Step::Restore, reason, word: "restore", config: Vec::new(), from, to, steps }))
}
