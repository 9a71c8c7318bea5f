//! What is wrong with a configuration and what its plugins refuse, each in its place on stderr.

use std::collections::HashMap;

use super::life::workshop_for_a_look;
use crate::cli::ConfigArgs;
use crate::config::{self, Broken, Config, Diagnostics, Loaded};
use crate::generation::{Bundle, Unfit};

/// Reads the configuration; tells on stderr what is wrong with it.
pub(crate) fn load(args: &ConfigArgs) -> Option<Loaded> {
    told(config::load(&args.sources())).ok()
}

/// Like [`load`]. If anything is wrong, what plugins refuse is told with it: whoever mends a
/// configuration wants to know all of it.
///
/// # Errors
/// With what could be read of it.
pub(super) fn load_all(args: &ConfigArgs, bundle: &Bundle) -> Result<Loaded, Box<Broken>> {
    told(config::load(&args.sources()).map_err(|mut broken| {
        broken.problems.extend(refused(&broken.config, bundle));
        broken
    }))
}

fn told(loaded: Result<Loaded, Box<Broken>>) -> Result<Loaded, Box<Broken>> {
    loaded.inspect(|loaded| config::print(&loaded.warnings)).inspect_err(|broken| config::print(&broken.problems))
}

/// What the plugins of a broken configuration refuse.
fn refused(config: &Config, bundle: &Bundle) -> Diagnostics {
    if config.used_processors().next().is_none() {
        return Diagnostics::default();
    }
    match workshop_for_a_look(config, bundle.clone()) {
        Ok(workshop) => diagnostics(config, workshop.refused(config, &HashMap::new())),
        Err(error) => {
            tracing::error!(event = "start.failed", "the plugins were not asked: {error:#}");
            Diagnostics::default()
        }
    }
}

/// Whether every plugin could serve; tells on stderr why one could not.
pub(super) fn check(config: &Config, bundle: Bundle) -> anyhow::Result<bool> {
    let workshop = workshop_for_a_look(config, bundle)?;
    let Err(unfit) = workshop.first(config) else { return Ok(true) };
    config::print(&diagnostics(config, unfit));
    Ok(false)
}

/// Places what is wrong with a processor where its settings stand.
pub(crate) fn diagnostics(config: &Config, unfit: Vec<Unfit>) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for unfit in unfit {
        let Some(component) = config.processors.iter().find(|component| component.id.to_string() == unfit.id) else {
            continue;
        };
        if unfit.config.is_empty() {
            problems.error(&component.mark, format!("processor `{}`: {}", unfit.id, unfit.reason));
        }
        for (path, message) in unfit.config {
            let mark = component.settings.config_mark(&path).unwrap_or(&component.mark);
            let place = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
            problems.error(mark, format!("processor `{}`: {place}{message}", unfit.id));
        }
    }
    problems
}
