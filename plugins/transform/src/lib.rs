//! The `transform` processor: changes attributes, names and statuses by statements, with the Collector's
//! keys.
//!
//! Statements are in a subset of the OpenTelemetry Transformation Language ([`sluice_ottl`]); what is not
//! in the subset is refused by name when the plugin is configured.

mod config;

use sluice_ottl::Statements;
use sluice_sdk::log;
use sluice_sdk::prelude::*;

pub use config::Config;
use config::ErrorMode;

/// The plugin.
pub struct Transform {
    groups: Vec<Group>,
}

/// The statements that change one table, and what happens when each cannot be done.
struct Group {
    table: Table,
    statements: Statements,
    modes: Vec<ErrorMode>,
}

impl Plugin for Transform {
    type Config = Config;

    fn describe() -> Description {
        let mut description = Description::new("transform", env!("CARGO_PKG_VERSION")).capability("log");
        for grant in ["spans.*", "scopes.*", "resources.*", "events.*"] {
            description = description.read(grant);
        }
        for table in ["resources", "scopes", "spans", "events"] {
            description = description.write(&format!("{table}.attributes:*"));
        }
        let fields = ["name", "trace_state", "status_message", "status_code", "kind"];
        for field in fields {
            description = description.write(&format!("spans.{field}"));
        }
        description.write("scopes.name").write("scopes.version").write("events.name")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        let transform = config.read()?;
        let access = transform.groups.iter().fold(Access::default(), |access, group| group.statements.access(access));
        Ok(Configured::with_access(transform, access))
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        for group in &self.groups {
            // The first one of the batch, because more would say the same.
            let mut ignored: Option<String> = None;
            group.statements.apply(batch, &mut |number, message| {
                match group.modes.get(number) {
                    Some(ErrorMode::Propagate) => return Err(Failure::new(message)),
                    Some(ErrorMode::Ignore) if ignored.is_none() => ignored = Some(message.to_owned()),
                    _ => {}
                }
                Ok(())
            })?;
            if let Some(message) = ignored {
                log::warn(&message);
            }
        }
        Ok(())
    }
}

sluice_sdk::export!(Transform);
