//! Tells the program where the table of embedded plugins is: in the folder that `sluice-bundle`
//! fills when `cargo xtask build` runs it. Without the folder the table is empty and the binary
//! has no bundled plugins.
//!
//! The table is not made here: a build script that ran anew for every changed plugin would have
//! the whole crate compiled anew. So only what includes the table is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{env, io};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SLUICE_BUNDLE");
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets it")?);
    let folder =
        env::var_os("SLUICE_BUNDLE").map_or_else(|| manifest.join("../../target/plugins/bundle"), PathBuf::from);
    let folder = prepare(&folder).map_err(|error| format!("cannot write to {}: {error}", folder.display()))?;
    println!("cargo::rerun-if-changed={}", folder.join("folder").display());
    println!("cargo::rustc-env=SLUICE_BUNDLE_TABLE={}", folder.join("bundle.rs").display());
    Ok(())
}

/// Makes the folder with an empty table if it is not there.
fn prepare(folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let folder = folder.canonicalize()?;
    let table = folder.join("bundle.rs");
    if !table.exists() {
        fs::write(table, "&[]\n")?;
    }
    // Runs this again if the folder is removed, and only then: the file is old from the start,
    // as cargo runs a script again when a file is younger than its last run.
    let mark = folder.join("folder");
    if !mark.exists() {
        File::create(mark)?.set_modified(SystemTime::UNIX_EPOCH + Duration::from_hours(24))?;
    }
    Ok(folder)
}
