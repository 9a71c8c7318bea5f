//! What a queue on disk costs, beside one in memory, and what the disk itself can do.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use sluice_tests::{process, traffic};

use crate::Tables;
use crate::round::{self, Length, Load, Measured};
use crate::subject::Shape;
use crate::table::{grid, machine, verdict};

/// One sender's pool of connections.
const CONNECTIONS: usize = 4;

/// Requests on their way at a time, over all of them: they share syncs.
const IN_FLIGHT: usize = 64;

/// The most CPU that it may take, in times of the queue in memory.
const BAR: f64 = 1.5;

/// Spans a second that it must take, at least.
const RATE_BAR: f64 = 100_000.0;

/// How much the disk is given at once when it is measured: about what the log does.
const WRITE: usize = 1 << 20;

/// Measures both queues in turn.
pub fn measure(rounds: usize, spans: u64) -> Result<Tables> {
    let shapes = [Shape::Pass, Shape::Durable];
    let load = Load { connections: CONNECTIONS, in_flight: IN_FLIGHT, gzip: false, length: Length::Spans(spans) };
    let mut runs: [Vec<Measured>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..rounds.max(1) {
        for (shape, runs) in shapes.into_iter().zip(&mut runs) {
            runs.push(round::measure(shape, load)?);
        }
    }
    let disk = disk()?;
    let [memory, durable] = runs.map(median);
    let ratio = durable.cpu_ns / memory.cpu_ns;
    let heads = ["", "CPU ns/span", "× memory", "bar", "spans/s", "bar"];
    let row = |name: &str, run: &Measured| {
        vec![
            name.to_owned(),
            format!("{:.0}", run.cpu_ns),
            String::new(),
            String::new(),
            format!("{:.0}", run.spans_per_second),
            String::new(),
        ]
    };
    let mut on_disk = row("queue on disk, synced", &durable);
    for (place, text) in [
        (2, format!("{ratio:.2}")),
        (3, verdict(&format!("{BAR:.1}"), ratio <= BAR)),
        (5, verdict(&format!("{RATE_BAR:.0}"), durable.spans_per_second >= RATE_BAR)),
    ] {
        if let Some(cell) = on_disk.get_mut(place) {
            *cell = text;
        }
    }
    let lines = [heads.map(str::to_owned).to_vec(), row("queue in memory", &memory), on_disk];
    let text = format!(
        "{}; requests: {}; {CONNECTIONS} connections, {IN_FLIGHT} in flight; median of {rounds} rounds. The disk alone: {disk:.0} MB/s in synced writes of 1 MiB.\n\n{}",
        machine(),
        traffic::requests()?.source,
        grid(&lines)
    );
    let figures = json!({
        "memory_ns": memory.cpu_ns, "durable_ns": durable.cpu_ns, "ratio": ratio, "bar": BAR,
        "spans_per_second": durable.spans_per_second, "disk_bytes_per_second": disk * 1e6,
    });
    Ok((text, figures))
}

fn median(mut runs: Vec<Measured>) -> Measured {
    runs.sort_by(|one, other| one.cpu_ns.total_cmp(&other.cpu_ns));
    runs.swap_remove(runs.len() / 2)
}

/// How much the disk takes when each write is synced, in megabytes a second.
fn disk() -> Result<f64> {
    let mut file = tempfile::tempfile_in(process::workspace().join("target"))?;
    let (bytes, begin, mut written) = (vec![7; WRITE], Instant::now(), 0);
    while begin.elapsed() < Duration::from_secs(1) {
        file.write_all(&bytes)?;
        file.sync_data()?;
        written += WRITE;
    }
    Ok(written as f64 / 1e6 / begin.elapsed().as_secs_f64())
}
