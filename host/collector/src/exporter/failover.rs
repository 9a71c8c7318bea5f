//! The `failover` exporter: several upstreams, of which the first that is there gets everything.
//!
//! It has one queue and names other exporters: of those it takes how they send, and nothing else.
//! The module `upstreams` says which of them gets what.

use super::retry::Schedule;
use crate::config::section::Section;
use crate::config::{self, Named};
use crate::queue;

/// The settings of a `failover` exporter.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where to send, the best first.
    pub upstreams: Vec<Upstream>,
    /// When to try again what no upstream has taken.
    pub retry: Schedule,
    /// What waits.
    pub queue: queue::Settings,
}

/// An exporter that is named as an upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its id, and where it is named.
    pub named: Named,
    /// How it sends; none until references are resolved.
    pub settings: Option<super::Settings>,
}

impl Settings {
    /// Reads the settings.
    pub fn read(mut section: Section<'_>) -> Self {
        let named = config::ids(&mut section, "exporters");
        if named.len() < 2 {
            section.error("exporters", "a failover needs two `exporters` at least, the best first");
        }
        let upstreams = named.into_iter().map(|named| Upstream { named, settings: None }).collect();
        let queue = queue::Settings::read(&mut section, queue::Settings::default());
        let retry = Schedule::read(&mut section, queue.storage.is_some());
        section.finish();
        Self { upstreams, retry, queue }
    }
}
