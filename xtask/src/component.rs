//! Core modules to components.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::names;

/// Makes a component of a core module. The SDK leaves the contract in the module; for a module
/// made without it the world `processor` is taken.
pub fn encode(root: &Path, core: &[u8]) -> Result<Vec<u8>> {
    let mut core = names::demangled(core)?;
    let tagged = wit_component::metadata::decode(&core).is_ok_and(|(rest, _)| rest.is_some());
    if !tagged {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_path(root.join("wit/0.1.0"))?;
        let world = resolve.select_world(&[package], Some("processor"))?;
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8)?;
    }
    ComponentEncoder::default().validate(true).module(&core)?.encode()
}

/// Makes a component file of a core module's file.
pub fn from_core(root: &Path, input: &Path, output: &Path) -> Result<()> {
    let core = fs::read(input).with_context(|| format!("cannot read {}", input.display()))?;
    let component = encode(root, &core).with_context(|| format!("{} cannot be made a component", input.display()))?;
    if fs::read(output).is_ok_and(|found| found == component) {
        return Ok(());
    }
    if let Some(folder) = output.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    // Renamed into place: a collector that watches the file must not see half of it.
    let partial = output.with_extension("partial");
    fs::write(&partial, component).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, output).with_context(|| format!("cannot write {}", output.display()))
}
