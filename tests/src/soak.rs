//! Soaks: one thing done for long or many times, with one result. The tests run each in short.

pub mod connections;
pub mod kill9;
pub mod outage;
pub mod restart;
pub mod swaps;

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use bytes::Bytes;

use crate::wire;

/// A span's trace id and span id.
pub type SpanId = [u8; 24];

/// The ids of all spans of a request.
///
/// # Errors
/// When it is no protobuf, or a span has no ids.
pub fn ids(request: &Bytes) -> Result<Vec<SpanId>> {
    wire::spans(request)?.iter().map(|span| id(&span.span)).collect()
}

fn id(span: &Bytes) -> Result<SpanId> {
    let fields = wire::fields(span)?;
    let value = |number| fields.iter().find(|field| field.number == number).map(|field| field.value.clone());
    // OTLP's `Span`: 1 is the trace id, 2 the span id.
    let (trace, span) = (value(1).context("a span without a trace id")?, value(2).context("a span without an id")?);
    [trace, span].concat().try_into().ok().context("ids of another size")
}

/// The resident memory of a process, in bytes.
fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

/// What arrived, by span: how often.
#[derive(Default)]
pub struct Arrived {
    times: HashMap<SpanId, u32>,
}

impl Arrived {
    /// Adds a request.
    ///
    /// # Errors
    /// As [`ids`].
    pub fn add(&mut self, request: &Bytes) -> Result<()> {
        for id in ids(request)? {
            *self.times.entry(id).or_default() += 1;
        }
        Ok(())
    }

    /// How many of these did not arrive.
    pub fn missing<'i>(&self, sent: impl IntoIterator<Item = &'i SpanId>) -> u64 {
        sent.into_iter().filter(|id| !self.times.contains_key(*id)).count() as u64
    }

    /// How many arrivals were not the first of their span.
    pub fn duplicates(&self) -> u64 {
        self.times.values().map(|times| u64::from(times - 1)).sum()
    }

    /// How many spans arrived, each counted once.
    pub fn distinct(&self) -> u64 {
        self.times.len() as u64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::shop::otlp::Exporter;

    #[test]
    fn what_is_missing_and_what_came_twice_is_told() {
        let mut exporter = Exporter::new(9);
        let (one, other) = (exporter.request(10), exporter.request(10));
        let spans = |request: &Bytes| wire::count(request).unwrap_or_default();
        let mut arrived = Arrived::default();
        arrived.add(&one).unwrap();
        arrived.add(&one).unwrap();
        let sent = [ids(&one).unwrap(), ids(&other).unwrap()].concat();
        assert_eq!(arrived.missing(&sent), spans(&other));
        assert_eq!((arrived.duplicates(), arrived.distinct()), (spans(&one), spans(&one)));
    }
}
