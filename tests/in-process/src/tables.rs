//! The look-up tables of the plugins that need some.

use anyhow::Result;
use sluice_state::{Format, Table};
use sluice_test_mmdb::{Database, map};

/// What a plugin looks up in.
pub fn of(plugin: &str) -> Result<Vec<(String, Table)>> {
    Ok(match plugin {
        "geoip" => vec![("maxmind".to_owned(), places()?)],
        "resource_detection" => {
            let facts = [("host.name", "edge-1"), ("os.type", "linux"), ("env.OTEL_RESOURCE_ATTRIBUTES", "a=1,b=2")];
            vec![("host".to_owned(), Table::of_pairs(facts)?)]
        }
        "enrich" => {
            let csv = "address,name\nshop.example.com,shop\n";
            vec![("servers".to_owned(), Table::read(Format::Csv, csv.as_bytes(), "address", 1 << 10)?)]
        }
        _ => Vec::new(),
    })
}

/// A database that knows the address of the made spans.
fn places() -> Result<Table> {
    let named = |name: &str| map([("names", map([("en", name.into())]))]);
    let record = map([
        ("city", named("London")),
        ("country", map([("iso_code", "GB".into())])),
        ("location", map([("latitude", 51.5142.into()), ("longitude", (-0.0931).into())])),
    ]);
    let bytes = Database::new("GeoLite2-City").network("203.0.113.0/24", record).bytes();
    Ok(Table::read(Format::MaxMind, bytes.as_slice(), "", bytes.len())?)
}
