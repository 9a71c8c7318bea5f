//! `sluice-bundle IN OUT`: compiles the components in folder IN for the bundle in folder OUT, for
//! any machine of this architecture, and writes the table that `sluice` includes. What did not
//! change is left alone, so that `sluice` is only linked anew when a plugin is another one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// The table's file; `src/bundle.rs` includes it.
const TABLE: &str = "bundle.rs";

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [from, to] = args.as_slice() else { bail!("usage: sluice-bundle IN OUT") };
    let (from, to) = (Path::new(from), Path::new(to));
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    // Code depends on the compiler, which is in this program.
    let compiler = Sha256::digest(fs::read(std::env::current_exe()?)?);
    let mut table = String::from("&[\n");
    let components = components(from).with_context(|| format!("cannot read {}", from.display()))?;
    for file in &components {
        let Some(name) = file.file_stem().and_then(|name| name.to_str()) else { continue };
        compile(&compiler, file, &to.join(name)).with_context(|| format!("cannot bundle {}", file.display()))?;
        writeln!(
            table,
            "    Bundled {{ name: {name:?}, component: include_bytes!(\"{name}.wasm\"), precompiled: include_bytes!(\"{name}.cwasm\") }},"
        )?;
    }
    table.push_str("]\n");
    let target = to.join(TABLE);
    if !fs::read_to_string(&target).is_ok_and(|found| found == table) {
        fs::write(target, table)?;
    }
    Ok(remove_others(to, &components)?)
}

/// The components in a folder, in a fixed order.
fn components(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder)?.map(|file| Ok(file?.path()));
    let mut files = files.collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    files.sort();
    Ok(files)
}

/// Compiles one component into files beside `target`, unless they are there.
fn compile(compiler: &[u8], file: &Path, target: &Path) -> Result<()> {
    let component = fs::read(file)?;
    let digest = Sha256::new().chain_update(compiler).chain_update(&component).finalize();
    let mut stamp = String::new();
    for byte in digest {
        write!(stamp, "{byte:02x}")?;
    }
    let [copy, code, stamped] = ["wasm", "cwasm", "stamp"].map(|extension| target.with_extension(extension));
    if fs::read_to_string(&stamped).is_ok_and(|found| found == stamp) && code.exists() && copy.exists() {
        return Ok(());
    }
    let compiled = sluice_sandbox::precompile(&component)?;
    fs::write(copy, component)?;
    fs::write(code, compiled)?;
    Ok(fs::write(stamped, stamp)?)
}

/// Removes what is left of plugins that are gone.
fn remove_others(folder: &Path, components: &[PathBuf]) -> io::Result<()> {
    for file in fs::read_dir(folder)? {
        let file = file?.path();
        let is_ours =
            file.extension().is_some_and(|extension| ["wasm", "cwasm", "stamp"].iter().any(|ours| extension == *ours));
        let is_known = components.iter().any(|component| component.file_stem() == file.file_stem());
        if is_ours && !is_known {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}
