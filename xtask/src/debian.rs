//! The standard library for WebAssembly out of Debian's packages, without root.
//!
//! Debian ships a newer rustc with its library's source (`rustc-web`, `rust-web-src`). They are
//! downloaded through apt, which checks signatures, into a private state; unpacked, not installed;
//! std is compiled once, and a wrapper script is a rustc that has it.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::command::{FOLDERS, guest_cargo, output, run, system};
use crate::wasm_route::{TARGET, host};

/// A rustc that has the target.
pub struct Toolchain {
    /// A wrapper script.
    pub rustc: PathBuf,
    /// Its version, as part of a file name.
    pub version: String,
}

struct Apt {
    folder: PathBuf,
    user: String,
    get: PathBuf,
    cache: PathBuf,
    dpkg: PathBuf,
}

/// Finds or makes the toolchain in `target/wasm-toolchain`.
pub fn toolchain(root: &Path) -> Result<Toolchain> {
    let folder = root.join("target/wasm-toolchain");
    let made = folder.join("ok");
    fs::create_dir_all(root.join("target"))?;
    // Two builds at once would unpack over each other.
    let lock = File::create(root.join("target/wasm-toolchain.lock"))?;
    lock.lock()?;
    let rustc = folder.join("rustc");
    if !made.exists() {
        println!("wasm: making a toolchain of Debian's packages in {} (about a minute, 1 GB)", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).context("cannot remove a toolchain that was left unfinished")?;
        }
        make(&folder)?;
        // The time, because the same version may be built twice, and cargo sees no difference.
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        fs::write(folder.join("ok.part"), format!("{}-{time}", version(&rustc)?))?;
        fs::rename(folder.join("ok.part"), &made)?;
    }
    Ok(Toolchain { rustc, version: fs::read_to_string(made)? })
}

fn version(rustc: &Path) -> Result<String> {
    let said = output(Command::new(rustc).arg("--version"))?;
    said.split_whitespace().nth(1).map(str::to_owned).context("rustc does not say its version")
}

fn make(folder: &Path) -> Result<()> {
    for part in ["state/lists/partial", "cache/archives/partial", "debs", "root", "crate/src"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let program =
        |name: &str| system(name).with_context(|| format!("{name} is not there: this is not a Debian machine"));
    let user = output(Command::new("id").arg("-un"))?;
    let apt = Apt {
        folder: folder.to_owned(),
        user,
        get: program("apt-get")?,
        cache: program("apt-cache")?,
        dpkg: program("dpkg")?,
    };
    // An index that cannot be fetched leaves those that could; what is missing shows below.
    let _ = apt.command(&apt.get).args(["-qq", "update"]).status();
    let std = apt.dependency(&["libstd-rust-web-dev"], |name| {
        name.strip_prefix("libstd-rust-web-").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })?;
    let llvm = apt.dependency(&[&std], |name| {
        name.strip_prefix("libllvm").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })?;
    apt.unpack(&["rustc-web", "rust-web-src", "libstd-rust-web-dev", &std, &llvm])?;
    let libraries = folder.join("root/usr/lib").join(multiarch()?);
    let compiler = folder.join("root/usr/bin/rustc");
    let plain = folder.join("rustc-plain");
    wrapper(&plain, &libraries, &quoted(&compiler))?;
    if output(Command::new(&plain).arg("-vV")).is_err() {
        // A bare machine lacks the libraries that LLVM itself needs.
        let all = apt.dependencies(&[&llvm, "--recurse"])?;
        let theirs = ["libc6", "libgcc-s1", "libcrypt1"];
        let needed: Vec<_> = all.iter().map(String::as_str).filter(|name| !theirs.contains(name)).collect();
        apt.unpack(&needed)?;
    }
    build_std(folder, &plain)?;
    sysroot(folder)?;
    wrapper(
        &folder.join("rustc"),
        &libraries,
        &format!("{} --sysroot {}", quoted(&compiler), quoted(&folder.join("sysroot"))),
    )?;
    for part in ["build", "debs", "cache", "state", "crate", "root/usr/src"] {
        fs::remove_dir_all(folder.join(part))?;
    }
    Ok(())
}

/// One of Debian's programs. They run others (dpkg runs tar), and their words are read.
fn system_command(program: &Path) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").stdin(Stdio::null());
    if let Ok(path) = std::env::join_paths(folders) {
        command.env("PATH", path);
    }
    command
}

