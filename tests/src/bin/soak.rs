//! `cargo xtask soak NAME`: one result as one JSON line on stdout; exit code 1 if a promise was broken.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the result is what it is for")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use serde::Serialize;
use sluice_tests::soak::{connections, kill9, outage, restart, swaps};

/// Does one thing for long, or many times.
#[derive(Parser)]
struct Args {
    /// Which.
    name: Name,
    /// `connections`: how many there are. `kill9`: how often the process is killed. `outage`: how many seconds the upstream is away. `restart`: how
    /// often the process is followed by another. `swaps`: how often something is changed.
    #[arg(long)]
    count: Option<u32>,
    /// The same seed does the same things; when they happen depends on the machine.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// Leave 2,000 connections there for 30 seconds that are slow, half-open, greedy or broken.
    Connections,
    /// Kill the process at random moments under load, 100 times.
    Kill9,
    /// Take the upstream away with traffic on, for 120 seconds.
    Outage,
    /// Have the process followed by another under load, 20 times.
    Restart,
    /// Change plugins and the configuration under load, 300 times.
    Swaps,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.name {
        Name::Connections => {
            let count = args.count.unwrap_or(2_000) as usize;
            connections::run(count, Duration::from_secs(30), args.seed).and_then(|it| tell(&it, it.is_good()))
        }
        Name::Kill9 => kill9::run(args.count.unwrap_or(100), args.seed).and_then(|it| tell(&it, it.is_good())),
        Name::Outage => outage::run(Duration::from_secs(u64::from(args.count.unwrap_or(120))), args.seed)
            .and_then(|it| tell(&it, it.is_good())),
        Name::Restart => restart::run(args.count.unwrap_or(20), args.seed).and_then(|it| tell(&it, it.is_good())),
        Name::Swaps => {
            swaps::run(args.count.unwrap_or(300), args.seed, &swaps::plugin()).and_then(|it| tell(&it, it.is_good()))
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tell(outcome: &impl Serialize, good: bool) -> Result<bool> {
    println!("{}", serde_json::to_string(outcome)?);
    Ok(good)
}
