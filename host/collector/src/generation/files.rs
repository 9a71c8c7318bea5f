//! The files whose changes matter: those of the configuration, and those that plugins name themselves when they
//! take it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Served;
use crate::config::Config;

/// The files of a configuration and of the plugins that serve with it.
pub(crate) fn watched(config: &Config, served: &HashMap<String, Served>) -> Vec<PathBuf> {
    let own = served.values().flat_map(|served| {
        let tried = served.candidate.as_ref().map(|candidate| of_plugin(&candidate.served));
        of_plugin(served).chain(tried.into_iter().flatten())
    });
    config.files().map(Path::to_owned).chain(own).collect()
}

/// Those that the plugin names and the operator does not replace by a table of the same name.
fn of_plugin(served: &Served) -> impl Iterator<Item = PathBuf> {
    let Served { settings, prepared, .. } = served;
    let own = prepared.files().iter().filter(|file| !settings.gives_table(&file.named.name));
    own.map(|file| settings.own_table(file).file)
}
