//! Pins that are new: whoever writes one means that version, whatever became of it before.

use crate::config::{Config, Id};
use crate::swap::versions::Versions;

/// Lets the versions serve again that processors of `next` are pinned to anew.
pub(super) fn forgive_new(versions: &Versions, present: &Config, next: &Config) {
    for component in next.used_processors() {
        let Some(digest) = component.settings.sha256.as_deref() else { continue };
        if pin(present, &component.id) == Some(digest) {
            continue;
        }
        let plugin = component.id.to_string();
        if let Err(error) = versions.forgive(&plugin, digest) {
            tracing::error!(event = "plugin.versions", plugin, %error, "the version that is pinned is still remembered as rolled back; `sluice plugin swap --force` tries it again");
        }
    }
}

fn pin<'c>(config: &'c Config, id: &Id) -> Option<&'c str> {
    config.used_processors().find(|component| component.id == *id)?.settings.sha256.as_deref()
}
