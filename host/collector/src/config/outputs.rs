//! Files that two exporters are to write to.

use super::section::Problems;
use super::{Component, Config};
use crate::exporter::{Settings, file};

/// Refuses two exporters that write to one file: neither format would be one any more, and who reads it could not
/// tell whose a line is.
pub(super) fn judge(config: &Config, problems: &Problems) {
    let outputs = config.used_exporters().filter_map(|component| match &component.settings {
        // That a path is missing has been told.
        Settings::File(file) if !file.path.as_os_str().is_empty() => Some((component, file::one_path(&file.path))),
        _ => None,
    });
    let mut seen: Vec<(&Component<Settings>, _)> = Vec::new();
    for (second, path) in outputs {
        if let Some((first, _)) = seen.iter().find(|(_, known)| *known == path) {
            let message = format!(
                "exporter `{}` cannot write to `{}`: exporter `{}` ({}) is to; give one of them another `path`",
                second.id,
                path.display(),
                first.id,
                first.mark
            );
            problems.borrow_mut().error(&second.mark, message);
        }
        seen.push((second, path));
    }
}
