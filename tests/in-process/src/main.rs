//! The in-process rows of `cargo xtask bench`: plugins called as the collector calls them, beside
//! the same job in native Rust, over the same bytes, in turn.
//!
//! Prints one JSON object; `sluice-bench` makes the table of it. Times are CPU time of this
//! thread, so that what else runs on the machine disturbs them little.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "stdout is this program's interface")]

mod bars;
mod measure;
mod native;
mod requests;
mod rows;
mod sandboxed;
mod tables;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use serde_json::{Value, json};

use crate::requests::{Made, Requests};
use crate::rows::Row;

/// Measures plugins without a network.
#[derive(Parser)]
struct Args {
    /// The folder of the bundled plugins' components and precompiled code.
    #[arg(long)]
    bundle: PathBuf,
    /// The component of `examples/bench/plugin`.
    #[arg(long, required_unless_present = "processors")]
    plugin: Option<PathBuf>,
    /// Requests to pass through the bundled plugins as well: big-endian `u32` lengths and OTLP.
    #[arg(long, required_unless_present = "processors")]
    requests: Option<PathBuf>,
    /// Measure the bundled processors beside their bars instead: those whose row's name begins so.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    processors: Option<String>,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 21)]
    rounds: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    // As the collector has it.
    sluice::memory::set_up();
    let sandbox = sandboxed::Plugins::new(args.bundle)?;
    if let Some(only) = &args.processors {
        println!("{}", bars::measure(&sandbox, only, args.rounds)?);
        return Ok(());
    }
    let (plugin, requests) = args.plugin.zip(args.requests).context("--plugin and --requests are needed")?;
    let batch = Requests::made(Made::default())?;
    let traffic = Requests::read(&requests)?;
    let mut rows = rows::all(&sandbox, &plugin, &batch, &traffic)?;
    rows.iter_mut().try_for_each(Row::check)?;
    let measured = measure::all(&mut rows, args.rounds)?;
    let shown: Vec<Value> = measured.iter().map(measure::Measured::json).collect();
    println!("{}", json!({"made": batch.json(), "traffic": traffic.json(), "rounds": args.rounds, "rows": shown}));
    Ok(())
}
