//! The look-up tables of a plugin.

use sluice_state::{Format, Spec};

use super::super::section::Section;

/// The table that the host fills itself.
const HOST: &str = "host";

/// Memory of a table. The whole of a country's stations, or a million short rows, fits.
const DEFAULT_MAX_MIB: u64 = 64;

/// Positions in a table have 32 bits.
const MOST_MIB: u64 = 4095;

const MIB: u64 = 1024 * 1024;

/// A look-up table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// A file.
    File(Spec),
    /// What the host knows of the machine.
    Host {
        /// The environment variables that are in it.
        env: Vec<String>,
    },
}

/// Reads the tables, by name.
pub(super) fn read(mut section: Section<'_>) -> Vec<(String, Table)> {
    let mut tables = Vec::new();
    for (name, _, node) in section.entries() {
        let Some(inner) = node.into_section() else { continue };
        if name.is_empty() || name.ends_with('*') {
            section.error(&name, "a table's name must not be empty and must not end in `*`");
        }
        let table = if name == HOST { Some(host(inner)) } else { file(inner) };
        tables.extend(table.map(|table| (name, table)));
    }
    tables
}

fn host(mut section: Section<'_>) -> Table {
    if section.has("file") {
        section.error("file", "the table `host` is filled by Sluice; give yours another name");
        section.str("file");
    }
    let table = Table::Host { env: section.strings("env") };
    section.finish();
    table
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
        section.error("file", "the file's name does not say its format: add `format: csv`, `jsonl` or `mmdb`");
    }
    if file.is_none() && !section.has("file") {
        section.complain("a table needs `file`");
    }
    // The keys of a MaxMind database are IP addresses.
    let key = match (format, key) {
        (Some(Format::MaxMind), Some(_)) => {
            section.error("key", "a MaxMind database has no `key`: its keys are IP addresses");
            None
        }
        (Some(Format::MaxMind), None) => Some(String::new()),
        (_, None) if !section.has("key") => {
            section.complain("a table needs `key`, the column by which its rows are found");
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
