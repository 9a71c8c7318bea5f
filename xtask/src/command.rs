//! Running other programs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What cargo tells us about our own package. A build script that looks at it (ring's does) would
/// run anew, and all that depends on it, whenever a build by us follows one by the user.
const OURS: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

/// What a user may have set for other code, and what would change a plugin or where it is put.
const STRAY: [&str; 6] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
];

/// Where systems have their assembler.
const SYSTEM: &str = "/usr/bin";

/// A cargo command, by the cargo that runs us.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if OURS.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes())) {
            cargo.env_remove(name);
        }
    }
    if let Some(flags) = find_assembler() {
        cargo.env("CFLAGS", flags);
    }
    cargo
}

/// What tells a C compiler where the system's assembler is, if it would not find one: it looks for `as` in `PATH`, and
/// nobody who has a C compiler thinks of that.
fn find_assembler() -> Option<OsString> {
    let is_in = |folder: &Path| folder.join("as").is_file();
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| is_in(&folder)) || !is_in(Path::new(SYSTEM)) {
        return None;
    }
    let mut flags = std::env::var_os("CFLAGS").unwrap_or_default();
    flags.push(format!(" -B{SYSTEM}/"));
    Some(flags)
}

/// The same for code that runs in the sandbox.
pub fn guest_cargo() -> Command {
    let mut cargo = cargo();
    for name in STRAY {
        cargo.env_remove(name);
    }
    cargo
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !status.success() {
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
        bail!("{} {} failed ({status})", command.get_program().display(), args.join(" "));
    }
    Ok(())
}

/// What a command prints.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{} failed ({})", command.get_program().display(), output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Runs a command that may hang, quietly; false if it failed or had to be killed.
pub fn succeeds_within(command: &mut Command, limit: Duration) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = quiet.spawn() else { return false };
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if started.elapsed() < limit => sleep(Duration::from_millis(50)),
            Ok(None) | Err(_) => {
                // It is gone already, or goes now; either way the route does not work.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

/// Where Debian has its programs.
pub const FOLDERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// A system program, on PATH or where Debian has it.
pub fn system(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}
