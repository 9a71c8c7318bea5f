//! Measuring: round after round every row and its native job in turn; medians count.

use std::time::Duration;

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use sluice_sandbox::{CallError, FailureKind};

use crate::requests::Requests;
use crate::rows::{Bar, Row, Start, Subject};

/// CPU time of one measurement at least: well above the clock's own cost and a tick of the
/// sandbox's clock.
const ENOUGH: Duration = Duration::from_millis(5);

/// Passes at a time when batches are indexed beforehand: an index must still be in the caches when
/// its batch is worked on, as it is in a chain.
const INDEXED: u32 = 1;

/// How often a measurement is tried on a busy machine.
const TRIES: u32 = 5;

/// For how long a plugin is called on another thread after a call that took too long.
const SUSPECT: Duration = Duration::from_secs(2);

/// A call in a chain took so long that it was interrupted.
#[derive(Debug, thiserror::Error)]
#[error("a call was interrupted")]
pub struct Interrupted;

/// What a row costs.
pub struct Measured {
    /// The row's.
    pub name: String,
    spans: u64,
    /// Nanoseconds a span.
    pub ns: f64,
    /// Of the quickest round.
    pub least_ns: f64,
    native_ns: Option<f64>,
    ratio: Option<f64>,
    /// The row's.
    pub bar: Bar,
}

impl Measured {
    /// As the bench driver reads it.
    pub fn json(&self) -> Value {
        json!({
            "name": self.name, "spans": self.spans, "ns": self.ns, "native_ns": self.native_ns,
            "ratio": self.ratio, "bar_ns": self.bar.ns, "bar_ratio": self.bar.ratio,
        })
    }
}

/// Nanoseconds a span of one round.
#[derive(Clone, Copy)]
struct Sample {
    ns: f64,
    native_ns: Option<f64>,
}

/// Measures all rows in so many rounds.
pub fn all(rows: &mut [Row], rounds: usize) -> Result<Vec<Measured>> {
    let mut samples: Vec<Vec<Sample>> = rows.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds.max(1) {
        for (row, samples) in rows.iter_mut().zip(&mut samples) {
            let Row { requests, start, subject, native, .. } = row;
            let ns = patiently(|| per_span(requests, *start, subject))?;
            let native = native.as_mut().map(|native| per_span(requests, *start, native));
            samples.push(Sample { ns, native_ns: native.transpose()? });
        }
    }
    let measured = rows.iter().zip(samples).map(|(row, samples)| {
        let natives: Vec<f64> = samples.iter().filter_map(|sample| sample.native_ns).collect();
        let ratios = samples.iter().filter_map(|sample| Some(sample.ns / sample.native_ns?));
        Ok(Measured {
            name: row.name.clone(),
            spans: row.spans_a_request()?,
            ns: median(samples.iter().map(|sample| sample.ns)).unwrap_or_default(),
            least_ns: samples.iter().map(|sample| sample.ns).reduce(f64::min).unwrap_or_default(),
            native_ns: median(natives.iter().copied()),
            ratio: median(ratios),
            bar: row.bar,
        })
    });
    measured.collect()
}

/// Measures again when a call took too long by the wall clock: that is when others had all cores
/// for a tenth of a second, and says nothing of the plugin.
fn patiently(mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut tries = 1;
    loop {
        let result = measure();
        let is_interrupted = result.as_ref().is_err_and(|error| {
            let call = error.downcast_ref::<CallError>();
            error.is::<Interrupted>() || call.is_some_and(|call| call.kind == FailureKind::Timeout)
        });
        if tries == TRIES || !is_interrupted {
            return result;
        }
        eprintln!("a call was interrupted: measuring it again");
        std::thread::sleep(SUSPECT);
        tries += 1;
    }
}

fn median(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}

/// Passes the requests through until enough time was spent; nanoseconds a span.
fn per_span(requests: &Requests, start: Start, subject: &mut Subject) -> Result<f64> {
    // What the caches hold after the first pass is this subject's.
    Row::pass(requests, start, subject, 1)?;
    let (mut spent, mut passes) = (Duration::ZERO, 0u32);
    while spent < ENOUGH {
        // As many again, so that looking at the clock costs nothing beside it.
        let times = if start == Start::Indexed { INDEXED } else { passes.max(1) };
        spent += Row::pass(requests, start, subject, times)?;
        passes += times;
    }
    Ok(spent.as_nanos() as f64 / (u64::from(passes) * requests.spans()) as f64)
}

/// CPU time of this thread.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
