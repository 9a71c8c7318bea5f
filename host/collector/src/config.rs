//! Configuration: YAML in the Collector's shape → [`Config`].
//!
//! `source → yaml → substitute → merge → sections`. Every value keeps the place where it is
//! written, through merging and substitution, and everything that is wrong comes out in one run as
//! `FILE:LINE:COLUMN: error: …`.

mod auth;
mod check;
mod component;
mod connector;
mod diagnostic;
mod duration;
mod failover;
mod listeners;
mod mark;
mod nearest;
mod node;
mod outputs;
pub mod processor;
pub mod section;
mod service;
pub mod show;
mod sound;
mod source;
mod storage;
mod substitute;
#[cfg(test)]
mod tests;
mod tree;
mod written;
mod yaml;

use std::path::{Path, PathBuf};
use std::time::Duration;

use component::Kind;
use connector::CONNECTORS;
use processor::Processor;
use section::{Problems, Section};
use source::Pipes;
use substitute::{Environment, Substitution};
use tree::Tree;

use crate::auth::End;
use crate::receiver::admission;
use crate::{account, exporter, extension, receiver};

pub use component::{Component, Id};
pub use connector::{Feed, Scrape, TYPES as CONNECTOR_TYPES};
pub use diagnostic::{Diagnostic, Diagnostics, Severity, print};
pub use mark::{Mark, Origin};
pub(crate) use nearest::with_nearest;
pub use node::Node;
pub(crate) use service::ids;
pub use service::{Named, Pipeline, Service, Telemetry};
pub use source::{DEFAULT, Source};
pub use tree::{Entry, Value};
pub use written::{Sources, Written};

const RECEIVERS: Kind = Kind { name: "receiver", key: "receivers", types: receiver::TYPES };
const PROCESSORS: Kind = Kind { name: "processor", key: "processors", types: processor::TYPES };
const EXPORTERS: Kind = Kind { name: "exporter", key: "exporters", types: exporter::TYPES };
const EXTENSIONS: Kind = Kind { name: "extension", key: "extensions", types: extension::TYPES };

/// What Sluice is to do. Two are equal when they do the same, however they are written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// Where spans come from.
    pub receivers: Vec<Component<receiver::Settings>>,
    /// The plugins.
    pub processors: Vec<Component<processor::Settings>>,
    /// Where spans go.
    pub exporters: Vec<Component<exporter::Settings>>,
    /// What else runs.
    pub extensions: Vec<Component<extension::Settings>>,
    /// Where series of connectors are shown.
    pub scrapes: Vec<Component<Scrape>>,
    /// What of it is used, and how.
    pub service: Service,
    admission_bytes: Option<u64>,
    files: Vec<PathBuf>,
    written: Sources,
}

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is probably not meant.
    pub warnings: Diagnostics,
}

/// A configuration that cannot be used.
#[derive(Debug, Clone)]
pub struct Broken {
    /// Everything that is wrong, warnings included.
    pub problems: Diagnostics,
    /// What could be read of it. Of the processors only those are in it that can be judged by
    /// themselves: nothing is wrong with their settings, nor with what these build on.
    pub config: Config,
}

/// Reads sources, a later one over an earlier one. Plugins are not loaded: whether they take their
/// configuration is found out later.
///
/// # Errors
/// When anything is wrong but for warnings.
pub fn load(sources: &[Source]) -> Result<Loaded, Box<Broken>> {
    load_in(sources, &substitute::process_environment)
}

/// [`load`] while the process serves: what is in a pipe was there once.
pub(crate) fn load_again(sources: &[Source]) -> Result<Loaded, Box<Broken>> {
    load_from(sources, &substitute::process_environment, Pipes::Refused)
}

/// [`load`] with other environment variables.
pub(crate) fn load_in(sources: &[Source], environment: Environment<'_>) -> Result<Loaded, Box<Broken>> {
    load_from(sources, environment, Pipes::Waited)
}

fn load_from(sources: &[Source], environment: Environment<'_>, pipes: Pipes) -> Result<Loaded, Box<Broken>> {
    let mut problems = Diagnostics::default();
    let (mut files, mut written) = (Vec::new(), Vec::new());
    let tree = gather(sources, environment, pipes, &mut problems, &mut files, &mut written);
    judge(tree.as_ref(), problems, files, written)
}

