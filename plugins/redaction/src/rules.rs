//! The rules that a configuration means.

use std::ops::Range;

use regex::bytes::Regex;
use sluice_sdk::prelude::*;
use sluice_sdk::{Section, fields};

use crate::detect::Detector;
use crate::replace::Mode;
use crate::sanitize::Sanitizers;
use crate::summary::{self, Summary};

/// What a key alone decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Neither key nor value is looked at further.
    Keep,
    /// The attribute goes.
    Remove,
    /// The value is replaced whole.
    Mask,
    /// The value is looked at.
    Scan,
}

/// Places in which values are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scan(u8);

impl Scan {
    /// The places by their names, a bit each; the first five are the tables in order.
    pub const NAMES: [&'static str; 8] = ["resource", "scope", "span", "event", "link", "name", "status", "tracestate"];
    pub const ALL: Self = Self(u8::MAX);
    pub const NAME: Self = Self(1 << 5);
    pub const STATUS: Self = Self(1 << 6);
    pub const TRACESTATE: Self = Self(1 << 7);

    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().position(|known| *known == name).map(|bit| Self(1 << bit))
    }

    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The attributes of a table.
    pub fn attributes(table: Table) -> Self {
        Self(1 << table as u8)
    }

    /// The place in which a section is; none for what is never looked at.
    pub fn place(section: &Section) -> Self {
        match (section.table, section.field) {
            (table, None) => Self::attributes(table),
            (Table::Spans | Table::Links, Some(fields::TRACE_STATE)) => Self::TRACESTATE,
            (Table::Spans, Some(fields::SPAN_NAME))
            | (Table::Events, Some(fields::EVENT_NAME))
            | (Table::Scopes, Some(fields::SCOPE_NAME | fields::SCOPE_VERSION)) => Self::NAME,
            (Table::Spans, Some(fields::STATUS_MESSAGE)) => Self::STATUS,
            _ => Self(0),
        }
    }
}

/// The rules.
pub struct Rules {
    pub allow_all_keys: bool,
    pub drops_unknown_fields: bool,
    pub redact_all_types: bool,
    pub mode: Mode,
    pub summary: Summary,
    pub scan: Scan,
    pub allowed: Vec<String>,
    pub ignored: Vec<String>,
    pub ignored_patterns: Vec<Regex>,
    pub blocked_keys: Vec<Regex>,
    pub blocked_values: Vec<Regex>,
    pub allowed_values: Vec<Regex>,
    pub detectors: Vec<Detector>,
    pub sanitizers: Sanitizers,
}

impl Rules {
    /// Whether keys must be looked at at all.
    pub fn looks_at_keys(&self) -> bool {
        !self.allow_all_keys
            || !self.blocked_keys.is_empty()
            || !self.ignored.is_empty()
            || !self.ignored_patterns.is_empty()
            || self.sanitizers.look_at_attributes()
    }

    /// Whether values must be looked at at all.
    pub fn looks_at_values(&self) -> bool {
        self.finds() || self.sanitizers.any() || self.counts_allowed()
    }

    /// Whether anything is looked for in values.
    pub fn finds(&self) -> bool {
        !self.blocked_values.is_empty() || !self.detectors.is_empty()
    }

    /// Whether values are looked at that nothing is looked for in, because the summary counts them.
    pub fn counts_allowed(&self) -> bool {
        self.summary != Summary::Silent && !self.allowed_values.is_empty()
    }

    /// What this configuration reads and writes.
    pub fn access(&self) -> Access {
        let mut access = Access::default();
        let mut grant = |grant: String| {
            let both = std::mem::take(&mut access);
            access = both.read(grant.clone()).write(grant);
        };
        for (name, table) in TABLES {
            let for_names = table == Table::Spans && self.sanitizers.look_at_names();
            if self.looks_at_keys() || for_names || self.scan.has(Scan::attributes(table)) {
                grant(format!("{name}.attributes:*"));
            }
        }
        let names = ["scopes.name", "scopes.version", "spans.name", "events.name"];
        let places: [(Scan, &[&str]); 3] = [
            (Scan::NAME, &names),
            (Scan::STATUS, &["spans.status_message"]),
            (Scan::TRACESTATE, &["spans.trace_state", "links.trace_state"]),
        ];
        for (_, fields) in places.into_iter().filter(|(place, _)| self.scan.has(*place)) {
            for field in fields {
                grant((*field).to_owned());
            }
        }
        if self.sanitizers.look_at_names() && !self.scan.has(Scan::NAME) {
            grant("spans.name".to_owned());
        }
        for (name, _) in TABLES {
            access = access.write(format!("{name}.overridden"));
            if self.drops_unknown_fields {
                access = access.write(format!("{name}.unknown"));
            }
        }
        access
    }

    /// What a key alone decides: as in the Collector, an ignored key passes whole, a key that is
    /// not allowed goes, a blocked key loses its value.
    pub fn key(&self, key: &str) -> Verdict {
        if self.ignored.iter().any(|ignored| ignored == key) || matches(&self.ignored_patterns, key.as_bytes()) {
            return Verdict::Keep;
        }
        let allowed = |key: &str| self.allowed.iter().any(|allowed| allowed == key) || summary::KEYS.contains(&key);
        if !self.allow_all_keys && !allowed(key) {
            return Verdict::Remove;
        }
        if matches(&self.blocked_keys, key.as_bytes()) { Verdict::Mask } else { Verdict::Scan }
    }

    /// Whether a value passes as it is, whatever is in it.
    pub fn allows(&self, value: &[u8]) -> bool {
        matches(&self.allowed_values, value)
    }

    /// The text with everything replaced that is found in it; `None` if nothing is, or if the text is
    /// allowed.
    pub fn replaced(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for detector in &self.detectors {
            detector.find(text, &mut found);
        }
        for pattern in &self.blocked_values {
            found.extend(pattern.find_iter(text).map(|hit| hit.range()).filter(|range| !range.is_empty()));
        }
        (!found.is_empty() && !self.allows(text)).then(|| self.mode.replace(text, found))
    }
}

/// The tables, as grants name them.
pub const TABLES: [(&str, Table); 5] = [
    ("resources", Table::Resources),
    ("scopes", Table::Scopes),
    ("spans", Table::Spans),
    ("events", Table::Events),
    ("links", Table::Links),
];

fn matches(patterns: &[Regex], text: &[u8]) -> bool {
    patterns.iter().any(|pattern| pattern.is_match(text))
}
