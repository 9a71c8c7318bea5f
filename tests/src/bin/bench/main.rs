//! What Sluice costs, end to end: CPU per span and the rest of the table, beside a proxy that does
//! nothing, in one run.
//!
//! Every figure is of the release binary as a process of its own, between a load generator and a
//! sink that are processes too and are not counted. Rows are measured in turn, round after round,
//! and the median of the rounds is shown.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is this program's output")]
#![allow(
    clippy::indexing_slicing,
    clippy::duration_suboptimal_units,
    reason = "a JSON value gives null for what it has not"
)]

mod memory;
mod round;
mod subject;
mod table;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use sluice_tests::traffic;

use crate::round::Measured;
use crate::subject::Shape;

/// Measures Sluice.
#[derive(Parser)]
struct Args {
    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
    /// Measure only this.
    #[arg(long)]
    only: Option<Part>,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Spans a run.
    #[arg(long, default_value_t = 1_000_000)]
    spans: u64,
    /// Numbers of connections to measure with.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 16])]
    connections: Vec<usize>,
    /// Shapes to measure; all if none is named.
    #[arg(long, value_delimiter = ',')]
    shapes: Vec<Shape>,
    /// Measure memory, too.
    #[arg(long)]
    memory: bool,
    /// Seconds of load when memory is measured.
    #[arg(long, default_value_t = 60)]
    memory_seconds: u64,
}

/// A part of the table.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Processes between a load generator and a sink.
    E2e,
    /// Memory under load.
    Memory,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let wants = |part| args.only.is_none_or(|only| only == part);
    if wants(Part::E2e) {
        let shapes = if args.shapes.is_empty() { Shape::value_variants().to_vec() } else { args.shapes.clone() };
        let mut runs = Vec::new();
        for round in 1..=args.rounds {
            for &connections in &args.connections {
                for &shape in &shapes {
                    eprintln!("round {round} of {}: {}, {connections} connections", args.rounds, shape.title());
                    runs.push((shape, connections, round::measure(shape, connections, args.spans)?));
                }
            }
        }
        let rows = table::rows(&shapes, &args.connections, &runs);
        let source = traffic::requests()?.source;
        print!("{}", table::render(&rows, &source, args.rounds, args.markdown));
    }
    if args.memory || args.only == Some(Part::Memory) {
        print!("{}", memory::measure(args.memory_seconds, args.markdown)?);
    }
    Ok(())
}

/// All runs of the table.
type Runs = [(Shape, usize, Measured)];
