//! What plugins refuse of a configuration that will not serve anyway.

use std::collections::HashMap;

use super::{Served, Unfit, Workshop};
use crate::config::Config;

impl Workshop {
    /// Asks every plugin in use whether it could serve; gives why one could not. Blocking, and slow when
    /// something has to be compiled.
    pub fn refused(&self, config: &Config, present: &HashMap<String, Served>) -> Vec<Unfit> {
        let refused = config.used_processors().filter_map(|component| {
            let unfit = *self.prepared(component, config).err()?;
            let from = present.get(&unfit.id).map(|now| now.prepared.digest().to_owned());
            Some(Unfit { from, ..unfit })
        });
        refused.collect()
    }
}
