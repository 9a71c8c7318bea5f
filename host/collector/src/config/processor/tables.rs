//! The look-up tables of a plugin.

use std::path::{Path, PathBuf};

use sluice_state::{Format, HOST_TABLE, OwnFile, Spec};

use super::super::section::Section;
use super::Settings;

/// The table that the host fills itself.
pub const HOST: &str = HOST_TABLE;

/// What begins the names that Sluice gives in that table.
const TAKEN: [&str; 6] = ["os.", "host.", "container.", "env.", "k8s.pod.label.", "k8s.pod.annotation."];

/// Memory of a table. The whole of a country's stations, or a million short rows, fits.
const DEFAULT_MAX_MIB: u64 = 64;

/// Memory of a database that a plugin's own key names: who writes there cannot say how much. The free ones of
/// cities have 60 MiB, the largest that are sold a few hundred.
const DATABASE_BYTES: usize = 1 << 30;

/// Positions in a table have 32 bits.
const MOST_MIB: u64 = 4095;

const MIB: u64 = 1024 * 1024;

/// A look-up table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// A file.
    File(Spec),
    /// What the host knows of the machine.
    Host(Facts),
}

/// What is in the table `host` beside what Sluice finds out by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Environment variables, as `env.NAME`.
    pub env: Vec<String>,
    /// What stands in a file, under this name.
    pub files: Vec<(String, PathBuf)>,
    /// The pod's labels, as Kubernetes' downward API writes them.
    pub pod_labels: Option<PathBuf>,
    /// The pod's annotations likewise.
    pub pod_annotations: Option<PathBuf>,
}

impl Facts {
    /// The files whose changes matter.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let pod = self.pod_labels.iter().chain(&self.pod_annotations);
        self.files.iter().map(|(_, file)| file).chain(pod).map(PathBuf::as_path)
    }
}

impl Settings {
    /// How a file is read that the plugin names itself: beside the file in which its path stands.
    pub fn own_table(&self, file: &OwnFile) -> Spec {
        let OwnFile { named, format, place } = file;
        let mark = self.config_mark(place);
        let is_database = *format == Format::MaxMind;
        Spec {
            file: mark.map_or_else(|| PathBuf::from(&named.path), |mark| mark.resolve(&named.path)),
            format: *format,
            key: named.key.clone(),
            most_bytes: if is_database { DATABASE_BYTES } else { (DEFAULT_MAX_MIB * MIB) as usize },
        }
    }

    /// Whether the operator gives the plugin a table of this name.
    pub fn gives_table(&self, name: &str) -> bool {
        self.tables.iter().any(|(given, _)| given == name)
    }
}

/// Reads the tables, by name.
pub(super) fn read(mut section: Section<'_>) -> Vec<(String, Table)> {
    let mut tables = Vec::new();
    for (name, _, node) in section.entries() {
        let Some(inner) = node.into_section() else { continue };
        if name.is_empty() || name.ends_with('*') {
            section.error(&name, format!("`{name}`: a table's name must not be empty and must not end in `*`"));
        }
        let table = if name == HOST { Some(host(inner)) } else { file(inner) };
        tables.extend(table.map(|table| (name, table)));
    }
    tables
}

fn host(mut section: Section<'_>) -> Table {
    if section.has("file") {
        section.error("file", "`file`: the table `host` is filled by Sluice; give yours another name");
        section.str("file");
    }
    let mut facts = Facts { env: section.strings("env"), files: files(&mut section), ..Facts::default() };
    facts.pod_labels = section.path("pod_labels");
    facts.pod_annotations = section.path("pod_annotations");
    section.finish();
    Table::Host(facts)
}

/// The files of the table `host`, by what they are called there.
pub(super) fn files(section: &mut Section<'_>) -> Vec<(String, PathBuf)> {
    let Some(mut files) = section.section("files") else { return Vec::new() };
    let mut all = Vec::new();
    for (name, _, _) in files.entries() {
        if name.is_empty() || TAKEN.iter().any(|taken| name.starts_with(taken)) {
            let taken = TAKEN.map(|taken| format!("`{taken}`")).join(", ");
            files.error(&name, format!("`{name}`: a name must not be empty, nor begin with one of {taken}"));
        }
        all.extend(files.path(&name).map(|file| (name, file)));
    }
    files.finish();
    all
}

fn file(mut section: Section<'_>) -> Option<Table> {
    let (file, key) = (section.path("file"), section.str("key"));
    let is_named = section.has("format");
    let format = match section.one_of("format", &["csv", "jsonl", "mmdb"], "csv") {
        _ if !is_named => file.as_deref().and_then(Format::of),
        "jsonl" => Some(Format::JsonLines),
        "mmdb" => Some(Format::MaxMind),
        _ => Some(Format::Csv),
    };
    if format.is_none() && file.is_some() {
        section.error("file", "`file`: the file's name does not say its format: add `format: csv`, `jsonl` or `mmdb`");
    }
    if file.is_none() && !section.says("file") {
        section.error("file", "a table needs `file`");
    }
    // The keys of a MaxMind database are IP addresses.
    let key = match (format, key) {
        (Some(Format::MaxMind), Some(_)) => {
            section.error("key", "a MaxMind database has no `key`: its keys are IP addresses");
            None
        }
        (Some(Format::MaxMind), None) => Some(String::new()),
        (_, None) if !section.says("key") => {
            section.error("key", "a table needs `key`, the column by which its rows are found");
            None
        }
        (_, key) => key,
    };
    let max_mib = section.u64_or("max_mib", DEFAULT_MAX_MIB);
    if max_mib == 0 || max_mib > MOST_MIB {
        section.error("max_mib", format!("`max_mib` must be from 1 to {MOST_MIB}"));
    }
    section.finish();
    let most_bytes = (max_mib.clamp(1, MOST_MIB) * MIB) as usize;
    Some(Table::File(Spec { file: file?, format: format?, key: key?, most_bytes }))
}
