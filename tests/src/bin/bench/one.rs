//! One connection at full load: how many cores the collector keeps busy with it.
//!
//! On a machine with other work the collector does not get the cores that it could use, so the
//! table also says how many it wanted: its threads ran, or were ready and waited for a core.

use anyhow::Result;
use serde_json::{Value, json};
use sluice_tests::traffic;

use crate::Tables;
use crate::round::{self, Length, Load, Measured};
use crate::subject::Shape;
use crate::table::{grid, machine, verdict};

/// Requests on their way, which is what full load means here: so many that more of them get no more spans through. No core
/// waits for the sender, while those that it has read wait for their chains and others are still to be read.
const IN_FLIGHT: usize = 200;

/// How long there is load in each round.
const SECONDS: u64 = 6;

/// Of two cores, how many one connection must be able to use.
const BAR: f64 = 1.5;

/// Measures it with requests as they are, with requests that gzip made smaller, and with a chain that costs more, beside
/// the proxy that does nothing.
pub fn measure(rounds: usize) -> Result<Tables> {
    let kinds = [
        ("null proxy, multi-thread", Shape::Null, false),
        ("four plugins", Shape::Four, false),
        ("four plugins, requests compressed by gzip", Shape::Four, true),
        ("four plugins and `transform`", Shape::Five, false),
    ];
    let mut runs = kinds.map(|_| Vec::<Measured>::new());
    for _ in 0..rounds.max(1) {
        for ((_, shape, gzip), runs) in kinds.iter().zip(&mut runs) {
            let length = Length::Seconds(SECONDS);
            let load = Load { connections: 1, in_flight: IN_FLIGHT, gzip: *gzip, length };
            runs.push(round::measure(*shape, load)?);
        }
    }
    let heads = ["", "CPU ns/span", "× null", "spans/s", "cores", "bar", "left by load and sink", "cores wanted"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    let mut figures = Vec::new();
    let mut null = None;
    for ((name, shape, _), mut runs) in kinds.into_iter().zip(runs) {
        runs.sort_by(|one, other| one.cores.total_cmp(&other.cores));
        let Some(median) = runs.get(runs.len() / 2) else { continue };
        let ratio = median.cpu_ns / *null.get_or_insert(median.cpu_ns);
        let is_ours = shape != Shape::Null;
        lines.push(vec![
            name.to_owned(),
            format!("{:.0}", median.cpu_ns),
            format!("{ratio:.2}"),
            format!("{:.0}", median.spans_per_second),
            format!("{:.2}", median.cores),
            if is_ours { verdict(&format!("{BAR:.1}"), median.cores > BAR) } else { String::new() },
            format!("{:.2}", median.cores_left),
            format!("{:.2}", median.cores_wanted),
        ]);
        figures.push(json!({
            "name": name, "cpu_ns_per_span": median.cpu_ns, "ratio": ratio, "spans_per_second": median.spans_per_second,
            "cores": median.cores, "bar_cores": is_ours.then_some(BAR), "cores_left": median.cores_left,
            "cores_wanted": median.cores_wanted,
        }));
    }
    let source = traffic::requests()?.source;
    let text = format!(
        "{}; requests: {source}; 1 connection, {IN_FLIGHT} in flight for {SECONDS} s; median of {rounds} rounds.\n\n{}",
        machine(),
        grid(&lines)
    );
    Ok((text, Value::Array(figures)))
}
