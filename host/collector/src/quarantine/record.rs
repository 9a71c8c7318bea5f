//! The file of a record: a line of JSON that says what is in it and why, then the spans as the bytes
//! of an `ExportTraceServiceRequest`. The line has their length and SHA-256.

use std::fmt::Write as _;
use std::path::Path;
use std::time::SystemTime;
use std::{fs, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::telemetry::logs::rfc3339;

/// Why spans are set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The pipeline that they were in.
    pub pipeline: String,
    /// The processor that failed on them.
    pub plugin: String,
    /// The plugin's version.
    pub version: String,
    /// SHA-256 of its component.
    pub digest: String,
    /// The kind of failure.
    pub kind: String,
    /// What happened.
    pub reason: String,
    /// The plugin's functions on the stack, innermost first.
    pub backtrace: String,
    /// How many spans.
    pub spans: u32,
}

/// What a record says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub id: String,
    /// When it was written.
    pub time: String,
    /// Why.
    #[serde(flatten)]
    pub case: Case,
    /// Size of the spans.
    pub bytes: u64,
    /// Of the spans.
    pub sha256: String,
}

/// A record that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// Its first line is no description.
    #[error("its first line does not describe it")]
    NoDescription,
    /// The spans are not those that were written.
    #[error("its spans are not those that were written")]
    Spans,
}

/// The file's bytes.
pub(super) fn encode(id: &str, now: SystemTime, case: &Case, wire: &[u8]) -> Vec<u8> {
    let record = Record {
        id: id.to_owned(),
        time: rfc3339(now),
        case: case.clone(),
        bytes: wire.len() as u64,
        sha256: sha256(wire),
    };
    // Strings and numbers always have a JSON form.
    let mut bytes = serde_json::to_vec(&record).unwrap_or_default();
    bytes.push(b'\n');
    bytes.extend_from_slice(wire);
    bytes
}

impl Record {
    /// Reads a record and its spans.
    ///
    /// # Errors
    /// When it is not there or not as it was written.
    pub fn read(path: &Path) -> Result<(Self, Vec<u8>), Damaged> {
        let mut bytes = fs::read(path)?;
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Damaged::NoDescription)?;
        let wire = bytes.split_off(end + 1);
        let record: Self = serde_json::from_slice(&bytes).map_err(|_| Damaged::NoDescription)?;
        if record.bytes != wire.len() as u64 || record.sha256 != sha256(&wire) {
            return Err(Damaged::Spans);
        }
        Ok((record, wire))
    }
}

/// The SHA-256 of some bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
