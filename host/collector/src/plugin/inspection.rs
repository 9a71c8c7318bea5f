//! What is known of a plugin: who it is, why it is trusted, what it wanted and what it got.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sluice_sandbox::{Access, Description, Module, Prepared, Provenance};
use sluice_state::{Format, OwnFile};

use crate::terminal::plain;

/// A plugin as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// The component id, if it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// The name that it has given itself.
    pub name: String,
    /// The version that it has given itself.
    pub version: String,
    /// The contract that it speaks.
    pub contract: String,
    /// Its file, or `bundled`.
    pub source: String,
    /// SHA-256 in hex.
    pub digest: String,
    /// Its size.
    pub bytes: usize,
    /// Whether anybody vouches for it.
    pub signature: Signature,
    /// Whether it says that spans must not pass by it.
    pub redactor: bool,
    /// What else it may do.
    pub capabilities: Capabilities,
    /// What it may see and edit.
    pub access: Rights,
    /// The files that it names with its configuration, as tables of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
}

/// A file that a plugin names as a table of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The table.
    pub table: String,
    /// The file, as it stands in the plugin's configuration.
    pub path: String,
    /// How it is written.
    pub format: String,
    /// Where in the plugin's configuration it stands.
    pub place: String,
}

/// Whether anybody vouches for a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Signature {
    /// It is in the binary.
    Bundled,
    /// It is signed.
    Signed {
        /// With this key.
        key: String,
    },
    /// Nobody does, and nobody has to.
    Unsigned,
}

/// What a plugin may do beside reading and editing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What its description asks for.
    pub requested: Vec<String>,
    /// Of which it imports the interfaces.
    pub imported: Vec<String>,
    /// The interfaces of WASI that it imports, behind which there is nothing. It runs with `profile: compat`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wasi: Vec<String>,
    /// What it has; absent if it is not configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<Vec<String>>,
}

/// What a plugin may see and edit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// What it may see.
    pub read: Steps,
    /// What it may edit.
    pub write: Steps,
}

/// Grants by table, at each step of narrowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// The most that it could ask for.
    pub described: ByTable,
    /// What this configuration of it asks for; absent if it is not configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured: Option<ByTable>,
    /// What it has; absent if it is not configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<ByTable>,
}

/// Fields and attributes by table. The table `*` is all of them.
pub type ByTable = BTreeMap<String, Vec<String>>;

impl Inspection {
    /// What a module says of itself; it is in the binary if it is in no file.
    pub fn of_module(file: Option<&Path>, module: &Module, description: &Description) -> Self {
        let steps = |described: &[String]| Steps { described: by_table(described), configured: None, granted: None };
        Self {
            plugin: None,
            name: description.name.clone(),
            version: description.version.clone(),
            contract: format!("sluice:plugin@{}", module.contract()),
            source: file.map_or_else(|| "bundled".to_owned(), |file| file.display().to_string()),
            digest: module.digest().to_owned(),
            bytes: module.bytes(),
            signature: Signature::of(module.provenance()),
            redactor: description.redactor,
            capabilities: Capabilities {
                requested: description.capabilities.clone(),
                imported: module.imports().capabilities.clone(),
                wasi: module.imports().wasi.clone(),
                granted: None,
            },
            access: Rights { read: steps(&description.access.read), write: steps(&description.access.write) },
            files: Vec::new(),
        }
    }

    /// What a plugin is that has taken its configuration.
    pub fn of_plugin(id: &str, file: Option<&Path>, prepared: &Prepared) -> Self {
        let description = prepared.description();
        let module = Self::of_module(file, prepared.module(), description);
        let (configured, granted) = (prepared.access(), prepared.granted());
        let steps = |side: fn(&Access) -> &Vec<String>| Steps {
            described: by_table(side(&description.access)),
            configured: Some(by_table(side(configured))),
            granted: Some(by_table(side(&granted))),
        };
        Self {
            plugin: Some(id.to_owned()),
            capabilities: Capabilities { granted: Some(description.capabilities.clone()), ..module.capabilities },
            access: Rights { read: steps(|access| &access.read), write: steps(|access| &access.write) },
            files: prepared.files().iter().map(File::of).collect(),
            ..module
        }
    }
}

impl File {
    fn of(file: &OwnFile) -> Self {
        let OwnFile { named, format, place } = file;
        let format = match format {
            Format::Csv => "csv",
            Format::JsonLines => "jsonl",
            Format::MaxMind => "mmdb",
        };
        Self { table: named.name.clone(), path: named.path.clone(), format: format.to_owned(), place: place.clone() }
    }
}

