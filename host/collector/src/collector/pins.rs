//! Pins that are new: whoever writes one means that version, whatever became of it before.

use crate::config::{Config, Id};
use crate::swap::versions::Versions;

/// A processor, and the digest that it is pinned to.
pub(super) type Pin = (String, String);

/// What processors of `next` are pinned to that they are not in `present`.
pub(super) fn new(present: &Config, next: &Config) -> Vec<Pin> {
    let pinned = next.used_processors().filter_map(|component| {
        let digest = component.settings.sha256.as_deref()?;
        (of(present, &component.id) != Some(digest)).then(|| (component.id.to_string(), digest.to_owned()))
    });
    pinned.collect()
}

/// Lets these versions serve again, for good.
pub(super) fn forgive(versions: &Versions, pins: &[Pin]) {
    for (plugin, digest) in pins {
        if let Err(error) = versions.forgive(plugin, digest) {
            tracing::error!(event = "plugin.versions", plugin, %error, "the version that is pinned is still remembered as rolled back; `sluice plugin swap --force` tries it again");
        }
    }
}

fn of<'c>(config: &'c Config, id: &Id) -> Option<&'c str> {
    config.used_processors().find(|component| component.id == *id)?.settings.sha256.as_deref()
}
