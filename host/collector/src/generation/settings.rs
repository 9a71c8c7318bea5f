//! What the sandbox is told of a processor's settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_sandbox::{Settings, Trust};
use sluice_state::LiveTable;

use crate::config::Config;
use crate::config::processor::{self, OnFailure, OnPoison};

/// What a plugin's module must prove; without settings, one that is not configured.
pub fn trust(settings: Option<&processor::Settings>, config: &Config) -> Trust {
    let process = config.sluice();
    Trust {
        sha256: settings.and_then(|settings| settings.sha256.clone()),
        public_key: settings.and_then(|settings| settings.public_key.clone()),
        keys: process.map(|process| process.keys.clone()).unwrap_or_default(),
        require_signed: process.is_some_and(|process| process.require_signed),
        profile: settings.map(|settings| settings.profile).unwrap_or_default(),
    }
}

/// Where the plugin's store is kept, if it is.
pub(super) fn store_folder(
    settings: &processor::Settings,
    state_dir: Option<&Path>,
) -> Result<Option<PathBuf>, String> {
    if !settings.persistent_store {
        return Ok(None);
    }
    let missing = || "`store: { persistent: true }` needs `state_dir` of the extension `sluice`".to_owned();
    Ok(Some(state_dir.ok_or_else(missing)?.join("stores")))
}

/// What is to be set aside needs a place.
pub(super) fn quarantine_is_there(settings: &processor::Settings, state_dir: Option<&Path>) -> Result<(), String> {
    let wanted = if settings.on_failure == OnFailure::Quarantine { Some("on_failure") } else { None };
    let wanted = wanted.or((settings.on_poison == Some(OnPoison::Quarantine)).then_some("on_poison"));
    match wanted {
        Some(key) if state_dir.is_none() => {
            Err(format!("`{key}: quarantine` needs `state_dir` of the extension `sluice`"))
        }
        _ => Ok(()),
    }
}

/// What the sandbox is told of the processor with this id.
pub fn sandbox_settings(
    id: &str,
    settings: &processor::Settings,
    tables: Vec<(String, Arc<LiveTable>)>,
    store_folder: Option<PathBuf>,
) -> Settings {
    Settings {
        plugin: id.to_owned(),
        config_json: settings.config_json.clone(),
        limits: settings.limits.clone(),
        access: settings.access.clone(),
        capabilities: settings.capabilities.clone(),
        seed: None,
        tables,
        store_folder,
    }
}
