//! Each processor judged alone: the configuration is the same, so that what is new is modules and files.
//!
//! What enters is the present generation. What leaves is the next one, in which each plugin whose new version
//! cannot serve keeps the one that it has, and why. A version that was refused is remembered by the state of the
//! files that it is made of. A change of other files does not have it tried and told of again.

use std::collections::HashMap;

use crate::config::{Component, Config, processor};
use crate::generation::{Look, Processors, Served, Unfit, Workshop};
use crate::reread::Stamp;
use crate::swap::Trigger;

/// The state of a processor's files.
type Stamps = Vec<Option<Stamp>>;

/// Of the processors whose last version was refused, the state of their files then, by id.
#[derive(Clone, Default)]
pub(super) struct Refused(HashMap<String, Stamps>);

/// What came of it.
#[derive(Default)]
pub(super) struct Judged {
    /// The state of the files of all processors, from before they were read.
    stamps: HashMap<String, Stamps>,
    /// Those that were not tried again.
    passed_by: Vec<String>,
    unfit: Vec<Unfit>,
}

/// Looks at the module of each processor that serves. Blocking, and slow when something has to be compiled. What
/// was refused `earlier`, in the same attempt, stays refused.
pub(super) fn judge(
    workshop: &Workshop,
    config: &Config,
    present: HashMap<String, Served>,
    (refused, earlier): (&Refused, Option<Judged>),
    trigger: Trigger,
) -> (Processors, Judged) {
    let mut earlier = earlier.unwrap_or_default();
    let mut all = Processors { served: present, ..Processors::default() };
    let mut judged = Judged::default();
    // Somebody who asks wants an answer.
    let passes_by = matches!(trigger, Trigger::File | Trigger::Turn);
    for component in config.used_processors() {
        let (id, stamps) = (component.id.to_string(), stamps(component));
        if passes_by && refused.0.get(&id) == Some(&stamps) {
            judged.passed_by.push(id.clone());
        } else if let Some(unfit) = earlier.refusal(&id, &stamps, all.served.get(&id)) {
            judged.unfit.push(unfit);
        } else {
            // Those before it count as they will be: of two in a chain one has a canary.
            match workshop.processors(config, &all.served, Look::Only(&id)) {
                Ok(one) => {
                    all.served = one.served;
                    all.fresh.extend(one.fresh);
                    all.waiting.extend(one.waiting);
                }
                Err(unfit) => judged.unfit.extend(unfit),
            }
        }
        judged.stamps.insert(id, stamps);
    }
    (all, judged)
}

fn stamps(component: &Component<processor::Settings>) -> Stamps {
    component.settings.files().map(|file| Stamp::of(&file)).collect()
}

impl Judged {
    /// Why a processor was refused, if its files are as they were then and the same version serves.
    fn refusal(&mut self, id: &str, stamps: &Stamps, now: Option<&Served>) -> Option<Unfit> {
        let now = now.map(|now| now.prepared.digest());
        let is_it = |unfit: &Unfit| unfit.id == id && unfit.from.as_deref() == now;
        let place = self.unfit.iter().position(is_it).filter(|_| self.stamps.get(id) == Some(stamps))?;
        Some(self.unfit.swap_remove(place))
    }

    /// Has processors that cannot serve after all keep the version that serves.
    pub(super) fn leave_out(
        &mut self,
        unfit: Vec<Unfit>,
        next: &mut HashMap<String, Served>,
        present: &HashMap<String, Served>,
    ) {
        for unfit in unfit {
            if let Some(now) = present.get(&unfit.id) {
                next.insert(unfit.id.clone(), now.clone());
            }
            self.unfit.push(unfit);
        }
    }

    /// Notes what was refused, and gives why.
    pub(super) fn end(self, refused: &mut Refused) -> Vec<Unfit> {
        let Self { mut stamps, passed_by, unfit } = self;
        stamps.retain(|id, _| passed_by.contains(id) || unfit.iter().any(|unfit| unfit.id == *id));
        refused.0 = stamps;
        unfit
    }
}
