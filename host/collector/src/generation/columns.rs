//! Whether the columns that the configuration of a bundled plugin names are in its tables: the plugin itself
//! sees its tables only when spans come.

use std::sync::Arc;

use serde_json::Value;
use sluice_state::LiveTable;

use crate::config::processor::Settings;

/// The columns that are not there: where the configuration names them, and what to tell of it.
pub(super) fn missing(settings: &Settings, tables: &[(String, Arc<LiveTable>)]) -> Vec<(String, String)> {
    // A module of the operator's own may mean something else by its keys.
    if settings.kind != "enrich" || settings.module.is_some() {
        return Vec::new();
    }
    // What is not as the plugin wants it, the plugin says.
    let config: Value = serde_json::from_str(&settings.config_json).unwrap_or_default();
    let lookups = config.get("lookups").and_then(Value::as_array).into_iter().flatten();
    lookups.enumerate().flat_map(|(number, lookup)| of_lookup(number, lookup, tables)).collect()
}

fn of_lookup(number: usize, lookup: &Value, tables: &[(String, Arc<LiveTable>)]) -> Vec<(String, String)> {
    let name = lookup.get("table").and_then(Value::as_str);
    let Some((name, table)) = tables.iter().find(|(table, _)| Some(table.as_str()) == name) else {
        return Vec::new();
    };
    let table = table.now();
    let Some(mut known) = table.columns().map(Iterator::collect::<Vec<_>>) else { return Vec::new() };
    known.sort_unstable();
    let set = lookup.get("set").and_then(Value::as_object).into_iter().flatten();
    let named = set.filter_map(|(attribute, column)| Some((attribute, column.as_str()?)));
    let missing = named.filter(|(_, column)| !known.contains(column));
    let listed = known.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ");
    let told = |(attribute, column): (&String, &str)| {
        let message = format!("the table `{name}` has no column `{column}`; it has {listed}");
        (format!("lookups[{number}].set.{attribute}"), message)
    };
    missing.map(told).collect()
}
