//! The addresses of a batch: which rows have one, and each of them once.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sluice_sdk::prelude::*;

/// The addresses of some rows.
#[derive(Default)]
pub struct Addresses {
    /// Each that occurs, as the keys of a look-up.
    pub texts: Texts,
    /// Rows that have one, ascending, and which it is.
    pub rows: Vec<(u32, usize)>,
}

impl Addresses {
    /// Finds the address of each row: what the first of these attributes holds that is one. In an attribute like
    /// `client.address` there may be a name as well.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn pull(batch: &Batch<'_>, table: Table, attributes: &[String]) -> Result<Self, Failure> {
        let mut of_rows = BTreeMap::new();
        for key in attributes {
            let values = batch.attribute(table, key)?.values;
            for row in 0..values.len() {
                if let Some(address) = values.str(row).and_then(parse) {
                    of_rows.entry(row as u32).or_insert(address);
                }
            }
        }
        let mut known = BTreeMap::new();
        let mut addresses = Self::default();
        for (row, address) in of_rows {
            let next = known.len();
            let number = *known.entry(address).or_insert(next);
            if number == next {
                addresses.texts.push(address.to_string().as_bytes());
            }
            addresses.rows.push((row, number));
        }
        Ok(addresses)
    }
}

/// An address that somebody has: `0.0.0.0` and `::` are nobody's. One of IPv4 may be written in IPv6.
fn parse(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok()?.to_canonical();
    (!address.is_unspecified()).then_some(address)
}
