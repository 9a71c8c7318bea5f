//! The `geoip` processor: where an IP address is, out of a `MaxMind` database, with the Collector's keys.
//!
//! The database is a look-up table of the host, which opens the file that `database_path` names and loads it again
//! when it changes: such a file is larger than a plugin's memory, and one for all cores. A batch costs a look-up for each
//! attribute that may be set, of all its different addresses at once.

mod addresses;
mod config;

use sluice_sdk::kind::{DOUBLE, INT, STRING};
use sluice_sdk::prelude::*;
use sluice_sdk::tables;

use addresses::Addresses;
pub use config::Config;

/// The table that the host makes of the file `providers.maxmind.database_path`.
const DATABASE: &str = "maxmind";

/// What becomes of a value.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Int,
}

/// Attributes, and where their values stand in a record of a City, Country or ASN database. All but the last two are the
/// Collector's, which knows no ASN databases.
const FIELDS: [(&str, &str, Kind); 11] = [
    ("geo.city_name", "city.names.en", Kind::Text),
    ("geo.country_name", "country.names.en", Kind::Text),
    ("geo.country.iso_code", "country.iso_code", Kind::Text),
    ("geo.continent_name", "continent.names.en", Kind::Text),
    ("geo.continent.code", "continent.code", Kind::Text),
    ("geo.postal_code", "postal.code", Kind::Text),
    // The last subdivision is the smallest.
    ("geo.region_name", "subdivisions.-1.names.en", Kind::Text),
    ("geo.region.iso_code", "subdivisions.-1.iso_code", Kind::Text),
    ("geo.timezone", "location.time_zone", Kind::Text),
    ("as.number", "autonomous_system_number", Kind::Int),
    ("as.organization.name", "autonomous_system_organization", Kind::Text),
];

/// A position is set as a whole.
const POSITION: [(&str, &str); 2] =
    [("geo.location.lat", "location.latitude"), ("geo.location.lon", "location.longitude")];

/// The plugin.
pub struct GeoIp {
    /// Whose attributes it is about.
    table: Table,
    /// Where an address may be.
    attributes: Vec<String>,
}

impl Plugin for GeoIp {
    type Config = Config;

    fn describe() -> Description {
        let mut description = Description::new("geoip", env!("CARGO_PKG_VERSION")).capability("tables");
        for table in ["resources", "spans"] {
            description = description.read(&format!("{table}.attributes:*"));
            for key in written() {
                description = description.write(&format!("{table}.attributes:{key}"));
            }
        }
        description
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        let (plugin, path) = config.read()?;
        let table = if plugin.table == Table::Spans { "spans" } else { "resources" };
        let mut access = Access::default();
        for key in &plugin.attributes {
            access = access.read(format!("{table}.attributes:{key}"));
        }
        for key in written() {
            access = access.write(format!("{table}.attributes:{key}"));
        }
        Ok(Configured::with_access(plugin, access).file(TableFile::mmdb(DATABASE, path)))
    }

    fn process(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let addresses = Addresses::pull(batch, self.table, &self.attributes)?;
        if addresses.rows.is_empty() {
            return Ok(());
        }
        for (key, column, kind) in FIELDS {
            let found = tables::look_up(DATABASE, column, &addresses.texts)?;
            self.set(batch, key, &addresses, |number| {
                let text = found.str(number).filter(|text| !text.is_empty())?;
                match kind {
                    Kind::Text => Some((STRING, 0, text)),
                    Kind::Int => Some((INT, text.parse().ok()?, "")),
                }
            })?;
        }
        let [latitudes, longitudes] = POSITION.map(|(_, column)| tables::look_up(DATABASE, column, &addresses.texts));
        let (latitudes, longitudes) = (latitudes?, longitudes?);
        let position = |number| -> Option<[f64; 2]> {
            Some([latitudes.str(number)?.parse().ok()?, longitudes.str(number)?.parse().ok()?])
        };
        for (place, (key, _)) in POSITION.into_iter().enumerate() {
            let degrees = |number| position(number)?.get(place).copied();
            self.set(batch, key, &addresses, |number| Some((DOUBLE, degrees(number)?.to_bits(), "")))?;
        }
        Ok(())
    }
}

impl GeoIp {
    /// Sets an attribute in the rows for whose address there is a value: its type, its bits, its text.
    fn set<'v>(
        &self,
        batch: &Batch<'_>,
        key: &str,
        addresses: &Addresses,
        value: impl Fn(usize) -> Option<(u8, u64, &'v str)>,
    ) -> Result<(), Failure> {
        let (mut rows, mut values) = (Vec::new(), Values::default());
        for &(row, number) in &addresses.rows {
            if let Some((kind, bits, text)) = value(number) {
                rows.push(row);
                values.push(kind, bits, text.as_bytes());
            }
        }
        if !rows.is_empty() {
            batch.set_attribute(self.table, key, &rows, values)?;
        }
        Ok(())
    }
}

/// All attributes that may be set.
fn written() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(key, _, _)| *key).chain(POSITION.iter().map(|(key, _)| *key))
}

sluice_sdk::export!(GeoIp);
