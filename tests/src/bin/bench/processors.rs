//! The bundled processors beside their bars. The program that measures plugins in process measures these, too.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluice_tests::process;

use crate::Tables;
use crate::table::{grid, machine, verdict};

/// Runs it.
pub fn measure(rounds: usize) -> Result<Tables> {
    let mut command = Command::new(process::release("sluice-in-process"));
    command.arg("--bundle").arg(process::target().join("plugins/bundle"));
    command.arg("--processors").arg("--rounds").arg(rounds.to_string());
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed ({})", output.status);
    let measured = serde_json::from_slice(&output.stdout)?;
    Ok((render(&measured)?, measured))
}

/// The table.
fn render(measured: &Value) -> Result<String> {
    let heads = ["", "512 spans", "quickest", "bar", "and encode", "47 spans", "and encode"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    for row in measured["rows"].as_array().context("a list of rows")? {
        let shown = |ns: &Value| ns.as_f64().map_or_else(String::new, |ns| format!("{ns:.1}"));
        let is = row["ns"][0].as_f64();
        let bar = row["bar_ns"].as_f64().zip(is).map(|(bar, is)| verdict(&format!("{bar:.0}"), is <= bar));
        lines.push(vec![
            row["name"].as_str().unwrap_or_default().to_owned(),
            shown(&row["ns"][0]),
            shown(&row["least_ns"][0]),
            bar.unwrap_or_default(),
            shown(&row["ns"][1]),
            shown(&row["ns"][2]),
            shown(&row["ns"][3]),
        ]);
    }
    let made = &measured["made"];
    let bytes = made["bytes"].as_f64().zip(made["spans"].as_f64()).map(|(bytes, spans)| bytes / spans);
    Ok(format!(
        "{}; ns a span, of 12 attributes and {:.0} bytes; median of {} rounds.\n\n{}",
        machine(),
        bytes.context("sizes")?,
        measured["rounds"],
        grid(&lines),
    ))
}