impl Signature {
    fn of(provenance: &Provenance) -> Self {
        match provenance {
            Provenance::Bundled => Self::Bundled,
            Provenance::Signed(key) => Self::Signed { key: key.to_string() },
            Provenance::Unsigned => Self::Unsigned,
        }
    }
}

fn by_table(grants: &[String]) -> ByTable {
    let mut tables = ByTable::new();
    for grant in grants {
        let (table, rest) = match (grant.strip_prefix("tables:"), grant.split_once('.')) {
            (Some(name), _) => ("tables", name),
            (None, Some((table, rest))) => (table, rest),
            (None, None) => (grant.as_str(), "*"),
        };
        tables.entry(table.to_owned()).or_default().push(rest.to_owned());
    }
    tables
}

/// For people.
impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signature = match &self.signature {
            Signature::Bundled => "in the binary".to_owned(),
            Signature::Signed { key } => format!("signed with {key}"),
            Signature::Unsigned => "not signed".to_owned(),
        };
        let mut line = |name: &str, value: &str| writeln!(f, "{name:<13}{}", plain(value));
        if let Some(plugin) = &self.plugin {
            line("plugin", plugin)?;
        }
        line("name", &format!("{} {}", self.name, self.version))?;
        line("contract", &self.contract)?;
        line("source", &self.source)?;
        line("digest", &self.digest)?;
        line("size", &format!("{} bytes", self.bytes))?;
        line("signature", &signature)?;
        line("redactor", if self.redactor { "yes" } else { "no" })?;
        let Capabilities { requested, imported, wasi, granted } = &self.capabilities;
        let mut capabilities = vec![("requested", requested.clone()), ("imported", imported.clone())];
        if !wasi.is_empty() {
            capabilities.push(("wasi", [vec!["(with `profile: compat`)".to_owned()], wasi.clone()].concat()));
        }
        capabilities.extend(granted.clone().map(|granted| ("granted", granted)));
        block(f, "capabilities", &capabilities)?;
        for (name, steps) in [("read", &self.access.read), ("write", &self.access.write)] {
            let all = [
                ("described", Some(&steps.described)),
                ("configured", steps.configured.as_ref()),
                ("granted", steps.granted.as_ref()),
            ];
            let lines = all.into_iter().filter_map(|(step, tables)| Some((step, words(tables?))));
            block(f, name, &lines.collect::<Vec<_>>())?;
        }
        if !self.files.is_empty() {
            writeln!(f, "files")?;
        }
        for File { table, path, format, place } in &self.files {
            writeln!(f, "  {} ({format}, `{}`) is the table {}", plain(path), plain(place), plain(table))?;
        }
        Ok(())
    }
}

fn block(f: &mut fmt::Formatter<'_>, name: &str, lines: &[(&str, Vec<String>)]) -> fmt::Result {
    writeln!(f, "{name}")?;
    for (step, words) in lines {
        let words = if words.is_empty() { "nothing".to_owned() } else { plain(&words.join(", ")).into_owned() };
        writeln!(f, "  {step:<11}{words}")?;
    }
    Ok(())
}

/// One word a table: `spans(name, attributes:http.*)`.
fn words(tables: &ByTable) -> Vec<String> {
    let word = |(table, grants): (&String, &Vec<String>)| {
        let mut word = table.clone();
        if table != "*" {
            // Writing to a string cannot fail.
            let _ = write!(word, "({})", grants.join(", "));
        }
        word
    };
    tables.iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_gathered_by_table() {
        let grants = ["spans.name", "spans.attributes:http.*", "tables:a.b", "events.*", "*"].map(str::to_owned);
        let expected = [
            ("*", vec!["*"]),
            ("events", vec!["*"]),
            ("spans", vec!["name", "attributes:http.*"]),
            ("tables", vec!["a.b"]),
        ];
        let owned =
            |(table, grants): (&str, Vec<&str>)| (table.to_owned(), grants.into_iter().map(str::to_owned).collect());
        assert_eq!(by_table(&grants), expected.map(owned).into_iter().collect::<ByTable>());
        assert_eq!(words(&by_table(&grants)), ["*", "events(*)", "spans(name, attributes:http.*)", "tables(a.b)"]);
    }
}
