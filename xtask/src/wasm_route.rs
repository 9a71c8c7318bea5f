//! Which way plugins are compiled on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{output, succeeds_within};
use crate::debian;

/// What plugins are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// A download of 20 MiB over a slow line; a rustup that cannot reach its server says so earlier.
pub const RUSTUP_LIMIT: Duration = Duration::from_mins(3);

/// Forces a route: `target`, `rustup` or `debian`.
const FORCE: &str = "SLUICE_WASM_ROUTE";

/// A compiler for plugins.
pub struct Route {
    /// Another rustc than cargo's own, and its linker.
    pub compiler: Option<(PathBuf, PathBuf)>,
    /// Where its artefacts go: a target folder of its own, because cargo does not notice when the
    /// standard library changes.
    pub target_dir: PathBuf,
}

/// Finds a way that works, and says which.
pub fn find(root: &Path) -> Result<Route> {
    let forced = std::env::var(FORCE).ok();
    let allowed = |name: &str| forced.as_deref().is_none_or(|forced| forced == name);
    let plain = || Route { compiler: None, target_dir: root.join("target/wasm") };
    if allowed("target") && installed() {
        println!("wasm: {TARGET} is installed");
        return Ok(plain());
    }
    if allowed("rustup") {
        let mut rustup = Command::new("rustup");
        if succeeds_within(rustup.args(["target", "add", TARGET]), RUSTUP_LIMIT) && installed() {
            println!("wasm: {TARGET} was added by rustup");
            return Ok(plain());
        }
    }
    if allowed("debian") {
        match debian::toolchain(root) {
            Ok(toolchain) => {
                println!("wasm: {TARGET} is built from Debian's packages ({})", toolchain.version);
                let target_dir = root.join(format!("target/wasm-debian-{}", toolchain.version));
                return Ok(Route { compiler: Some((toolchain.rustc, linker()?)), target_dir });
            }
            Err(error) => println!("wasm: Debian's packages cannot be had: {error:#}"),
        }
    }
    match forced {
        Some(forced) => bail!("{FORCE}={forced} does not work on this machine (target, rustup and debian are known)"),
        None => bail!(
            "no way to compile for {TARGET}: run `rustup target add {TARGET}`, or use a Debian machine with its package archive in reach"
        ),
    }
}

fn installed() -> bool {
    let Ok(folder) = output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET])) else {
        return false;
    };
    let Ok(files) = std::fs::read_dir(folder) else { return false };
    files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
}

/// The linker that comes with rustup's toolchain.
fn linker() -> Result<PathBuf> {
    if let Some(lld) = std::env::var_os("WASM_LLD") {
        return Ok(lld.into());
    }
    let sysroot = PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?);
    let lld = sysroot.join("lib/rustlib").join(host()?).join("bin/rust-lld");
    if lld.exists() { Ok(lld) } else { bail!("{} is not there; name a WebAssembly linker in WASM_LLD", lld.display()) }
}

/// The triple of this machine.
pub fn host() -> Result<String> {
    let said = output(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say its host")
}
