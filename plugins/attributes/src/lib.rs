//! The `attributes` processor: sets, removes, hashes, converts and takes apart attributes of spans, with
//! the Collector's keys. What the actions do is in `sluice_actions`.

use sluice_actions::{ActionConfig, Actions, MatchConfig, Selection};
use sluice_sdk::prelude::*;

/// The processor's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    actions: Vec<ActionConfig>,
    include: Option<MatchConfig>,
    exclude: Option<MatchConfig>,
}

/// The plugin.
pub struct Attributes {
    selection: Selection,
    actions: Actions,
}

impl Plugin for Attributes {
    type Config = Config;

    fn describe() -> Description {
        let mut description = Description::new("attributes", env!("CARGO_PKG_VERSION"));
        for grant in ["spans.attributes:*", "spans.name", "scopes.name", "scopes.version", "resources.attributes:*"] {
            description = description.read(grant);
        }
        description.write("spans.attributes:*")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        let selection = Selection::read(config.include, config.exclude);
        let chooses = selection.as_ref().is_ok_and(Selection::chooses);
        let actions = Actions::read(config.actions, "actions", Table::Spans, chooses);
        let (selection, actions) = match (selection, actions) {
            (Ok(selection), Ok(actions)) => (selection, actions),
            (selection, actions) => {
                return Err([selection.err(), actions.err()].into_iter().flatten().flatten().collect());
            }
        };
        let access = actions.access(selection.access(Access::default()));
        Ok(Configured::with_access(Self { selection, actions }, access))
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        if !self.selection.chooses() {
            return self.actions.apply(batch, None);
        }
        let rows = self.selection.rows(batch)?;
        if rows.is_empty() { Ok(()) } else { self.actions.apply(batch, Some(&rows)) }
    }
}

sluice_sdk::export!(Attributes);
