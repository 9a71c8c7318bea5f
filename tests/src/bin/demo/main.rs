//! The demonstration: a shop sends spans through Sluice to an upstream, a rule is edited while they
//! flow, and in the end the books are checked.
//!
//! Nothing is staged: the collector, the shop and the upstream are processes of their own, every
//! figure is from /metrics, from the collector's log or from the upstream, and the exit code is
//! not 0 unless all promises held.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it shows is what it is for")]
#![allow(
    clippy::indexing_slicing,
    clippy::duration_suboptimal_units,
    reason = "a JSON value gives null for what it has not"
)]

mod acts;
mod cast;
mod interrupt;
mod plugins;
mod promises;
mod screen;
mod sides;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::cast::Cast;
use crate::promises::Promises;
use crate::screen::Screen;

/// Shows Sluice at work on `examples/quickstart`.
#[derive(Parser)]
struct Args {
    /// Listen on 4317 and 4318 and stay up for your own traffic until Ctrl-C.
    #[arg(long)]
    stay: bool,
    /// Seconds of traffic before the rule is edited, and again after.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let shown = catch_unwind(AssertUnwindSafe(|| show(&args)));
    interrupt::give_way();
    match shown {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("demo: failed: {error:#}");
            ExitCode::FAILURE
        }
        Ok(Ok(false)) | Err(_) => ExitCode::FAILURE,
    }
}

fn show(args: &Args) -> Result<bool> {
    interrupt::install(args.stay)?;
    let mut screen = Screen::new();
    let mut promises = Promises::default();
    let mut cast = Cast::start(args.stay, &mut screen)?;
    let before = acts::as_configured(&mut cast, &mut screen, &mut promises, args.seconds)?;
    let during = acts::rule_edited(&mut cast, &mut screen, before)?;
    let sent = acts::as_edited(&mut cast, &mut screen, &mut promises, args.seconds, &during)?;
    if args.stay {
        acts::stay(&mut cast, &mut screen, &mut promises)?;
    }
    acts::close(cast, &mut screen, &mut promises, args.stay, sent)?;
    Ok(promises.verdict(&mut screen))
}
