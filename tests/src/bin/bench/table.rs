//! Tables in Markdown. The end-to-end one: the median of every row, and its ratio to the null proxy
//! with as many connections and requests in flight.

use serde_json::{Value, json};

use crate::round::Measured;
use crate::subject::Shape;
use crate::{Runs, Width};

/// A row of the table.
pub struct Row {
    shape: Shape,
    width: Width,
    median: Measured,
    null_cpu_ns: Option<f64>,
}

/// One row for every shape and width.
pub fn rows(shapes: &[Shape], widths: &[Width], runs: &Runs) -> Vec<Row> {
    let mut rows = Vec::new();
    for &width in widths {
        let null = median(runs, Shape::Null, width);
        for &shape in shapes {
            if let Some(median) = median(runs, shape, width) {
                rows.push(Row { shape, width, median, null_cpu_ns: null.map(|null| null.cpu_ns) });
            }
        }
    }
    rows
}

/// The run that is in the middle by CPU per span.
fn median(runs: &Runs, shape: Shape, width: Width) -> Option<Measured> {
    let ours = runs.iter().filter(|run| run.0 == shape && run.1 == width);
    let mut ours: Vec<Measured> = ours.map(|run| run.2).collect();
    ours.sort_by(|one, other| one.cpu_ns.total_cmp(&other.cpu_ns));
    ours.get(ours.len() / 2).copied()
}

/// The table.
pub fn render(rows: &[Row], source: &str, rounds: usize) -> String {
    let heads = ["", "connections", "in flight", "CPU ns/span", "× null", "bar", "spans/s", "cores", "peak MB", "left"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    for row in rows {
        let ratio = row.ratio();
        lines.push(vec![
            row.shape.title().to_owned(),
            row.width.connections.to_string(),
            row.width.in_flight.to_string(),
            format!("{:.0}", row.median.cpu_ns),
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            row.shape
                .bar()
                .zip(ratio)
                .map_or_else(String::new, |(bar, ratio)| verdict(&format!("{bar:.2}"), ratio <= bar)),
            format!("{:.0}", row.median.spans_per_second),
            format!("{:.2} of {:.2}", row.median.cores, row.median.cores_left),
            format!("{:.1}", row.median.peak_bytes as f64 / 1e6),
            format!("{:.1}%", row.median.left * 100.0),
        ]);
    }
    format!("{}; requests: {source}; median of {rounds} rounds.\n\n{}", machine(), grid(&lines))
}

/// The same for programs.
pub fn json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        let Measured { cpu_ns, spans_per_second, cores, cores_left, peak_bytes, left, .. } = row.median;
        json!({
            "shape": row.shape.title(), "connections": row.width.connections, "in_flight": row.width.in_flight, "cpu_ns_per_span": cpu_ns,
            "ratio": row.ratio(), "bar_ratio": row.shape.bar(), "spans_per_second": spans_per_second,
            "cores": cores, "cores_left": cores_left, "peak_bytes": peak_bytes, "left": left,
        })
    };
    rows.iter().map(row).collect()
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.null_cpu_ns.map(|null| self.median.cpu_ns / null)
    }
}

/// A bar, and whether it is met.
pub fn verdict(bar: &str, is_met: bool) -> String {
    format!("{bar}: {}", if is_met { "met" } else { "missed" })
}

/// How many cores of what make.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = |line: &str| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned());
    let make = text.lines().find_map(named).unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!("{cores} cores of {make}")
}

/// Lays cells out in columns, the first line as the head.
pub fn grid(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).filter_map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count());
            let (first, second) = if column == 0 { (cell, &pad) } else { (&pad, cell) };
            text.extend(["| ", first, second, " "]);
        }
        text.push_str("|\n");
        if number == 0 {
            let rules = (0..columns).map(|column| if column == 0 { "| --- " } else { "| ---: " });
            text.extend(rules.chain(["|\n"]));
        }
    }
    text
}
