//! The files that a plugin names with its configuration become tables of its own.

use std::sync::Arc;

use sluice_state::{LiveTable, OwnFile};

use super::{ConfigError, PrepareError};
use crate::access::Access;
use crate::capability::{Capability, Provided};

/// Adds to the plugin's tables those that it names itself, and to its access what reads them. Where the
/// operator gives it a table of the same name, that one stands.
pub(super) fn give(
    files: &[OwnFile],
    provided: &Provided,
    access: &mut Access,
    tables: &mut Vec<(String, Arc<LiveTable>)>,
    open: &dyn Fn(&OwnFile) -> Result<Arc<LiveTable>, String>,
) -> Result<(), PrepareError> {
    if !files.is_empty() && !provided.grants(Capability::Tables) {
        let needs = "it needs for the files that it names but does not declare";
        return Err(PrepareError::Capability(Capability::Tables.name().to_owned(), needs));
    }
    let mut problems = Vec::new();
    for file in files {
        let name = &file.named.name;
        let grant = format!("tables:{name}");
        if !access.read.contains(&grant) {
            access.read.push(grant);
        }
        if tables.iter().any(|(given, _)| given == name) {
            continue;
        }
        match open(file) {
            Ok(table) => tables.push((name.clone(), table)),
            Err(message) => problems.push(ConfigError { path: file.place.clone(), message }),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(PrepareError::Files(problems)) }
}
