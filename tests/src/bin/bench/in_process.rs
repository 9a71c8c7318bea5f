//! The rows without a network: a program of its own measures them, because it is the only one
//! that is built with Sluice's own crates.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluice_tests::{process, traffic};

use crate::Tables;
use crate::table::{grid, machine, verdict};

/// Runs it.
pub fn measure(rounds: usize) -> Result<Tables> {
    let mut requests = tempfile::NamedTempFile::new()?;
    for request in traffic::requests()?.requests {
        requests.write_all(&u32::try_from(request.len())?.to_be_bytes())?;
        requests.write_all(&request)?;
    }
    requests.flush()?;
    let mut command = Command::new(process::release("sluice-in-process"));
    command.arg("--bundle").arg(process::target().join("plugins/bundle"));
    command.arg("--plugin").arg(process::target().join("bench/bench_plugin.wasm"));
    command.arg("--requests").arg(requests.path()).arg("--rounds").arg(rounds.to_string());
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed ({})", output.status);
    let measured = serde_json::from_slice(&output.stdout)?;
    Ok((render(&measured)?, measured))
}

/// The table.
fn render(measured: &Value) -> Result<String> {
    let heads = ["", "spans a call", "ns/span", "native ns/span", "× native", "bar ns", "bar ×"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    let rows = measured["rows"].as_array().context("a list of rows")?;
    for row in rows {
        let shown =
            |name: &str, digits: usize| row[name].as_f64().map_or_else(String::new, |ns| format!("{ns:.digits$}"));
        let bar = |bar: &str, of: &str, digits: usize| match (row[bar].as_f64(), row[of].as_f64()) {
            (Some(most), Some(is)) => verdict(&format!("{most:.digits$}"), is <= most),
            _ => String::new(),
        };
        lines.push(vec![
            row["name"].as_str().unwrap_or_default().to_owned(),
            row["spans"].to_string(),
            shown("ns", 1),
            shown("native_ns", 1),
            shown("ratio", 2),
            bar("bar_ns", "ns", 0),
            bar("bar_ratio", "ratio", 1),
        ]);
    }
    let per_span = |of: &Value| Some(of["bytes"].as_f64()? / of["spans"].as_f64()?);
    Ok(format!(
        "{}; 512 spans: made, {:.0} bytes each; others: {}, {:.0} bytes each; median of {} rounds.\n\n{}",
        machine(),
        per_span(&measured["made"]).context("sizes")?,
        traffic::requests()?.source,
        per_span(&measured["traffic"]).context("sizes")?,
        measured["rounds"],
        grid(&lines),
    ))
}
