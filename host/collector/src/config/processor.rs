//! What a processor is configured to do.
//!
//! Every processor that carries a rule is a plugin: of type `wasm` a module of the user's, of any
//! other type one that is in the binary. A bundled type's own keys go to the plugin as JSON; the
//! host's keys stand in the block `sluice:` there.

mod given;
mod host;
mod limiter;
mod rollout;
mod tables;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sluice_sandbox::{Access, Limits, Profile, PublicKey, signature_of};

use super::mark::Mark;
use super::node::Node;
use super::section::Section;
use super::tree::{Tree, Value};

pub use host::public_key;
pub(crate) use limiter::read as memory_limiter;
pub use rollout::{Rollout, Strategy};
pub use tables::{Facts, HOST as HOST_TABLE, Table};

/// The types of processors there are. Those that [`read`] does not know by name are plugins in the binary.
pub const TYPES: &[&str] = &[
    "attributes",
    "batch",
    "enrich",
    "filter",
    "geoip",
    "memory_limiter",
    "probabilistic_sampler",
    "redaction",
    "resource",
    "resource_detection",
    "resourcedetection",
    "span",
    "strategy_sampler",
    "transform",
    "wasm",
];

/// The block of the host's keys under a bundled type.
const HOST: &str = "sluice";

/// A processor.
#[derive(Debug, Clone, PartialEq)]
pub enum Processor {
    /// A plugin.
    Plugin(Box<Settings>),
    /// `memory_limiter`: how many bytes of requests may be on their way in.
    Limiter(u64),
    /// Accepted because the Collector's users have it; its work is done elsewhere.
    Elsewhere,
}

/// A plugin's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `wasm`, or the bundled type.
    pub kind: String,
    /// The module's file. A bundled type has its own unless it names one.
    pub module: Option<PathBuf>,
    /// SHA-256 that the module must have: 64 hexadecimal digits in lower case.
    pub sha256: Option<String>,
    /// The key that the module must be signed with, instead of those that hold for all.
    pub public_key: Option<PublicKey>,
    /// What the module may import.
    pub profile: Profile,
    /// What goes to the plugin.
    pub config_json: String,
    /// Where in the configuration each part of it stands.
    pub config_marks: Marks,
    /// What the plugin may use.
    pub limits: Limits,
    /// What becomes of the spans when the plugin fails.
    pub on_failure: OnFailure,
    /// What becomes of the few spans that the plugin fails on, if they are found. Absent: they are
    /// quarantined if there is a quarantine, else dropped.
    pub on_poison: Option<OnPoison>,
    /// How soon and how often the plugin is tried again after failures.
    pub restart: Restart,
    /// Says that a redactor may be passed by when it fails.
    pub unsafe_fail_open: bool,
    /// The operator's narrowing of what the plugin may see and edit.
    pub access: Option<Access>,
    /// The operator's narrowing of what else it may do.
    pub capabilities: Option<Vec<String>>,
    /// The look-up tables that it is given, by name.
    pub tables: Vec<(String, Table)>,
    /// How a new version of the module comes in.
    pub rollout: Rollout,
    /// Whether its store outlives the process.
    pub persistent_store: bool,
    /// How often one of its instances is told the time; zero for never.
    pub flush_interval: Duration,
    /// How its series are kept, if it is a connector.
    pub series: Option<crate::series::Settings>,
}

impl Settings {
    /// Of a plugin of this type with this configuration, and the host's keys at their defaults.
    pub fn of(kind: &str, config_json: String) -> Self {
        host::defaults(kind, config_json, Marks::default())
    }

    /// Whether both want the same of a plugin, whichever module that is.
    pub fn is_same_but_for_module(&self, other: &Self) -> bool {
        let rest = |of: &Self| Self { module: None, sha256: None, public_key: None, ..of.clone() };
        rest(self) == rest(other)
    }
}

/// What becomes of a request's spans when a plugin fails on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// The request is refused: its sender keeps the spans and tries again.
    #[default]
    Closed,
    /// They are dropped, and counted.
    Drop,
    /// They pass by the plugin.
    Open,
    /// They are set aside on disk, as they came to the plugin.
    Quarantine,
}

/// What becomes of the few spans of a request that a plugin fails on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPoison {
    /// They are set aside on disk, as they came to the plugin.
    Quarantine,
    /// They are dropped, and counted.
    Drop,
    /// The whole request is refused: its sender keeps it and tries again.
    Refuse,
    /// They pass by the plugin: what a connector cannot count is still for the other destinations.
    Pass,
}

/// How soon and how often a plugin is tried again after failures that are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// How long it is not called after the first failure. Every further one doubles it.
    pub initial_interval: Duration,
    /// How long at most.
    pub max_interval: Duration,
    /// Failures within the window that only make it pause. One more opens the breaker.
    pub budget: u32,
    /// How long a failure counts.
    pub window: Duration,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            // A sender that was refused comes back after a second.
            initial_interval: Duration::from_millis(100),
            max_interval: Duration::from_secs(30),
            budget: 5,
            window: Duration::from_mins(1),
        }
    }
}

