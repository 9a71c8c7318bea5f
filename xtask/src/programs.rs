//! Runs the programs of the tests crate: the demo and the benchmarks.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::build;
use crate::command::{cargo, run as run_to_end};

/// The benchmark's driver. It runs a program of another package and a plugin of its own.
pub const BENCH: &str = "sluice-bench";

/// The soaks. One of them swaps versions of a plugin of its own.
pub const SOAK: &str = "sluice-soak";

/// Builds everything and becomes one of them: it comes back only with an error.
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
    // In our place, not as a child: signals are for it, and what it ends with is what the caller sees.
    let error = Command::new(&program).args(args).current_dir(root).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
