//! The `attributes` processor: inserts, updates, upserts and deletes attributes of spans, with the
//! Collector's keys.

use sluice_sdk::prelude::*;
use sluice_sdk::serde_json::Value;

/// The processor's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    actions: Vec<ActionConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionConfig {
    key: String,
    action: String,
    value: Option<Value>,
    from_attribute: Option<String>,
}

/// The plugin.
pub struct Attributes {
    actions: Vec<Action>,
}

struct Action {
    key: String,
    does: Does,
    /// A later action reads the key, so its column must be known before this one changes it.
    read_later: bool,
}

enum Does {
    /// Sets the attribute in rows that have it, that lack it, or in all.
    Set {
        from: Source,
        present: bool,
        absent: bool,
    },
    Delete,
}

enum Source {
    Constant(Values),
    Attribute(String),
}

impl Action {
    /// Whether it looks at the key before it acts.
    fn reads(&self, key: &str) -> bool {
        match &self.does {
            Does::Delete => false,
            Does::Set { from, present, absent } => {
                matches!(from, Source::Attribute(from) if from == key) || (*present != *absent && self.key == key)
            }
        }
    }
}

impl Plugin for Attributes {
    type Config = Config;

    fn describe() -> Description {
        Description::new("attributes", env!("CARGO_PKG_VERSION")).read("spans.attributes:*").write("spans.attributes:*")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        let (mut actions, mut problems) = (Vec::new(), Vec::new());
        if config.actions.is_empty() {
            problems.push(ConfigError::new("actions", "at least one action is needed"));
        }
        for (i, action) in config.actions.into_iter().enumerate() {
            match read(i, action) {
                Ok(action) => actions.push(action),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            for i in 0..actions.len() {
                let (before, after) = actions.split_at_mut(i + 1);
                if let Some(action) = before.last_mut() {
                    action.read_later = after.iter().any(|later| later.reads(&action.key));
                }
            }
            let access = access(&actions);
            Ok(Configured::with_access(Self { actions }, access))
        } else {
            Err(problems)
        }
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        // Later actions see what earlier ones did, as in the Collector; the batch itself shows
        // edits only after the call. So columns that actions share are kept here.
        let rows: Vec<u32> = (0..batch.len(Table::Spans)?).collect();
        let mut known = Known::default();
        for action in &self.actions {
            apply(action, batch, &rows, &mut known)?;
        }
        Ok(())
    }
}

fn read(i: usize, action: ActionConfig) -> Result<Action, ConfigError> {
    let ActionConfig { key, action, value, from_attribute } = action;
    if key.is_empty() {
        return Err(ConfigError::new(format!("actions[{i}].key"), "must not be empty"));
    }
    let (present, absent) = match action.as_str() {
        "insert" => (false, true),
        "update" => (true, false),
        "upsert" => (true, true),
        "delete" if value.is_none() && from_attribute.is_none() => {
            return Ok(Action { key, does: Does::Delete, read_later: false });
        }
        "delete" => {
            return Err(ConfigError::new(
                format!("actions[{i}]"),
                "`delete` takes neither `value` nor `from_attribute`",
            ));
        }
        "hash" | "extract" | "convert" => {
            return Err(ConfigError::new(format!("actions[{i}].action"), format!("`{action}` is not supported yet")));
        }
        _ => {
            let message = format!("unknown action `{action}`: use insert, update, upsert or delete");
            return Err(ConfigError::new(format!("actions[{i}].action"), message));
        }
    };
    let from = match (value, from_attribute) {
        (Some(value), None) => Source::Constant(constant(&value).ok_or_else(|| {
            ConfigError::new(format!("actions[{i}].value"), "must be a string, a number or a boolean")
        })?),
        (None, Some(from)) => Source::Attribute(from),
        _ => {
            let message = format!("`{action}` takes either `value` or `from_attribute`");
            return Err(ConfigError::new(format!("actions[{i}]"), message));
        }
    };
    Ok(Action { key, does: Does::Set { from, present, absent }, read_later: false })
}

fn constant(value: &Value) -> Option<Values> {
    Some(match value {
        Value::String(text) => Values::string(text),
        Value::Bool(value) => Values::bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Values::int(integer),
            None => Values::double(number.as_f64()?),
        },
        _ => return None,
    })
}

fn access(actions: &[Action]) -> Access {
    let mut access = Access::default();
    for action in actions {
        let grant = format!("spans.attributes:{}", action.key);
        access = access.read(grant.clone()).write(grant);
        if let Does::Set { from: Source::Attribute(from), .. } = &action.does {
            access = access.read(format!("spans.attributes:{from}"));
        }
    }
    access
}

/// Columns as the actions so far have left them. Only keys that are read are here.
#[derive(Default)]
struct Known(Vec<(String, Values)>);

impl Known {
    fn column(&mut self, batch: &Batch<'_>, key: &str) -> Result<&mut Values, Failure> {
        let place = match self.0.iter().position(|(known, _)| known == key) {
            Some(place) => place,
            None => {
                self.0.push((key.to_owned(), batch.attribute(Table::Spans, key)?.values));
                self.0.len() - 1
            }
        };
        self.0.get_mut(place).map(|(_, values)| values).ok_or_else(|| Failure::new("a column is gone"))
    }

    /// Notes that rows were set, for later actions that read the key.
    fn note(&mut self, key: &str, rows: &[u32], len: usize, value: impl Fn(usize) -> (u8, u64, Vec<u8>)) {
        let Some((_, column)) = self.0.iter_mut().find(|(known, _)| known == key) else { return };
        let mut next = Values::default();
        let mut set = rows.iter().enumerate().peekable();
        for row in 0..len {
            if let Some((i, _)) = set.next_if(|(_, set)| **set as usize == row) {
                let (kind, bits, bytes) = value(i);
                next.push(kind, bits, &bytes);
            } else {
                next.push_from(column, row);
            }
        }
        *column = next;
    }
}

fn apply(action: &Action, batch: &Batch<'_>, rows: &[u32], known: &mut Known) -> Result<(), Failure> {
    let key = &action.key;
    if action.read_later {
        known.column(batch, key)?;
    }
    let Does::Set { from, present, absent } = &action.does else {
        known.note(key, rows, rows.len(), |_| (0, 0, Vec::new()));
        return Ok(batch.remove_attribute(Table::Spans, key, rows)?);
    };
    let (present, absent) = (*present, *absent);
    let source = match from {
        Source::Constant(value) if present && absent => {
            known.note(key, rows, rows.len(), |_| (value.kind(0), value.bits(0), value.texts.get(0).to_vec()));
            return Ok(batch.set_attribute(Table::Spans, key, rows, value.clone())?);
        }
        Source::Constant(value) => value.clone(),
        Source::Attribute(other) => known.column(batch, other)?.clone(),
    };
    let constant = matches!(from, Source::Constant(_));
    let target = known.column(batch, key)?;
    let fits = |row: &&u32| {
        let there = target.kind(**row as usize) != 0;
        // An attribute that is not there has no value to give.
        (if there { present } else { absent }) && (constant || source.kind(**row as usize) != 0)
    };
    let chosen: Vec<u32> = rows.iter().filter(fits).copied().collect();
    if chosen.is_empty() {
        return Ok(());
    }
    let mut values = Values::default();
    for &row in &chosen {
        values.push_from(&source, if constant { 0 } else { row as usize });
    }
    known.note(key, &chosen, rows.len(), |i| (values.kind(i), values.bits(i), values.texts.get(i).to_vec()));
    Ok(batch.set_attribute(Table::Spans, key, &chosen, values)?)
}

sluice_sdk::export!(Attributes);
