//! `sluice-bundle IN OUT`: compiles the components in folder IN for the bundle in folder OUT, for
//! any machine of this architecture. What did not change is left alone.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [from, to] = args.as_slice() else { bail!("usage: sluice-bundle IN OUT") };
    let (from, to) = (Path::new(from), Path::new(to));
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    // Code depends on the compiler, which is in this program.
    let compiler = Sha256::digest(fs::read(std::env::current_exe()?)?);
    let mut kept = Vec::new();
    for file in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let file = file?.path();
        let Some(name) = file.file_name().filter(|_| file.extension().is_some_and(|extension| extension == "wasm")) else { continue };
        let component = fs::read(&file)?;
        let stamp: String = Sha256::new().chain_update(compiler).chain_update(&component).finalize().iter().map(|b| format!("{b:02x}")).collect();
        let target = to.join(name);
        let (code, stamped) = (target.with_extension("cwasm"), target.with_extension("stamp"));
        if fs::read_to_string(&stamped).is_ok_and(|found| found == stamp) && code.exists() && target.exists() {
            kept.push(target);
            continue;
        }
        let compiled = sluice_sandbox::precompile(&component).with_context(|| format!("cannot compile {}", file.display()))?;
        fs::write(&target, component)?;
        fs::write(code, compiled)?;
        fs::write(stamped, stamp)?;
        kept.push(target);
    }
    for file in fs::read_dir(to)? {
        let file = file?.path();
        if !kept.contains(&file.with_extension("wasm")) {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}