/// The folder of libraries under /usr/lib.
fn multiarch() -> Result<String> {
    let host = host()?;
    let machine = host.split('-').next().context("a triple has a machine")?;
    Ok(format!("{machine}-linux-gnu"))
}

/// For the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

fn wrapper(path: &Path, libraries: &Path, program: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\nexport LD_LIBRARY_PATH={}\nexec {program} \"$@\"\n", quoted(libraries)))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

impl Apt {
    fn command(&self, program: &Path) -> Command {
        let mut command = system_command(program);
        let dir = |part: &str| self.folder.join(part).display().to_string();
        for option in [
            format!("Dir::State={}", dir("state")),
            "Dir::State::status=/var/lib/dpkg/status".to_owned(),
            format!("Dir::Cache={}", dir("cache")),
            // apt as root would drop to a user who may not write here.
            format!("APT::Sandbox::User={}", self.user),
            "APT::Update::Post-Invoke::=".to_owned(),
            "Debug::NoLocking=1".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }

    /// The libraries that packages depend on.
    fn dependencies(&self, of: &[&str]) -> Result<Vec<String>> {
        let no =
            ["--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"];
        let said = output(self.command(&self.cache).arg("depends").args(of).args(no))?;
        let name = |line: &str| {
            let line = line.trim_start_matches([' ', '|']);
            let name = line.strip_prefix("Depends: ").unwrap_or(line);
            (name.starts_with("lib") && !name.contains(' ')).then(|| name.to_owned())
        };
        let mut names: Vec<_> = said.lines().filter_map(name).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn dependency(&self, of: &[&str], fits: impl Fn(&str) -> bool) -> Result<String> {
        let found = self.dependencies(of)?.into_iter().find(|name| fits(name));
        found.with_context(|| format!("Debian's {} is not to be had here", of.join(" ")))
    }

    fn unpack(&self, packages: &[&str]) -> Result<()> {
        let debs = self.folder.join("debs");
        run(self.command(&self.get).args(["-qq", "download"]).args(packages).current_dir(&debs))?;
        for deb in fs::read_dir(&debs)? {
            let deb = deb?.path();
            run(system_command(&self.dpkg).arg("-x").arg(&deb).arg(self.folder.join("root")))?;
            fs::remove_file(deb)?;
        }
        Ok(())
    }
}

/// Compiles std for the target, by way of an empty crate.
fn build_std(folder: &Path, rustc: &Path) -> Result<()> {
    let empty = folder.join("crate");
    let manifest = "[package]\nname = \"sysroot\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[lib]\npath = \"src/lib.rs\"\n[profile.release]\ndebug = 0\npanic = \"abort\"\n[workspace]\n";
    fs::write(empty.join("Cargo.toml"), manifest)?;
    fs::write(empty.join("src/lib.rs"), "")?;
    let mut build = guest_cargo();
    build
        .args(["build", "--quiet", "--release", "--target", TARGET, "-Zbuild-std=std,panic_abort", "--target-dir"])
        .arg(folder.join("build"))
        .current_dir(&empty)
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        // Without bitcode a plugin cannot be optimised together with std.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes");
    run(&mut build)
}

/// A sysroot with this machine's std and the one that was built.
fn sysroot(folder: &Path) -> Result<()> {
    let rustlib = folder.join("sysroot/lib/rustlib");
    let ours = rustlib.join(TARGET).join("lib");
    fs::create_dir_all(&ours)?;
    let host = host()?;
    symlink(folder.join("root/usr/lib/rustlib").join(&host), rustlib.join(&host))?;
    let mut found = false;
    for file in fs::read_dir(folder.join("build").join(TARGET).join("release/deps"))? {
        let file = file?.path();
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if file.extension().is_some_and(|extension| extension == "rlib") && !name.contains("sysroot") {
            fs::copy(&file, ours.join(name))?;
            found = true;
        }
    }
    if found { Ok(()) } else { bail!("building std left nothing behind") }
}