/// Places in a plugin's configuration, by path: `traces.span[0]`.
#[derive(Debug, Clone, Default)]
pub struct Marks(Vec<(String, Mark)>);

/// The same configuration in another place is the same configuration.
impl PartialEq for Marks {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Settings {
    /// The files whose changes matter: the module, its signature (there need not be one), tables.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let tables = self.tables.iter().flat_map(|(_, table)| match table {
            Table::File(spec) => vec![spec.file.as_path()],
            Table::Host(facts) => facts.paths().collect(),
        });
        let module = self.module.iter().flat_map(|module| [module.clone(), signature_of(module)]);
        module.chain(tables.map(Path::to_owned))
    }

    /// Where a part of the plugin's configuration stands, or the nearest part around it that
    /// stands somewhere. Paths are written `traces.span[0]`, `traces/span/0` or `traces.span.0`.
    pub fn config_mark(&self, path: &str) -> Option<&Mark> {
        let path = steps(path);
        let known = self.config_marks.0.iter().filter(|(known, _)| {
            let mut known = steps(known).into_iter();
            let mut path = path.iter();
            known.all(|step| path.next() == Some(&step))
        });
        known.max_by_key(|(known, _)| steps(known).len()).map(|(_, mark)| mark)
    }
}

fn steps(path: &str) -> Vec<&str> {
    path.split(['.', '/', '[', ']', '$']).filter(|step| !step.is_empty()).collect()
}

/// Reads the settings of a processor of type `kind`; `None` if there is no such type.
pub fn read(kind: &str, section: Section<'_>) -> Option<Processor> {
    match kind {
        "wasm" => Some(Processor::Plugin(Box::new(wasm(section)))),
        "batch" => {
            batch(section);
            Some(Processor::Elsewhere)
        }
        "memory_limiter" => Some(Processor::Limiter(memory_limiter(section))),
        kind if TYPES.contains(&kind) => Some(Processor::Plugin(Box::new(bundled(kind, section, Limits::default())))),
        _ => None,
    }
}

fn wasm(mut section: Section<'_>) -> Settings {
    let config = section.node("config");
    let (config_json, config_marks) = match config {
        Some(node) => {
            if !matches!(node.value(), Value::Map(_)) {
                node.error("`config` must be a mapping");
            }
            passed(node.tree())
        }
        None => ("{}".to_owned(), Marks::default()),
    };
    let mut settings = host::defaults("wasm", config_json, config_marks);
    host::read(&mut section, &mut settings);
    if settings.module.is_none() && !section.says("module") {
        section.error("module", "a `wasm` processor needs `module`, the path of the component");
    }
    section.finish();
    settings
}

/// Reads a plugin that is in the binary, with the limits that it has unless the operator names others.
pub(super) fn bundled(kind: &str, mut section: Section<'_>, limits: Limits) -> Settings {
    let mut own: Vec<_> = section.entries();
    own.retain(|(key, _, _)| key != HOST);
    let mark = section.here().clone();
    let entry =
        |(key, mark, node): (String, Mark, Node<'_>)| super::tree::Entry { key, mark, value: node.tree().clone() };
    let tree = Tree::new(mark.clone(), Value::Map(own.into_iter().map(entry).collect()));
    let (config_json, config_marks) = passed(&tree);
    let mut settings = Settings { limits, ..host::defaults(kind, config_json, config_marks) };
    if let Some(mut block) = section.section(HOST) {
        host::read(&mut block, &mut settings);
        block.finish();
    }
    given::add(&mut settings, &mut section);
    settings
}

/// A configuration as the plugin gets it, and the places of its parts.
fn passed(tree: &Tree) -> (String, Marks) {
    let mut marks = Marks::default();
    gather(tree, "", &mut marks);
    (tree.to_json().to_string(), marks)
}

fn gather(tree: &Tree, path: &str, marks: &mut Marks) {
    match &tree.value {
        Value::Map(entries) => {
            for entry in entries {
                let path = if path.is_empty() { entry.key.clone() } else { format!("{path}/{}", entry.key) };
                // A key is where one looks; the value may be lines away.
                marks.0.push((path.clone(), entry.mark.clone()));
                gather(&entry.value, &path, marks);
            }
        }
        Value::List(list) => {
            for (index, value) in list.iter().enumerate() {
                let path = format!("{path}/{index}");
                marks.0.push((path.clone(), value.mark.clone()));
                gather(value, &path, marks);
            }
        }
        _ => {}
    }
}

fn batch(mut section: Section<'_>) {
    section.remark("`batch` does nothing here: exporters batch, see `sending_queue.batch`; it can be taken out");
    for key in ["send_batch_size", "send_batch_max_size", "metadata_cardinality_limit"] {
        section.u64(key);
    }
    section.duration_or("timeout", Duration::ZERO);
    section.strings("metadata_keys");
    section.finish();
}
