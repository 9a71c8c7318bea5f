//! Builds plugins, the bundle of them, and the release binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::{cargo, guest_cargo, output, run};
use crate::component;
use crate::wasm_route::{self, Route, TARGET};

/// The profile of plugins, for crates outside the workspace as well.
const PROFILE: [&str; 6] = [
    "profile.plugin.inherits='release'",
    "profile.plugin.opt-level=3",
    "profile.plugin.lto=true",
    "profile.plugin.codegen-units=1",
    "profile.plugin.panic='abort'",
    // The names of functions stay, for backtraces.
    "profile.plugin.strip='debuginfo'",
];

/// Builds everything.
pub fn all(root: &Path) -> Result<()> {
    plugins(root)?;
    let release =
        |bin: &str| run(cargo().args(["build", "--release", "--package", "sluice", "--bin", bin]).current_dir(root));
    release("sluice-bundle")?;
    let plugins = root.join("target/plugins");
    run(Command::new(root.join("target/release/sluice-bundle")).arg(bundled(root)).arg(plugins.join("bundle")))?;
    release("sluice")
}

/// Where the first-party components lie; what `--plugin` builds does not go into the bundle.
pub fn bundled(root: &Path) -> PathBuf {
    root.join("target/plugins/first-party")
}

fn plugins(root: &Path) -> Result<()> {
    let route = wasm_route::find(root)?;
    let mut packages = Vec::new();
    for folder in fs::read_dir(root.join("plugins"))? {
        let folder = folder?.path();
        if folder.join("Cargo.toml").exists() {
            // Crates that plugins share are no plugins.
            packages.extend(package(&folder)?);
        }
    }
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    let mut build = compile(root, &route, root);
    for package in &packages {
        build.args(["--package", &package.name]);
    }
    run(&mut build)?;
    let folder = bundled(root);
    fs::create_dir_all(&folder)?;
    for package in &packages {
        let component = folder.join(&package.library).with_extension("wasm");
        component::from_core(root, &core(&route, package), &component)?;
        fs::copy(&component, root.join("target/plugins").join(&package.library).with_extension("wasm"))?;
    }
    for file in fs::read_dir(&folder)? {
        let file = file?.path();
        if !packages.iter().any(|package| file.file_stem().is_some_and(|stem| stem == package.library.as_str())) {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// Builds one plugin crate outside the workspace.
pub fn plugin(root: &Path, folder: &Path, out: Option<PathBuf>) -> Result<()> {
    let route = wasm_route::find(root)?;
    let Some(package) = package(folder)? else {
        bail!("{} has no `cdylib`: add `[lib] crate-type = [\"cdylib\"]`", folder.join("Cargo.toml").display());
    };
    run(&mut compile(root, &route, folder))?;
    let out = out.unwrap_or_else(|| root.join("target/plugins").join(&package.library).with_extension("wasm"));
    component::from_core(root, &core(&route, &package), &out)?;
    println!("{}", out.display());
    Ok(())
}

struct Package {
    name: String,
    library: String,
}

/// The package in a folder, with its `cdylib`; none if it has no such.
fn package(folder: &Path) -> Result<Option<Package>> {
    let manifest = folder.join("Cargo.toml");
    let manifest = manifest.canonicalize().with_context(|| format!("{} is not a crate", folder.display()))?;
    let mut metadata = cargo();
    metadata.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(&manifest);
    let said: Value = serde_json::from_str(&output(&mut metadata)?)?;
    let packages = said.get("packages").and_then(Value::as_array).context("cargo metadata lists packages")?;
    let ours = packages
        .iter()
        .find(|package| package["manifest_path"].as_str() == manifest.to_str())
        .context("cargo metadata lists the package")?;
    let cdylib =
        |target: &&Value| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib"));
    let Some(target) = ours["targets"].as_array().and_then(|targets| targets.iter().find(cdylib)) else {
        return Ok(None);
    };
    let text = |value: &Value| value.as_str().map(|name| name.replace('-', "_"));
    Ok(Some(Package {
        name: ours["name"].as_str().unwrap_or_default().to_owned(),
        library: text(&target["name"]).unwrap_or_default(),
    }))
}

fn core(route: &Route, package: &Package) -> PathBuf {
    route.target_dir.join(TARGET).join("plugin").join(&package.library).with_extension("wasm")
}

fn compile(root: &Path, route: &Route, folder: &Path) -> Command {
    let mut build = guest_cargo();
    build
        .args(["build", "--quiet", "--profile", "plugin", "--target", TARGET, "--target-dir"])
        .arg(&route.target_dir)
        .current_dir(folder);
    for setting in PROFILE {
        build.args(["--config", setting]);
    }
    // No path of this machine enters a component: its digest should be the same everywhere.
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .unwrap_or_default();
    let flags = [
        "-Ctarget-feature=+simd128,+bulk-memory".to_owned(),
        // Without it every call and every address takes the five bytes of the largest number.
        "-Clink-arg=--compress-relocations".to_owned(),
        format!("--remap-path-prefix={}=sluice", root.display()),
        format!("--remap-path-prefix={home}=cargo"),
    ];
    build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    if let Some((rustc, linker)) = &route.compiler {
        build.env("RUSTC", rustc).env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    build
}
