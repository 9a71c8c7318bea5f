//! Look-up tables: an attribute is the key of a row, whose columns become attributes.

use std::collections::BTreeMap;

use sluice_sdk::kind::INT;
use sluice_sdk::prelude::*;
use sluice_sdk::tables;

use crate::insert::{Value, insert};

/// One look-up.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// The table, one of the operator's.
    table: String,
    /// The attribute that is the key.
    key: String,
    /// `record` (spans) or `resource`.
    #[serde(default)]
    context: Context,
    /// The attributes that are set, and the columns that they come from.
    set: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Context {
    #[default]
    Record,
    Resource,
}

impl Lookup {
    /// Adds what is wrong with it.
    pub fn check(&self, path: &str, problems: &mut Vec<ConfigError>) {
        let mut complain = |key: &str, message: &str| problems.push(ConfigError::new(format!("{path}.{key}"), message));
        if self.table.is_empty() || self.table.ends_with('*') {
            complain("table", "must be the name of a table in `sluice.tables`");
        }
        if self.key.is_empty() {
            complain("key", "must be an attribute");
        }
        if self.set.is_empty() {
            complain("set", "must name at least one attribute and its column");
        }
    }

    /// Adds what must be granted.
    pub fn access(&self, access: Access) -> Access {
        let table = if self.context == Context::Record { "spans" } else { "resources" };
        let grant = |key: &String| format!("{table}.attributes:{key}");
        let access = access.read(format!("tables:{}", self.table)).read(grant(&self.key));
        self.set.keys().fold(access, |access, key| access.read(grant(key)).write(grant(key)))
    }

    /// Looks up.
    ///
    /// # Errors
    /// When the host refuses, as when the table has no such column.
    pub fn apply(&self, batch: &Batch<'_>) -> Result<(), Failure> {
        let table = if self.context == Context::Record { Table::Spans } else { Table::Resources };
        let values = batch.attribute(table, &self.key)?.values;
        let (mut known, mut keys) = (BTreeMap::new(), Texts::default());
        let mut number = |row| {
            let key = key(&values, row)?;
            let next = keys.len();
            let number = *known.entry(key.clone()).or_insert(next);
            if number == next {
                keys.push(key.as_bytes());
            }
            Some(number)
        };
        let numbers: Vec<Option<usize>> = (0..values.len()).map(&mut number).collect();
        if keys.is_empty() {
            return Ok(());
        }
        for (attribute, column) in &self.set {
            let found = tables::look_up(&self.table, column, &keys)?;
            let value = |row: usize| Some(Value::Text(found.str((*numbers.get(row)?)?)?));
            insert(batch, table, attribute, numbers.len(), value)?;
        }
        Ok(())
    }
}

/// A key: a string, or a number as it is written.
fn key(values: &Values, row: usize) -> Option<String> {
    if values.kind(row) == INT {
        return Some((values.bits(row) as i64).to_string());
    }
    values.str(row).map(str::to_owned)
}
