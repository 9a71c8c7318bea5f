//! `cargo xtask …`: builds, demonstrates, tests and measures Sluice.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its user")]

mod bindings;
mod build;
mod checks;
mod command;
mod component;
mod debian;
mod names;
mod programs;
mod sizes;
mod wasm_route;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Builds, demonstrates, tests and measures Sluice.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the plugins and target/release/sluice, or one plugin crate.
    Build {
        /// Build this plugin crate instead: a crate outside the workspace that depends on sdk/.
        #[arg(long)]
        plugin: Option<PathBuf>,
        /// Where the component of --plugin goes; target/plugins/NAME.wasm if not given.
        #[arg(long, requires = "plugin")]
        out: Option<PathBuf>,
    },
    /// Runs every check: format, lints, docs, unit, property, plugin and end-to-end tests.
    Test,
    /// Shows Sluice at work: a shop, the collector, an upstream, and a rule changed while spans flow.
    Demo {
        /// Passed on; see `cargo xtask demo -- --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measures; see docs/benchmarks.md.
    Bench {
        /// Passed on; see `cargo xtask bench -- --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Does one thing for long or many times: `connections`, `kill9`, `outage`, `restart`, `swaps`. Prints one JSON line; exit code 1 on any loss.
    Soak {
        /// NAME [--count N] [--seed S]; see `cargo xtask soak -- --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Makes a component of a core module that was built without the SDK.
    Componentize {
        /// The core module.
        input: PathBuf,
        /// The component.
        output: PathBuf,
    },
    /// Generates sdk/src/bindings.rs from wit/.
    Bindings {
        /// Only check that it fits.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let root = root()?;
    match command {
        Command::Build { plugin: Some(folder), out } => build::plugin(&root, &folder, out)?,
        Command::Build { plugin: None, .. } => build::all(&root)?,
        Command::Test => return Ok(checks::run(&root)),
        Command::Demo { args } => return programs::run(&root, "sluice-demo", &args),
        Command::Bench { args } => return programs::run(&root, programs::BENCH, &args),
        Command::Soak { args } => return programs::run(&root, programs::SOAK, &args),
        Command::Componentize { input, output } => component::from_core(&root, &input, &output)?,
        Command::Bindings { check } => bindings::run(&root, check)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The workspace: the folder above this crate.
fn root() -> Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask lies in a workspace")?.to_owned())
}
