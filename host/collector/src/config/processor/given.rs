//! The table `host` of `resource_detection`, which its own keys ask for, without a word in its block `sluice`.

use super::super::section::Section;
use super::tables::{HOST, files};
use super::{Facts, Settings, Table};

/// What the detector `env` of `resource_detection` reads.
const VARIABLES: [&str; 3] = ["OTEL_RESOURCE_ATTRIBUTES", "OTEL_RESOURCE", "OTEL_SERVICE_NAME"];

/// Adds the table that the keys of a plugin ask for. What is wrong with those keys otherwise the plugin says.
pub(super) fn add(settings: &mut Settings, section: &mut Section<'_>) {
    if settings.kind != "resource_detection" {
        return;
    }
    if settings.gives_table(HOST) {
        section.complain(format!("the table `{HOST}` comes with the processor: take it out of `sluice.tables`"));
    }
    settings.tables.push((HOST.to_owned(), Table::Host(facts(section))));
}

/// Of the environment and of files what the detectors are to know.
fn facts(section: &mut Section<'_>) -> Facts {
    let mut facts = Facts::default();
    let detectors = section.strings("detectors");
    if !section.has("detectors") || detectors.iter().any(|name| name.trim() == "env") {
        facts.env = VARIABLES.map(str::to_owned).into();
    }
    let is_asked = detectors.iter().any(|name| name.trim() == "k8s_downward_api");
    if let Some(mut block) = section.section("k8s_downward_api").filter(|_| is_asked) {
        facts.env.extend(block.string_map("env").into_iter().map(|(_, variable)| variable));
        facts.files = files(&mut block);
        facts.pod_labels = block.path("pod_labels");
        facts.pod_annotations = block.path("pod_annotations");
    }
    facts.env.sort_unstable();
    facts.env.dedup();
    facts
}
