//! What a plugin may do beside reading and editing batches, and what the host provides for it.

use std::sync::Arc;

use sluice_state::{LiveTable, Store};

/// The names of all capabilities, as descriptions and configurations write them.
pub const CAPABILITIES: [&str; 6] = ["log", "metrics", "clock", "random", "store", "tables"];

/// The capability interfaces of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capability {
    Log,
    Metrics,
    Clock,
    Random,
    Store,
    Tables,
}

impl Capability {
    /// All of them. A capability's place is its bit.
    pub(crate) const ALL: [Self; 6] = [Self::Log, Self::Metrics, Self::Clock, Self::Random, Self::Store, Self::Tables];

    /// Its name in descriptions and configurations, and of its interface.
    pub(crate) fn name(self) -> &'static str {
        let [log, metrics, clock, random, store, tables] = CAPABILITIES;
        match self {
            Self::Log => log,
            Self::Metrics => metrics,
            Self::Clock => clock,
            Self::Random => random,
            Self::Store => store,
            Self::Tables => tables,
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.name() == name)
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// What the instances of a plugin are given. The default is nothing, as while it is set up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Provided {
    granted: u32,
    /// The seed of every instance's random numbers; each has its own without it.
    pub(crate) seed: Option<u64>,
    /// The plugin's store, if it has that capability.
    pub(crate) store: Option<Arc<Store>>,
    /// The look-up tables, by name.
    pub(crate) tables: Vec<(String, Arc<LiveTable>)>,
}

impl Provided {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self { seed, ..Self::default() }
    }

    pub(crate) fn grant(&mut self, capability: Capability) {
        self.granted |= capability.bit();
    }

    pub(crate) fn grants(&self, capability: Capability) -> bool {
        self.granted & capability.bit() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_granted_is_not() {
        let mut provided = Provided::default();
        assert!(Capability::ALL.iter().all(|&capability| !provided.grants(capability)));
        provided.grant(Capability::Clock);
        let granted = Capability::ALL.into_iter().filter(|&capability| provided.grants(capability));
        assert_eq!(granted.map(Capability::name).collect::<Vec<_>>(), ["clock"]);
    }
}
