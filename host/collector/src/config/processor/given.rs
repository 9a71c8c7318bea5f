//! The look-up tables that a bundled plugin gets by its own keys, without a word in its block `sluice`.

use sluice_state::{Format, Spec};

use super::super::section::Section;
use super::{Settings, Table};

/// What `geoip` calls its database.
const DATABASE: &str = "maxmind";

/// Memory of a database. The free ones of cities have 60 MiB, the largest that are sold a few hundred.
const DATABASE_BYTES: usize = 1 << 30;

/// Adds the tables that the keys of a plugin name. What is wrong with those keys otherwise the plugin says.
pub(super) fn add(settings: &mut Settings, section: &mut Section<'_>) {
    let (name, table) = match settings.kind.as_str() {
        "geoip" => (DATABASE, database(section)),
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
