//! The live table: one line a plugin, every figure from /metrics.

use sluice_tests::collector::Metrics;

/// The table of a scrape, the head first.
pub fn table(metrics: &Metrics) -> Vec<String> {
    let mut lines = vec![format!(
        "  {:<24} {:<9} {:>10} {:>10} {:>10} {:>9}",
        "plugin", "version", "spans in", "dropped", "edited", "ns/span"
    )];
    let mut plugins: Vec<_> = metrics.all("sluice_plugin_info").filter(|sample| sample.value > 0.0).collect();
    plugins.sort_by(|one, other| one.label("plugin").cmp(other.label("plugin")));
    for info in plugins {
        let plugin = info.label("plugin");
        let spans = |outcome| metrics.sum("sluice_plugin_spans_total", &[("plugin", plugin), ("outcome", outcome)]);
        let seconds = metrics.sum("sluice_plugin_duration_seconds_sum", &[("plugin", plugin)]);
        let each = if spans("in") > 0.0 { seconds * 1e9 / spans("in") } else { 0.0 };
        lines.push(format!(
            "  {plugin:<24} {:<9} {:>10} {:>10} {:>10} {each:>9.0}",
            info.label("version"),
            spans("in"),
            spans("dropped"),
            spans("edited"),
        ));
    }
    lines
}
