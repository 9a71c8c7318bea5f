//! Tables as `MaxMind` databases: the key is an IP address as text, a column is the way to a value in
//! the record of its network, `country.iso_code` or `subdivisions.0.names.en`; `-1` is the last item of an array.
//! A string is its text, everything else its JSON.

use std::fmt;
use std::io::Read;
use std::net::IpAddr;

use maxminddb::{PathElement, Reader};
use serde_json::Value;

use super::BadTable;

/// A database, in memory as it is in its file.
pub(super) struct Database {
    reader: Reader<Vec<u8>>,
    bytes: usize,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("kind", &self.kind()).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Database {
    pub(super) fn read(mut input: impl Read, most_bytes: usize) -> Result<Self, BadTable> {
        let mut bytes = Vec::new();
        let most = (most_bytes as u64).saturating_add(1);
        input.by_ref().take(most).read_to_end(&mut bytes).map_err(|error| BadTable::Read { line: 1, error })?;
        let size = bytes.len();
        if size > most_bytes {
            return Err(BadTable::TooLarge(most_bytes));
        }
        let reader = Reader::from_source(bytes)?;
        // Every record is looked at, so that none is found to be broken while spans wait.
        reader.verify()?;
        Ok(Self { reader, bytes: size })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it is about, as its maker calls it: `GeoLite2-City`.
    pub(super) fn kind(&self) -> &str {
        &self.reader.metadata().database_type
    }

    pub(super) fn nodes(&self) -> usize {
        self.reader.metadata().node_count as usize
    }

    /// The value for an address. None for what is no address or not in the database, for an IPv6
    /// address in a database of IPv4, and for a record in which the way does not lead to a value.
    pub(super) fn find(&self, path: &[PathElement<'_>], key: &[u8]) -> Option<String> {
        let address: IpAddr = str::from_utf8(key).ok()?.parse().ok()?;
        // The records were checked when the file was read; what fails here is the way.
        match self.reader.lookup(address).ok()?.decode_path::<Value>(path).ok()?? {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }
}

/// The steps of a column's name.
pub(super) fn path(column: &str) -> Vec<PathElement<'_>> {
    column.split('.').map(step).collect()
}

fn step(step: &str) -> PathElement<'_> {
    let from_end = step.strip_prefix('-').and_then(|back| back.parse::<usize>().ok()?.checked_sub(1));
    match (from_end, step.parse()) {
        (Some(back), _) => PathElement::IndexFromEnd(back),
        (None, Ok(index)) => PathElement::Index(index),
        (None, Err(_)) => PathElement::Key(step),
    }
}
