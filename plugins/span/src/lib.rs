//! The `span` processor: names spans by their attributes, makes attributes of their names, and sets
//! their status, with the Collector's keys.

mod config;
mod name;
mod status;

use sluice_actions::Selection;
use sluice_sdk::fields::SPAN_NAME;
use sluice_sdk::prelude::*;

pub use config::Config;
use name::{Found, FromAttributes, ToAttributes};
use status::Status;

/// The plugin.
pub struct SpanProcessor {
    selection: Selection,
    from: Option<FromAttributes>,
    to: Option<ToAttributes>,
    status: Option<Status>,
}

impl Plugin for SpanProcessor {
    type Config = Config;

    fn describe() -> Description {
        let mut description = Description::new("span", env!("CARGO_PKG_VERSION"));
        for grant in ["spans.attributes:*", "spans.name", "scopes.name", "scopes.version", "resources.attributes:*"] {
            description = description.read(grant);
        }
        for grant in ["spans.attributes:*", "spans.name", "spans.status_code", "spans.status_message"] {
            description = description.write(grant);
        }
        description
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        let plugin = config.read()?;
        let access = plugin.access();
        Ok(Configured::with_access(plugin, access))
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let rows = if self.selection.chooses() {
            self.selection.rows(batch)?
        } else {
            (0..batch.len(Table::Spans)?).collect()
        };
        if rows.is_empty() {
            return Ok(());
        }
        self.rename(batch, &rows)?;
        if let Some(status) = &self.status {
            status.set(batch, &rows)?;
        }
        Ok(())
    }
}

impl SpanProcessor {
    fn access(&self) -> Access {
        let mut access = self.selection.access(Access::default());
        if let Some(from) = &self.from {
            for key in &from.keys {
                access = access.read(format!("spans.attributes:{key}"));
            }
            access = access.write("spans.name");
        }
        if let Some(to) = &self.to {
            access = access.read("spans.name");
            if !to.keep_original_name {
                access = access.write("spans.name");
            }
            for key in to.rules.iter().flat_map(|rule| &rule.names) {
                access = access.write(format!("spans.attributes:{key}"));
            }
        }
        if self.status.is_some() {
            access = access.write("spans.status_code").write("spans.status_message");
        }
        access
    }

    /// Names first, from attributes; then attributes, from the names.
    fn rename(&self, batch: &Batch<'_>, rows: &[u32]) -> Result<(), Failure> {
        let keys = self.from.iter().flat_map(|from| &from.keys);
        let columns = keys.map(|key| Ok(batch.attribute(Table::Spans, key)?.values));
        let columns = columns.collect::<Result<Vec<_>, Failure>>()?;
        let names = self.to.as_ref().map(|_| batch.texts(Table::Spans, SPAN_NAME)).transpose()?;
        let (mut changed, mut new_names, mut found) = (Vec::new(), Texts::default(), Found::new());
        for &row in rows {
            let place = row as usize;
            let mut new = self.from.as_ref().and_then(|from| from.name(&columns, place));
            if let (Some(to), Some(names)) = (&self.to, &names) {
                let name = new.as_deref().unwrap_or_else(|| names.str(place));
                new = to.apply(name, row, &mut found).or(new);
            }
            if let Some(name) = new {
                changed.push(row);
                new_names.push(name.as_bytes());
            }
        }
        if !changed.is_empty() {
            batch.set_texts(Table::Spans, SPAN_NAME, &changed, new_names)?;
        }
        for (key, texts) in found {
            let rows: Vec<u32> = texts.keys().copied().collect();
            let mut values = Texts::default();
            for text in texts.values() {
                values.push(text.as_bytes());
            }
            batch.set_attribute(Table::Spans, key, &rows, Values::strings(values))?;
        }
        Ok(())
    }
}

sluice_sdk::export!(SpanProcessor);
