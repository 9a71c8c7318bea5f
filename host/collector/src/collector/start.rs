//! What a process starts with: the configuration that it is given or, with `--last-good`, what served last if that
//! cannot be used.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::last_good::{self, Kept};
use super::problems::{check, load_all};
use crate::cli::RunArgs;
use crate::config::{self, Config, Loaded};
use crate::generation::Bundle;
use crate::private_folder::{self, Named};
use crate::telemetry::logs;

/// See the module.
pub(super) struct Start {
    /// The configuration.
    pub loaded: Loaded,
}

impl Start {
    /// Finds a configuration that can be used; `None` if there is none and that was told.
    ///
    /// # Errors
    /// When neither the configuration nor what was kept can be used, or plugins cannot be looked at.
    pub(super) fn find(args: &RunArgs, bundle: &Bundle) -> anyhow::Result<Option<Self>> {
        let given = load_all(&args.config, bundle);
        let Some(folder) = &args.last_good else {
            return Ok(given.ok().map(|loaded| Self { loaded }));
        };
        // All plugins are looked at before anything begins that could not begin once more.
        let broken = match given {
            Ok(loaded) if can_serve(&loaded.config, bundle)? => return Ok(Some(Self { loaded })),
            Ok(loaded) => loaded.config,
            Err(broken) => broken.config,
        };
        let mut kept = last_good::read(folder).context("`--last-good` does not help")?;
        config::print(&kept.loaded.warnings);
        if !can_serve(&kept.loaded.config, bundle)? {
            bail!("`--last-good` does not help: the plugins kept in {} cannot serve either", folder.display());
        }
        // As soon as it is mended, it serves.
        kept.loaded.config.add_files(broken.files());
        logs::configure(&kept.loaded.config.service.telemetry.logs);
        tell(folder, &kept);
        Ok(Some(Self { loaded: kept.loaded }))
    }
}

fn tell(folder: &Path, kept: &Kept) {
    let plugins: Vec<_> = kept.modules.iter().map(|(plugin, digest)| format!("{plugin}={digest}")).collect();
    tracing::warn!(
        event = "last_good",
        folder = %folder.display(),
        kept = logs::rfc3339(kept.since),
        sources = kept.sources.join(","),
        plugins = plugins.join(","),
        "the configuration cannot be used: what served last serves until it is mended"
    );
}

/// Whether every plugin could serve; tells on stderr why one could not.
fn can_serve(config: &Config, bundle: &Bundle) -> anyhow::Result<bool> {
    open_state_dir(config)?;
    check(config, bundle.clone())
}

/// Sees to it that the `state_dir` is for this user alone, before anything in it is trusted.
pub(super) fn open_state_dir(config: &Config) -> anyhow::Result<()> {
    let Some((sluice, folder)) = config.sluice().and_then(|sluice| Some((sluice, sluice.state_dir.as_ref()?))) else {
        return Ok(());
    };
    private_folder::open(Named::StateDir, folder).with_context(|| format!("{}: error", sluice.state_dir_mark))
}
