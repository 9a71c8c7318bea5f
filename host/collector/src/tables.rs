//! The look-up tables of the process: opened for plugins, loaded again when their files change, told
//! of in log and metrics.
//!
//! A table is data, not part of a generation: when its file changes it is replaced at once, for all
//! plugins that have it, and a file that is broken leaves the table as it was.

mod host;

use std::sync::Arc;

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use sluice_state::{LiveTable, Loaded, Spec, Tables};

use crate::config::processor::{HOST_TABLE, Table};

use host::{Hosts, Looked};

/// The tables of the process, and their figures. Cheap to clone.
#[derive(Clone)]
pub struct Shelf {
    tables: Arc<Tables>,
    hosts: Arc<Hosts>,
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
            hosts: Arc::default(),
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
                Table::File(spec) => self.open_file(plugin, name, spec)?,
                Table::Host(facts) => self.opened(plugin, name, self.hosts.open(plugin, facts))?,
            };
            Ok((name.clone(), live))
        };
        tables.iter().map(open).collect()
    }

    /// A table of a plugin whose file the plugin names itself, as [`Shelf::open`]. Blocking.
    ///
    /// # Errors
    /// When the file cannot be read or is no table.
    pub fn open_file(&self, plugin: &str, name: &str, spec: &Spec) -> Result<Arc<LiveTable>, String> {
        let live = self.tables.open(plugin, name, spec).map_err(|error| error.to_string());
        self.opened(plugin, name, live)
    }

    /// Counts that a table was opened, or not, and shows it.
    fn opened(&self, plugin: &str, name: &str, live: Result<Arc<LiveTable>, String>) -> Result<Arc<LiveTable>, String> {
        self.loads.with_label_values(&[plugin, name, if live.is_ok() { "loaded" } else { "failed" }]).inc();
        let live = live.map_err(|error| format!("table `{name}`: {error}"))?;
        self.show(plugin, name, &live.now());
        Ok(live)
    }

    /// Loads again what has changed. Blocking.
    pub fn refresh(&self) {
        let all = self.tables.refresh();
        // Tables that nobody has any more are not shown any more.
        self.rows.reset();
        self.bytes.reset();
        for Loaded { plugin, name, table, outcome } in all {
            self.tell(&plugin, &name, &table, outcome.map(|outcome| outcome.map_err(|error| error.to_string())));
        }
        for Looked { plugin, table, outcome } in self.hosts.refresh() {
            self.tell(&plugin, HOST_TABLE, &table, outcome);
        }
    }

    /// Shows a table, and tells how loading it went, if that was tried.
    fn tell(&self, plugin: &str, name: &str, table: &sluice_state::Table, outcome: Option<Result<(), String>>) {
        self.show(plugin, name, table);
        let Some(outcome) = outcome else { return };
        let word = if outcome.is_ok() { "loaded" } else { "failed" };
        self.loads.with_label_values(&[plugin, name, word]).inc();
        match outcome {
            Ok(()) => {
                tracing::info!(event = "plugin.table", plugin, table = name, outcome = word, rows = table.rows());
            }
            Err(reason) => {
                tracing::error!(event = "plugin.table", plugin, table = name, outcome = word, reason);
            }
        }
    }

    fn show(&self, plugin: &str, name: &str, table: &sluice_state::Table) {
        self.rows.with_label_values(&[plugin, name]).set(table.rows() as i64);
        self.bytes.with_label_values(&[plugin, name]).set(table.bytes() as i64);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use sluice_state::Format;

    use super::*;

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
