//! Actions on attributes, as the Collector's `attributes` and `resource` processors have them, and the
//! choice of the spans that they are for (`include`, `exclude`).
//!
//! Configuration comes in as [`ActionConfig`] and [`MatchConfig`]; what is wrong with it is told with its path.
//! [`Actions::apply`] pulls the columns that actions need, once, and pushes an edit an action. When the host
//! refuses one, the call fails and nothing is changed.

mod columns;
mod config;
mod constant;
mod selection;
mod value;

use sluice_sdk::Refusal;
use sluice_sdk::prelude::*;

use columns::Columns;
pub use config::ActionConfig;
use config::{Action, Effect, Keys, Source};
pub use selection::{MatchConfig, Selection};

/// What is done to the attributes of a table.
pub struct Actions {
    table: Table,
    list: Vec<Action>,
    /// Keys whose values an action needs.
    read: Vec<String>,
    /// Whether a pattern finds keys.
    finds_keys: bool,
    /// Whether it is for some rows only.
    chosen: bool,
    /// Whether an action must be told its rows; the host knows those of the others.
    names_rows: bool,
}

/// What a call works on.
struct Call<'a> {
    batch: &'a Batch<'a>,
    table: Table,
    rows: &'a [u32],
    columns: Columns,
}

impl Actions {
    /// Reads a list of actions that stands at `path`. `chosen` says that they will be for some rows only.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn read(configs: Vec<ActionConfig>, path: &str, table: Table, chosen: bool) -> Result<Self, Vec<ConfigError>> {
        let mut problems = Vec::new();
        if configs.is_empty() {
            problems.push(ConfigError::new(path, "at least one action is needed"));
        }
        let mut actions = Vec::new();
        for (i, config) in configs.into_iter().enumerate() {
            match config.read(&format!("{path}[{i}]")) {
                Ok(read) => actions.extend(read),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        config::relate(&mut actions, chosen);
        let mut read: Vec<String> =
            actions.iter().flat_map(|action| action.reads(chosen)).map(ToOwned::to_owned).collect();
        read.sort_unstable();
        read.dedup();
        let finds_keys = actions.iter().any(|action| matches!(action.keys, Keys::Matching(_)));
        let names_rows = chosen || actions.iter().any(|action| action.filled().is_none());
        Ok(Self { table, list: actions, read, finds_keys, chosen, names_rows })
    }

    /// Adds what must be granted.
    #[must_use]
    pub fn access(&self, mut access: Access) -> Access {
        let table = if self.table == Table::Resources { "resources" } else { "spans" };
        let grant = |key: &str| format!("{table}.attributes:{key}");
        if self.finds_keys {
            return access.read(grant("*")).write(grant("*"));
        }
        for key in &self.read {
            access = access.read(grant(key));
        }
        for key in self.list.iter().flat_map(Action::writes) {
            access = access.write(grant(key));
        }
        access
    }

    /// Does them, one after the other, to the rows: ascending, or all.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn apply(&self, batch: &Batch<'_>, rows: Option<&[u32]>) -> Result<(), Failure> {
        // Later actions see what earlier ones did, as in the Collector; the batch shows edits only
        // after the call. So the columns that are read are kept here, and kept up to date.
        let len = if self.names_rows { batch.len(self.table)? } else { 0 };
        let all: Vec<u32>;
        let rows = if let Some(rows) = rows {
            rows
        } else {
            all = (0..len).collect();
            &all
        };
        let found = if self.finds_keys { self.find_keys(batch)? } else { Vec::new() };
        let hashed =
            |key: &&String| self.list.iter().any(|action| action.finds(key) && matches!(action.effect, Effect::Hash));
        let more = found.iter().filter(hashed).filter(|key| !self.read.contains(*key));
        let more: Vec<String> = more.cloned().collect();
        let mut columns = Columns::pull(batch, self.table, &self.read, len as usize)?;
        columns.extend(Columns::pull(batch, self.table, &more, len as usize)?);
        let mut call = Call { batch, table: self.table, rows, columns };
        for action in &self.list {
            match (&action.keys, action.filled()) {
                (_, Some((key, value, which))) if !self.chosen => {
                    batch.fill_attribute(self.table, key, which, value.clone())?;
                }
                (Keys::One(key), _) => call.act(action, key)?,
                (Keys::Matching(pattern), _) => {
                    for key in found.iter().filter(|key| pattern.is_match(key)) {
                        call.act(action, key)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The keys there are and may be after earlier actions, of which a pattern finds any.
    fn find_keys(&self, batch: &Batch<'_>) -> Result<Vec<String>, Refusal> {
        let dictionary = batch.entry_keys(self.table)?.dictionary;
        let there = (0..dictionary.len()).map(|i| dictionary.str(i));
        let written = self.list.iter().flat_map(Action::writes);
        let mut keys: Vec<String> = there
            .chain(written)
            .filter(|key| self.list.iter().any(|action| action.finds(key)))
            .map(ToOwned::to_owned)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}

impl Action {
    /// Whether its pattern finds a key.
    fn finds(&self, key: &str) -> bool {
        matches!(&self.keys, Keys::Matching(pattern) if pattern.is_match(key))
    }
}

impl Call<'_> {
    fn act(&mut self, action: &Action, key: &str) -> Result<(), Refusal> {
        match &action.effect {
            Effect::Delete => {
                self.columns.remove(key, self.rows);
                self.batch.remove_attribute(self.table, key, self.rows)
            }
            Effect::Set { from, present, absent } => self.copy(key, from, *present, *absent),
            Effect::Hash => self.change(key, |values, row, out| {
                value::hash(values, row, out);
                true
            }),
            Effect::Convert(target) => self.change(key, |values, row, out| target.convert(values, row, out)),
            Effect::Extract(pattern, names) => self.extract(key, pattern, names),
        }
    }

    fn copy(&mut self, key: &str, from: &Source, present: bool, absent: bool) -> Result<(), Refusal> {
        let applies = |row: &u32| {
            // An attribute that is not there has no value to give.
            let has_value = match from {
                Source::Constant(_) | Source::Attribute(_, Some(_)) => true,
                Source::Attribute(other, None) => self.columns.has(other, *row),
            };
            has_value
                && if present && absent {
                    true
                } else if self.columns.has(key, *row) {
                    present
                } else {
                    absent
                }
        };
        let rows: Vec<u32> = self.rows.iter().copied().filter(applies).collect();
        let values = match from {
            Source::Constant(value) => value.clone(),
            Source::Attribute(other, default) => {
                let mut out = Values::default();
                for &row in &rows {
                    match (self.columns.column(other), default) {
                        (Some(column), _) if self.columns.has(other, row) => out.push_from(column, row as usize),
                        (_, Some(default)) => out.push_from(default, 0),
                        (_, None) => {}
                    }
                }
                out
            }
        };
        self.set(key, &rows, values)
    }

    /// Changes what rows have under a key; false says that a value stays as it is.
    fn change(&mut self, key: &str, change: impl Fn(&Values, usize, &mut Values) -> bool) -> Result<(), Refusal> {
        let Some(column) = self.columns.column(key) else { return Ok(()) };
        let mut out = Values::default();
        let changes = |row: &u32| self.columns.has(key, *row) && change(column, *row as usize, &mut out);
        let rows: Vec<u32> = self.rows.iter().copied().filter(changes).collect();
        self.set(key, &rows, out)
    }

    fn extract(&mut self, key: &str, pattern: &regex_lite::Regex, names: &[String]) -> Result<(), Refusal> {
        let Some(column) = self.columns.column(key) else { return Ok(()) };
        let mut rows = Vec::new();
        let mut found = vec![Values::default(); names.len()];
        for &row in self.rows {
            let Some(captures) = column.str(row as usize).and_then(|text| pattern.captures(text)) else { continue };
            rows.push(row);
            for (i, values) in (1..).zip(&mut found) {
                // A group that took no part in the match is empty, as in Go.
                let text = captures.get(i).map_or("", |part| part.as_str());
                values.push(sluice_sdk::kind::STRING, 0, text.as_bytes());
            }
        }
        for (name, values) in names.iter().zip(found) {
            self.set(name, &rows, values)?;
        }
        Ok(())
    }

    /// Sets rows to one value each, or to one for all.
    fn set(&mut self, key: &str, rows: &[u32], values: Values) -> Result<(), Refusal> {
        if rows.is_empty() {
            return Ok(());
        }
        self.columns.set(key, rows, &values);
        self.batch.set_attribute(self.table, key, rows, values)
    }
}
