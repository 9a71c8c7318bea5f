//! The look-up tables of the process: opened for plugins, loaded again when their files change, told
//! of in log and metrics.
//!
//! A table is data, not part of a generation: when its file changes it is replaced at once, for all
//! plugins that have it, and a file that is broken leaves the table as it was.

use std::sync::Arc;

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use sluice_state::{LiveTable, Loaded, Tables};

use crate::config::processor::Table;

/// Where Linux tells the host's name.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// The tables of the process, and their figures. Cheap to clone.
#[derive(Clone)]
pub struct Shelf {
    tables: Arc<Tables>,
    rows: IntGaugeVec,
    bytes: IntGaugeVec,
    loads: IntCounterVec,
}

impl Shelf {
    /// No tables yet.
    ///
    /// # Errors
    /// When the registry holds one of the names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let family = IntGaugeVec::new(Opts::new(name, help), &["plugin", "table"])?;
            registry.register(Box::new(family.clone())).map(|()| family)
        };
        let loads = Opts::new("sluice_plugin_table_loads_total", "Attempts to load a look-up table.");
        let loads = IntCounterVec::new(loads, &["plugin", "table", "outcome"])?;
        registry.register(Box::new(loads.clone()))?;
        Ok(Self {
            tables: Arc::default(),
            rows: gauge("sluice_plugin_table_rows", "Rows of a look-up table.")?,
            bytes: gauge("sluice_plugin_table_bytes", "Memory of a look-up table.")?,
            loads,
        })
    }

    /// The tables of a plugin; those that serve already are not loaded again. Blocking.
    ///
    /// # Errors
    /// When a file cannot be read or is no table.
    pub fn open(&self, plugin: &str, tables: &[(String, Table)]) -> Result<Vec<(String, Arc<LiveTable>)>, String> {
        let open = |(name, table): &(String, Table)| {
            let live = match table {
                Table::File(spec) => self.tables.open(plugin, name, spec).map_err(|error| error.to_string()),
                Table::Host { env } => host(env).map(LiveTable::new).map(Arc::new),
            };
            self.loads.with_label_values(&[plugin, name, if live.is_ok() { "loaded" } else { "failed" }]).inc();
            let live = live.map_err(|error| format!("table `{name}`: {error}"))?;
            self.show(plugin, name, &live.now());
            Ok((name.clone(), live))
        };
        tables.iter().map(open).collect()
    }

    /// Loads again what has changed. Blocking.
    pub fn refresh(&self) {
        let all = self.tables.refresh();
        // Tables that nobody has any more are not shown any more.
        self.rows.reset();
        self.bytes.reset();
        for Loaded { plugin, name, table, outcome } in all {
            self.show(&plugin, &name, &table);
            let Some(outcome) = outcome else { continue };
            let word = if outcome.is_ok() { "loaded" } else { "failed" };
            self.loads.with_label_values(&[&plugin, &name, word]).inc();
            match outcome {
                Ok(()) => {
                    tracing::info!(event = "plugin.table", plugin, table = name, outcome = word, rows = table.rows());
                }
                Err(error) => {
                    tracing::error!(event = "plugin.table", plugin, table = name, outcome = word, reason = %error);
                }
            }
        }
    }

    fn show(&self, plugin: &str, name: &str, table: &sluice_state::Table) {
        self.rows.with_label_values(&[plugin, name]).set(table.rows() as i64);
        self.bytes.with_label_values(&[plugin, name]).set(table.bytes() as i64);
    }
}

/// What is known of the machine, in OpenTelemetry's names, and these environment variables. What
/// cannot be found out is not in it.
fn host(env: &[String]) -> Result<sluice_state::Table, String> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut facts = vec![("os.type".to_owned(), std::env::consts::OS.to_owned())];
    facts.push(("host.arch".to_owned(), arch.to_owned()));
    match std::fs::read_to_string(HOST_NAME) {
        Ok(name) => facts.push(("host.name".to_owned(), name.trim().to_owned())),
        Err(error) => tracing::warn!(event = "plugin.table", table = "host", %error, "the host's name is not known"),
    }
    for name in env {
        match std::env::var(name) {
            Ok(value) => facts.push((format!("env.{name}"), value)),
            Err(std::env::VarError::NotPresent) => {}
            Err(error) => return Err(format!("environment variable {name}: {error}")),
        }
    }
    sluice_state::Table::of_pairs(facts.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use sluice_state::{Format, Spec};

    use super::*;

    fn value(table: &sluice_state::Table, name: &str) -> Option<String> {
        let found = table.look_up("value", &[name].iter().collect(), 1 << 20).unwrap();
        (found.present == [1]).then(|| String::from_utf8(found.values.bytes).unwrap())
    }

    #[test]
    fn the_table_of_the_host_knows_the_machine_and_only_the_variables_that_are_allowed() {
        let table = host(&["CARGO_PKG_NAME".to_owned(), "SLUICE_NOT_SET".to_owned()]).unwrap();
        assert_eq!(value(&table, "os.type").as_deref(), Some("linux"));
        let uname = std::process::Command::new("uname").arg("-n").output().unwrap();
        assert_eq!(value(&table, "host.name").as_deref(), Some(String::from_utf8(uname.stdout).unwrap().trim()));
        assert!(value(&table, "host.arch").is_some());
        // Set by cargo for every test.
        assert_eq!(value(&table, "env.CARGO_PKG_NAME").as_deref(), Some("sluice"));
        assert_eq!(value(&table, "env.SLUICE_NOT_SET"), None);
        assert_eq!(value(&table, "env.PATH"), None);
        let twice = ["CARGO_PKG_NAME".to_owned(), "CARGO_PKG_NAME".to_owned()];
        assert!(host(&twice).unwrap_err().contains("env.CARGO_PKG_NAME"));
    }

    #[test]
    fn loads_are_counted_and_what_serves_is_shown() {
        let registry = Registry::new();
        let shelf = Shelf::new(&registry).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.csv");
        let spec = Spec { file: file.clone(), format: Format::Csv, key: "id".to_owned(), most_bytes: 1 << 20 };
        let tables = [("t".to_owned(), Table::File(spec))];
        assert!(shelf.open("wasm/p", &tables).unwrap_err().starts_with("table `t`: cannot read "));
        fs::write(&file, "id\nx\ny\n").unwrap();
        let open = shelf.open("wasm/p", &tables).unwrap();
        fs::write(&file, "id\nx\ny\nz\n").unwrap();
        shelf.refresh();
        fs::write(&file, "broken").unwrap();
        shelf.refresh();
        let loads = |outcome| shelf.loads.with_label_values(&["wasm/p", "t", outcome]).get();
        assert_eq!((loads("loaded"), loads("failed")), (2, 2));
        let shown = || registry.gather().iter().any(|family| family.name() == "sluice_plugin_table_rows");
        assert_eq!(shelf.rows.with_label_values(&["wasm/p", "t"]).get(), 3);
        assert!(shown());
        drop(open);
        shelf.refresh();
        assert!(!shown());
    }
}
