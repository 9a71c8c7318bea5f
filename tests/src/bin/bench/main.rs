//! What Sluice costs: tables in Markdown, as docs/benchmarks.md has them.
//!
//! End to end every figure is of the release binary as a process of its own, between a load
//! generator and a sink that are processes too and are not counted. Rows are measured in turn,
//! round after round, beside a proxy that does nothing, and the median of the rounds is shown. In
//! process plugins are measured beside the same job in native Rust. Where there is a bar the table
//! says whether it is met; that is no failure.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is this program's output")]
#![allow(
    clippy::indexing_slicing,
    clippy::duration_suboptimal_units,
    reason = "a JSON value gives null for what it has not"
)]

mod durable;
mod in_process;
mod memory;
mod one;
mod page;
mod processors;
mod round;
mod subject;
mod table;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use serde_json::{Map, Value};
use sluice_tests::traffic;

use crate::round::{Length, Load, Measured};
use crate::subject::Shape;

/// Requests on their way at a time end to end on each connection.
const IN_FLIGHT: usize = 8;

/// How broad the traffic of a run is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Width {
    connections: usize,
    /// Requests on their way at a time, over all connections together.
    in_flight: usize,
}

/// With so many connections: as many requests on each, and where there are more connections than that, as many
/// on all of them together, too.
fn widths(connections: usize) -> Vec<Width> {
    let each = Width { connections, in_flight: connections * IN_FLIGHT };
    let together = Width { connections, in_flight: IN_FLIGHT };
    if connections > IN_FLIGHT { vec![each, together] } else { vec![each] }
}

/// Measures Sluice.
#[derive(Parser)]
struct Args {
    /// Measure only these parts.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Rounds end to end; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Rounds in process; the median counts.
    #[arg(long, default_value_t = 21)]
    plugin_rounds: usize,
    /// Spans a run: so many that what a process needs to start and to end is a hundredth of it.
    #[arg(long, default_value_t = 3_000_000)]
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
    /// Write the tables into docs/benchmarks.md, in the place of those there.
    #[arg(long)]
    write: bool,
    /// Write all figures into this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A part of the table.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Processes between a load generator and a sink.
    E2e,
    /// Plugins in process, beside native Rust.
    Plugins,
    /// The bundled processors beside their bars.
    Processors,
    /// One connection that uses all cores.
    One,
    /// A queue on disk beside one in memory.
    Durable,
    /// Memory under load.
    Memory,
}

/// What a part gives: its table and its figures.
type Tables = (String, Value);

fn main() -> Result<()> {
    let args = Args::parse();
    let mut figures = Map::new();
    for part in Part::value_variants() {
        let is_default = *part != Part::Memory || args.memory;
        if !(args.only.contains(part) || args.only.is_empty() && is_default) {
            continue;
        }
        let (name, (text, json)) = match part {
            Part::E2e => ("end to end", end_to_end(&args)?),
            Part::Plugins => ("in process", in_process::measure(args.plugin_rounds)?),
            Part::Processors => ("processors", processors::measure(args.plugin_rounds)?),
            Part::One => ("one connection", one::measure(args.rounds)?),
            Part::Durable => ("queue on disk", durable::measure(args.rounds, args.spans)?),
            Part::Memory => ("memory", memory::measure(args.memory_seconds)?),
        };
        println!("{text}");
        if args.write {
            page::write(name, &text)?;
        }
        figures.insert(name.to_owned(), json);
    }
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_vec_pretty(&figures)?)?;
    }
    Ok(())
}

/// All runs of a table.
type Runs = [(Shape, Width, Measured)];

fn end_to_end(args: &Args) -> Result<Tables> {
    let shapes = if args.shapes.is_empty() { Shape::value_variants().to_vec() } else { args.shapes.clone() };
    let widths: Vec<_> = args.connections.iter().flat_map(|&connections| widths(connections)).collect();
    let mut runs = Vec::new();
    for round in 1..=args.rounds {
        for &width in &widths {
            let Width { connections, in_flight } = width;
            for &shape in &shapes {
                eprintln!("round {round} of {}: {}, {connections} connections", args.rounds, shape.title());
                let load = Load { connections, in_flight, gzip: false, length: Length::Spans(args.spans) };
                runs.push((shape, width, round::measure(shape, load)?));
            }
        }
    }
    let rows = table::rows(&shapes, &widths, &runs);
    let source = traffic::requests()?.source;
    Ok((table::render(&rows, &source, args.rounds), table::json(&rows)))
}
