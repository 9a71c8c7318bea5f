//! The look-up tables that a bundled plugin gets by its own keys, without a word in its block `sluice`.

use sluice_state::{Format, Spec};

use super::super::section::Section;
use super::tables::{HOST, files};
use super::{Facts, Settings, Table};

/// What `geoip` calls its database.
const DATABASE: &str = "maxmind";

/// Memory of a database. The free ones of cities have 60 MiB, the largest that are sold a few hundred.
const DATABASE_BYTES: usize = 1 << 30;

/// What the detector `env` of `resource_detection` reads.
const VARIABLES: [&str; 3] = ["OTEL_RESOURCE_ATTRIBUTES", "OTEL_RESOURCE", "OTEL_SERVICE_NAME"];

/// Adds the tables that the keys of a plugin name. What is wrong with those keys otherwise the plugin says.
pub(super) fn add(settings: &mut Settings, section: &mut Section<'_>) {
    let (name, table) = match settings.kind.as_str() {
        "geoip" => (DATABASE, database(section)),
        "resource_detection" => (HOST, Some(Table::Host(facts(section)))),
        _ => return,
    };
    if settings.tables.iter().any(|(given, _)| given == name) {
        section.complain(format!("the table `{name}` comes with the processor: take it out of `sluice.tables`"));
    }
    settings.tables.extend(table.map(|table| (name.to_owned(), table)));
}

fn database(section: &mut Section<'_>) -> Option<Table> {
    let mut maxmind = section.section("providers")?.section("maxmind")?;
    let file = maxmind.path("database_path")?;
    Some(Table::File(Spec { file, format: Format::MaxMind, key: String::new(), most_bytes: DATABASE_BYTES }))
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
