//! The `attributes` processor: inserts, updates, upserts and deletes attributes of spans, with the
//! Collector's keys.

mod columns;
mod config;

use sluice_sdk::prelude::*;

use columns::Columns;
pub use config::Config;
use config::{Action, Effect, Source};

/// The plugin.
pub struct Attributes {
    actions: Vec<Action>,
    /// Keys whose values an action needs.
    read: Vec<String>,
    /// Whether an action must be told its rows; the host knows those of the others.
    names_rows: bool,
}

impl Plugin for Attributes {
    type Config = Config;

    fn describe() -> Description {
        Description::new("attributes", env!("CARGO_PKG_VERSION")).read("spans.attributes:*").write("spans.attributes:*")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        let actions = config.actions()?;
        let mut read: Vec<String> = actions.iter().flat_map(Action::reads).map(ToOwned::to_owned).collect();
        read.sort_unstable();
        read.dedup();
        let mut access = Access::default();
        for key in &read {
            access = access.read(format!("spans.attributes:{key}"));
        }
        for action in &actions {
            access = access.write(format!("spans.attributes:{}", action.key));
        }
        let names_rows = actions.iter().any(|action| action.filled().is_none());
        Ok(Configured::with_access(Self { actions, read, names_rows }, access))
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        // Later actions see what earlier ones did, as in the Collector; the batch shows edits only
        // after the call. So the columns that are read are kept here, and kept up to date.
        let len = if self.names_rows { batch.len(Table::Spans)? } else { 0 };
        let rows: Vec<u32> = (0..len).collect();
        let mut columns = Columns::pull(batch, &self.read, rows.len())?;
        for action in &self.actions {
            apply(action, batch, &rows, &mut columns)?;
        }
        Ok(())
    }
}

fn apply(action: &Action, batch: &Batch<'_>, rows: &[u32], columns: &mut Columns) -> Result<(), Failure> {
    let key = &action.key;
    if let Some((value, which)) = action.filled() {
        return Ok(batch.fill_attribute(Table::Spans, key, which, value.clone())?);
    }
    let (from, present, absent) = match &action.effect {
        Effect::Delete => {
            columns.remove(key);
            return Ok(batch.remove_attribute(Table::Spans, key, rows)?);
        }
        Effect::Set { from, present, absent } => (from, *present, *absent),
    };
    let applies = |row: &&u32| {
        let row = **row as usize;
        // An attribute that is not there has no value to give.
        let has_value = match from {
            Source::Constant(_) => true,
            Source::Attribute(other) => columns.has(other, row),
        };
        has_value && if columns.has(key, row) { present } else { absent }
    };
    let chosen: Vec<u32> = rows.iter().filter(applies).copied().collect();
    if chosen.is_empty() {
        return Ok(());
    }
    let values = match from {
        Source::Constant(value) => value.clone(),
        Source::Attribute(other) => columns.values(other, &chosen),
    };
    if action.is_read_later {
        columns.set(key, &chosen, &values);
    }
    Ok(batch.set_attribute(Table::Spans, key, &chosen, values)?)
}

sluice_sdk::export!(Attributes);