/// What the sources come to as a configuration; `files` were read for it, and this is written in them.
fn judge(
    tree: Option<&Tree>,
    problems: Diagnostics,
    mut files: Vec<PathBuf>,
    written: Vec<Written>,
) -> Result<Loaded, Box<Broken>> {
    let problems = Problems::new(problems);
    let mut config = tree.map(|tree| read(tree, &problems)).unwrap_or_default();
    let problems = problems.into_inner();
    files.extend(config.processors.iter().flat_map(|component| component.settings.files()));
    config.files = files;
    config.written = Sources(written.into());
    if problems.has_errors() {
        if let Some(tree) = tree {
            sound::retain(&mut config.processors, tree, &problems);
        }
        return Err(Box::new(Broken { problems, config }));
    }
    Ok(Loaded { config, warnings: problems })
}

/// All sources as one tree. `None` if one of them cannot be read: what is missing in the others
/// would be told for nothing.
fn gather(
    sources: &[Source],
    environment: Environment<'_>,
    pipes: Pipes,
    problems: &mut Diagnostics,
    files: &mut Vec<PathBuf>,
    written: &mut Vec<Written>,
) -> Option<Tree> {
    let mut trees = Vec::new();
    for (order, source) in sources.iter().enumerate() {
        if let Source::File(path) = source {
            files.push(path.clone());
        }
        let read = source.read(order, pipes, problems);
        let tree = read.as_ref().and_then(|read| read.tree(order, problems)).map(|mut tree| {
            let mut substitution = Substitution { environment, pipes, problems, files: Vec::new() };
            substitution.apply(&mut tree);
            files.append(&mut substitution.files);
            tree
        });
        written.extend(read);
        trees.push(tree);
    }
    let trees: Option<Vec<Tree>> = trees.into_iter().collect();
    trees?.into_iter().reduce(|mut merged, later| {
        // An empty file says nothing.
        if !matches!(later.value, Value::Null) {
            merged.merge(later);
        }
        merged
    })
}

fn read(tree: &Tree, problems: &Problems) -> Config {
    let Some(mut top) = Node::new("the configuration", &tree.mark, tree, problems).into_section() else {
        return Config::default();
    };
    let mut receivers = component::read(&mut top, &RECEIVERS, receiver::read);
    let processors = component::read(&mut top, &PROCESSORS, processor::read);
    let mut exporters = component::read(&mut top, &EXPORTERS, exporter::read);
    let extensions = component::read(&mut top, &EXTENSIONS, extension::read);
    let connectors = component::read(&mut top, &CONNECTORS, connector::read);
    let prometheus = connector::prometheus_exporters(&mut top);
    let service = top.section("service").map(Service::read);
    if service.is_none() && !top.has("service") {
        top.complain("there is no `service`: nothing would run");
    }
    let mut service = service.unwrap_or_default();
    let mut names = Names::default();
    for kind in [&RECEIVERS, &PROCESSORS, &EXPORTERS, &CONNECTORS, &EXTENSIONS] {
        names.insert(kind.key, &mut top);
    }
    top.finish();
    check::references(&names, &service, &failover::named(&exporters), problems);
    let scrapes = connector::wire(&mut service, &connectors, prometheus, &names, problems);
    let known = auth::Known { extensions: &extensions, service: &service, names: &names };
    for component in &mut receivers {
        known.resolve(component.settings.auth_mut(), End::Receiver, problems);
    }
    for component in &mut exporters {
        known.resolve(component.settings.auth_mut(), End::Exporter, problems);
    }
    let exporters = storage::resolve(exporters, &extensions, &service, problems);
    let exporters = failover::resolve(exporters, &service, &names, problems);
    let mut config =
        only_plugins(Config { receivers, exporters, extensions, scrapes, service, ..Config::default() }, processors);
    config.processors.extend(connectors);
    listeners::judge(&mut config, problems);
    outputs::judge(&config, problems);
    config
}

/// Takes the processors out whose work is done elsewhere.
fn only_plugins(mut config: Config, processors: Vec<Component<Processor>>) -> Config {
    for Component { id, mark, settings } in processors {
        let elsewhere = match settings {
            Processor::Plugin(settings) => {
                config.processors.push(Component { id, mark, settings: *settings });
                continue;
            }
            Processor::Limiter(bytes) => Some(bytes),
            Processor::Elsewhere => None,
        };
        let used = config.uses(|pipeline| &pipeline.processors, &id);
        if let Some(bytes) = elsewhere.filter(|_| used) {
            config.admission_bytes = Some(config.admission_bytes.map_or(bytes, |others| others.min(bytes)));
        }
        for pipeline in &mut config.service.pipelines {
            pipeline.processors.retain(|named| *named != id);
        }
    }
    config
}

