//! Which folder a queue is kept in: `sending_queue.storage` names an extension.

use super::section::Problems;
use super::service::{Named, Service};
use super::{Component, Id};
use crate::queue::Storage;
use crate::{exporter, extension};

/// Gives every exporter with `storage` the folder of the extension that it names.
pub(super) fn resolve(
    mut exporters: Vec<Component<exporter::Settings>>,
    extensions: &[Component<extension::Settings>],
    service: &Service,
    problems: &Problems,
) -> Vec<Component<exporter::Settings>> {
    for Component { id, settings, .. } in &mut exporters {
        let Some(storage) = settings.queue_mut().storage.as_mut() else { continue };
        let defined = extensions.iter().find(|component| component.id == storage.extension);
        let runs = service.extensions.iter().any(|named: &Named| named.id == storage.extension);
        match defined.map(|component| &component.settings) {
            Some(extension::Settings::FileStorage(folder)) if runs => storage.folder = Some(folder.clone()),
            found => problems.borrow_mut().error(&storage.mark, wrong(id, storage, found)),
        }
    }
    exporters
}

fn wrong(exporter: &Id, storage: &Storage, found: Option<&extension::Settings>) -> String {
    let name = &storage.extension;
    let why = match found {
        None => "is not defined in `extensions`",
        Some(extension::Settings::FileStorage(_)) => "does not run: name it in `service.extensions`",
        Some(_) => "keeps no queues: name one of type `file_storage`",
    };
    format!("exporter `{exporter}`: extension `{name}` {why}")
}
