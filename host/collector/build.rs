//! Makes the table of embedded plugins out of the folder that `cargo xtask build` fills. Without
//! the folder the table is empty and the binary has no bundled plugins.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-env-changed=SLUICE_BUNDLE");
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let folder = env::var_os("SLUICE_BUNDLE").map_or_else(|| manifest.join("../../target/plugins/bundle"), PathBuf::from);
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut table = String::from("&[\n");
    for component in components(&folder) {
        let code = component.with_extension("cwasm");
        let Some(name) = component.file_stem().and_then(|name| name.to_str()) else { continue };
        println!("cargo::rerun-if-changed={}", component.display());
        println!("cargo::rerun-if-changed={}", code.display());
        let _ = writeln!(
            table,
            "    Bundled {{ name: {name:?}, component: include_bytes!({component:?}), precompiled: include_bytes!({code:?}) }},"
        );
    }
    table.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("bundle.rs"), table).expect("OUT_DIR is writable");
}

/// The components in the folder that have their code beside them, in a fixed order.
fn components(folder: &Path) -> Vec<PathBuf> {
    let Ok(folder) = folder.canonicalize().and_then(fs::read_dir) else { return Vec::new() };
    let files = folder.filter_map(|file| Some(file.ok()?.path()));
    let mut components: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|e| e == "wasm") && file.with_extension("cwasm").exists()).collect();
    components.sort();
    components
}