/// The ids that are configured, by the section they stand in, whether or not they can be used.
#[derive(Default)]
struct Names(Vec<(&'static str, Vec<Named>)>);

impl Names {
    fn insert(&mut self, key: &'static str, top: &mut Section<'_>) {
        let Some(Value::Map(entries)) = top.node(key).map(|node| node.value()) else {
            return self.0.push((key, Vec::new()));
        };
        let named = |entry: &Entry| Id::parse(&entry.key).ok().map(|id| Named { id, mark: entry.mark.clone() });
        self.0.push((key, entries.iter().filter_map(named).collect()));
    }

    fn of(&self, key: &str) -> &[Named] {
        self.0.iter().find(|(known, _)| *known == key).map_or(&[], |(_, named)| named)
    }
}

impl Config {
    /// The receivers that a pipeline names.
    pub fn used_receivers(&self) -> impl Iterator<Item = &Component<receiver::Settings>> {
        self.receivers.iter().filter(|component| self.uses(|pipeline| &pipeline.receivers, &component.id))
    }

    /// The processors that a pipeline names.
    pub fn used_processors(&self) -> impl Iterator<Item = &Component<processor::Settings>> {
        self.processors.iter().filter(|component| self.uses(|pipeline| &pipeline.processors, &component.id))
    }

    /// The exporters that a pipeline names.
    pub fn used_exporters(&self) -> impl Iterator<Item = &Component<exporter::Settings>> {
        self.exporters.iter().filter(|component| self.uses(|pipeline| &pipeline.exporters, &component.id))
    }

    /// The extensions that `service.extensions` names, in its order.
    pub fn used_extensions(&self) -> impl Iterator<Item = &Component<extension::Settings>> {
        let find = |named: &Named| self.extensions.iter().find(|component| component.id == named.id);
        self.service.extensions.iter().filter_map(find)
    }

    fn uses(&self, list: impl Fn(&Pipeline) -> &Vec<Id>, id: &Id) -> bool {
        self.service.pipelines.iter().any(|pipeline| list(pipeline).contains(id))
    }

    /// How many bytes of requests may be on their way in: what the smallest `memory_limiter` in a
    /// pipeline says.
    pub fn admission_bytes(&self) -> usize {
        self.admission_bytes.map_or(admission::DEFAULT_BYTES, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// The files that were read, and the modules of plugins with their signatures and tables: a change of one of
    /// them is a change of the configuration.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// These files are among those whose change is a change of the configuration.
    pub fn add_files<'f>(&mut self, files: impl Iterator<Item = &'f Path>) {
        self.files.extend(files.map(Path::to_owned));
    }

    /// What its sources said when they were read.
    pub fn written(&self) -> &[Written] {
        &self.written.0
    }

    /// The settings of the process.
    pub fn sluice(&self) -> Option<&extension::Sluice> {
        self.used_extensions().find_map(|component| match &component.settings {
            extension::Settings::Sluice(sluice) => Some(sluice),
            extension::Settings::Authenticator(_)
            | extension::Settings::FileStorage(_)
            | extension::Settings::HealthCheck(_) => None,
        })
    }

    /// Where the process keeps what outlives it.
    pub fn state_dir(&self) -> Option<&Path> {
        self.sluice()?.state_dir.as_deref()
    }

    /// How long the process may take to deliver what it holds when it is told to stop.
    pub fn drain_timeout(&self) -> Duration {
        self.sluice().map_or(extension::DRAIN_TIMEOUT, |sluice| sluice.drain_timeout)
    }

    /// Where the account is kept: the `state_dir`, else the folder of the first queue on disk, else
    /// nowhere.
    pub fn account_dir(&self) -> Option<&Path> {
        self.state_dir().or_else(|| self.used_exporters().find_map(|component| component.settings.folder()))
    }

    /// Whether every queue is on disk.
    pub fn is_durable(&self) -> bool {
        self.used_exporters().all(|component| component.settings.folder().is_some())
    }

    /// How long an account may not add up before it is told.
    pub fn imbalance_after(&self) -> Duration {
        self.sluice().map_or(account::IMBALANCE_AFTER, |sluice| sluice.imbalance_after)
    }

    /// Where compiled plugins are kept: `$SLUICE_CACHE_DIR`, else in the `state_dir`, else
    /// `$XDG_CACHE_HOME/sluice`, else `$HOME/.cache/sluice`, else nowhere.
    pub fn cache_dir(&self) -> Option<PathBuf> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        variable("SLUICE_CACHE_DIR")
            .or_else(|| Some(self.sluice()?.state_dir.as_ref()?.join("cache")))
            // The base directory specification has relative paths ignored.
            .or_else(|| Some(variable("XDG_CACHE_HOME").filter(|path| path.is_absolute())?.join("sluice")))
            .or_else(|| Some(variable("HOME").filter(|path| path.is_absolute())?.join(".cache/sluice")))
    }
}
