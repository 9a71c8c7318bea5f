//! A reload: the next generation, prepared aside and put in place, or not.

use std::collections::HashMap;

use super::Collector;
use crate::cli::ConfigArgs;
use crate::config::{self, Config, Loaded};
use crate::generation::{Fresh, Served, Unfit};
use crate::swap::Trigger;

impl Collector {
    /// Reads the configuration and the modules again and puts what changed in place. Whatever is
    /// wrong is logged, and the present generation serves on. Nothing changed: nothing happens.
    pub async fn reload(&mut self, args: &ConfigArgs, trigger: Trigger) {
        let (workshop, present, sources) = (self.workshop.clone(), self.served.clone(), args.sources());
        // Reading, compiling and configuring block; the control thread keeps accepting meanwhile.
        let prepared = tokio::task::spawn_blocking(move || {
            // Tables are data: they are current whatever becomes of the configuration.
            workshop.tables.refresh();
            let loaded = config::load(&sources).map_err(Problem::Config)?;
            let processors = workshop.processors(&loaded.config, &present).map_err(Problem::Processors)?;
            Ok((loaded, processors))
        });
        let (Loaded { config, warnings }, processors) = match prepared.await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(problem)) => return self.tell_refused(problem, trigger),
            Err(error) => return tracing::error!(event = "reload", outcome = "failed", reason = %error),
        };
        if processors.fresh.is_empty() && config == self.config {
            return;
        }
        if let Some(reason) = fixed_at_start(&self.config, &config) {
            return tracing::error!(event = "reload", trigger = trigger.as_str(), outcome = "failed", reason);
        }
        config::print(&warnings);
        match self.apply(config, processors, Some(trigger)).await {
            Ok(()) => tracing::info!(event = "reload", trigger = trigger.as_str(), outcome = "applied"),
            Err(error) => {
                tracing::error!(event = "reload", trigger = trigger.as_str(), outcome = "failed", reason = %error);
            }
        }
    }

    fn tell_refused(&self, problem: Problem, trigger: Trigger) {
        let trigger = trigger.as_str();
        let unfit = match problem {
            Problem::Config(problems) => {
                for problem in problems.iter() {
                    tracing::error!(event = "reload", trigger, outcome = "failed", reason = %problem);
                }
                return;
            }
            Problem::Processors(unfit) => unfit,
        };
        for Unfit { id, step, reason, config, from } in unfit {
            let details: Vec<_> = config.iter().map(|(path, message)| format!("{path}: {message}")).collect();
            let reason = if details.is_empty() { reason } else { format!("{reason}: {}", details.join("; ")) };
            let (step, from) = (step.as_str(), from.unwrap_or_default());
            self.workshop.metrics.swapped(&id, "failed", step);
            tracing::error!(event = "plugin.swap", plugin = id, from, trigger, step, outcome = "failed", reason);
        }
    }

    /// Tells of a processor that the cores have just taken over, and shows it as serving.
    pub(super) fn tell_swapped(&self, fresh: &Fresh, served: &HashMap<String, Served>, trigger: Option<Trigger>) {
        let Some(now) = served.get(&fresh.id) else { return };
        // The same code under another configuration goes on being shown.
        let other = |before: &&Served| before.prepared.digest() != now.prepared.digest();
        if let Some(before) = self.served.get(&fresh.id).filter(other) {
            let version = &before.prepared.description().version;
            self.workshop.metrics.retire(&fresh.id, version, before.prepared.digest());
        }
        now.stats.serves();
        self.workshop.metrics.swapped(&fresh.id, "swapped", "swap");
        let (from, to) = (fresh.from.as_deref().unwrap_or_default(), now.prepared.digest());
        let capabilities = now.prepared.description().capabilities.join(",");
        let (trigger, steps) = (trigger.map_or("start", Trigger::as_str), fresh.steps.to_string());
        tracing::info!(
            event = "plugin.swap",
            plugin = fresh.id,
            from,
            to,
            trigger,
            capabilities,
            json.ms = steps,
            outcome = "swapped"
        );
    }
}

/// Why there is no next generation.
enum Problem {
    Config(config::Diagnostics),
    Processors(Vec<Unfit>),
}

/// What a reload would have to change but cannot: compiled code is loaded from the cache that the
/// process was started with.
fn fixed_at_start(present: &Config, next: &Config) -> Option<String> {
    let state_dir = |config: &Config| config.sluice().and_then(|sluice| sluice.state_dir.clone());
    if state_dir(present) == state_dir(next) {
        return None;
    }
    let place = next.sluice().map(|sluice| format!("{}: error: ", sluice.state_dir_mark)).unwrap_or_default();
    Some(format!("{place}`state_dir` of the `sluice` extension cannot change while the process runs; restart it"))
}
