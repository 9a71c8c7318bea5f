//! Runs the programs of the tests crate: the demo and the benchmarks.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::build;
use crate::command::{cargo, run as run_to_end};

/// The benchmark's driver. It runs a program of another package and a plugin of its own.
pub const BENCH: &str = "sluice-bench";

/// The soaks. One of them swaps versions of a plugin of its own.
pub const SOAK: &str = "sluice-soak";

/// Builds everything and runs one of them.
pub fn run(root: &Path, name: &str, args: &[String]) -> Result<ExitCode> {
    build::all(root)?;
    run_to_end(cargo().args(["build", "--release", "--package", "sluice-tests", "--bins"]).current_dir(root))?;
    if name == BENCH {
        run_to_end(cargo().args(["build", "--release", "--package", "sluice-in-process"]).current_dir(root))?;
        let component = root.join("target/bench/bench_plugin.wasm");
        build::plugin(root, &root.join("examples/bench/plugin"), Some(component))?;
    }
    if name == SOAK {
        let component = root.join("target/test-guests/versions.wasm");
        build::plugin(root, &root.join("tests/guests/versions"), Some(component))?;
    }
    let program = root.join("target/release").join(name);
    let status = Command::new(&program).args(args).current_dir(root).status();
    let status = status.with_context(|| format!("cannot run {}", program.display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
