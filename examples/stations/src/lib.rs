//! Tells the city of a span's station, and lets no station send more spans than its share.
//!
//! The cities are in a look-up table of the operator's; the shares are token buckets in the store,
//! so that they hold for all cores together.

use sluice_sdk::prelude::*;
use sluice_sdk::store::{self, Bucket};
use sluice_sdk::{Texts, Values, tables};

/// The attribute that names the station.
const STATION: &str = "station.id";

/// The keys under `config:`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    spans_per_s: f64,
    burst: u64,
}

/// The plugin.
pub struct Stations {
    share: Bucket,
}

impl Plugin for Stations {
    type Config = Config;

    fn describe() -> Description {
        Description::new("stations", env!("CARGO_PKG_VERSION"))
            .capability("store")
            .capability("tables")
            .read("tables:stations")
            .read("spans.attributes:station.id")
            .write("spans.attributes:station.city")
            .write("spans.drop")
    }

    fn configure(config: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        if !config.spans_per_s.is_finite() || config.spans_per_s < 0.0 {
            return Err(vec![ConfigError::new("spans_per_s", "must be a number from 0")]);
        }
        Ok(Configured::new(Self { share: Bucket { rate_per_s: config.spans_per_s, burst: config.burst } }))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), Failure> {
        // The rows that name a station, and the stations. All are looked up at once.
        let column = batch.attribute(Table::Spans, STATION)?.values;
        let (mut rows, mut stations) = (Vec::new(), Texts::default());
        for row in 0..column.len() {
            if let Some(station) = column.str(row) {
                rows.push(row as u32);
                stations.push(station.as_bytes());
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let found = tables::look_up("stations", "city", &stations)?;
        let (mut known, mut cities) = (Vec::new(), Texts::default());
        for (i, row) in rows.iter().enumerate() {
            if let Some(city) = found.str(i) {
                known.push(*row);
                cities.push(city.as_bytes());
            }
        }
        batch.set_attribute(Table::Spans, "station.city", &known, Values::strings(cities))?;

        let within = store::take(&stations, &[1], self.share)?;
        let beyond: Vec<u32> = rows.iter().zip(within).filter(|(_, within)| !within).map(|(row, _)| *row).collect();
        batch.drop_rows(Table::Spans, &beyond)?;
        Ok(())
    }
}

sluice_sdk::export!(Stations);

#[cfg(test)]
mod tests {
    use super::Stations;
    use sluice_sdk::testing::{Problem, Stage};
    use std::time::Duration;

    fn wrap(key: u8, body: Vec<u8>) -> Vec<u8> {
        [vec![key, body.len() as u8], body].concat()
    }

    /// One span of a station, as an OTLP request: resource, scope and span are field 1, 2 and 2 of
    /// what encloses them; attributes are field 9, and a string is field 1 of its value.
    fn span(station: &str) -> Vec<u8> {
        let value = wrap(0x0a, station.as_bytes().to_vec());
        let attribute = [wrap(0x0a, b"station.id".to_vec()), wrap(0x12, value)].concat();
        let span = [wrap(0x0a, vec![1; 16]), wrap(0x12, vec![2; 8]), wrap(0x4a, attribute)].concat();
        wrap(0x0a, wrap(0x12, wrap(0x12, span)))
    }

    fn stage() -> Stage<Stations> {
        let stage = Stage::new(r#"{"spans_per_s": 1, "burst": 2}"#).unwrap();
        stage.table("stations", "id,city\nGVA,Geneva\n", "id").unwrap()
    }

    fn tells(wire: &[u8], text: &str) -> bool {
        wire.windows(text.len()).any(|window| window == text.as_bytes())
    }

    #[test]
    fn a_known_station_gets_its_city() {
        let mut stage = stage();
        assert!(tells(&stage.process(&span("GVA")).unwrap().wire, "Geneva"));
        assert_eq!(stage.process(&span("XYZ")).unwrap().wire, span("XYZ"));
    }

    #[test]
    fn a_station_gets_its_share_whatever_others_send() {
        let mut stage = stage();
        let mut dropped = |station: &str| stage.process(&span(station)).unwrap().dropped;
        assert_eq!([dropped("GVA"), dropped("GVA"), dropped("GVA"), dropped("BRN")], [0, 0, 1, 0]);
        stage.advance(Duration::from_secs(1));
        let mut dropped = |station: &str| stage.process(&span(station)).unwrap().dropped;
        assert_eq!([dropped("GVA"), dropped("GVA")], [0, 1]);
    }

    #[test]
    fn a_refused_request_costs_nothing() {
        let mut stage = stage();
        for _ in 0..10 {
            assert_eq!(stage.process_refused(&span("GVA")).unwrap().dropped, 0);
        }
    }

    #[test]
    fn a_rate_that_is_none_is_told() {
        match Stage::<Stations>::new(r#"{"spans_per_s": -1, "burst": 2}"#).map(|_| ()) {
            Err(Problem::Config(problems)) => assert_eq!(problems[0].path, "spans_per_s"),
            other => panic!("{other:?}"),
        }
    }
}
