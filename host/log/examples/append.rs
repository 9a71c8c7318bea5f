//! How many records a second can be appended, with and without fsync, beside what the disk can sync.
//!
//! `cargo run --release -p sluice-log --example append [DIR]`; the directory decides which disk.

#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_log::{Log, Options};

/// As long as each row runs.
const TIME: Duration = Duration::from_secs(2);
/// A request of 47 spans, which is what a batch of the OTLP exporters often holds.
const RECORD: usize = 16 << 10;
const SPANS: u32 = 47;
const IN_FLIGHT: usize = 64;

fn raw_syncs(dir: &Path) -> Result<f64, Box<dyn Error>> {
    let path = dir.join("raw");
    let file = File::create(&path)?;
    let (begin, mut count) = (Instant::now(), 0_u32);
    while begin.elapsed() < TIME {
        file.write_all_at(&[1; RECORD], u64::from(count) * RECORD as u64)?;
        file.sync_data()?;
        count += 1;
    }
    std::fs::remove_file(path)?;
    Ok(f64::from(count) / begin.elapsed().as_secs_f64())
}

fn appends(dir: &Path, fsync: bool, in_flight: usize) -> Result<(f64, f64), Box<dyn Error>> {
    let options = Options { fsync, max_bytes: 8 << 30, ..Options::default() };
    let log = Arc::new(Log::open(dir.join("log"), options)?);
    let begin = Instant::now();
    let payload = Bytes::from(vec![1; RECORD]);
    let mut waiting = std::collections::VecDeque::new();
    while begin.elapsed() < TIME {
        if waiting.len() == in_flight
            && let Some(oldest) = waiting.pop_front()
        {
            sluice_log::Ticket::wait(oldest)?;
        }
        waiting.push_back(log.reserve(RECORD)?.commit(payload.clone().into(), SPANS));
        // As the exporter would, so that the directory does not grow.
        while let Some(delivery) = log.try_take() {
            delivery.ack();
        }
    }
    for ticket in waiting {
        ticket.wait()?;
    }
    let (seconds, counts) = (begin.elapsed().as_secs_f64(), log.figures().counts);
    log.close()?;
    std::fs::remove_dir_all(dir.join("log"))?;
    Ok((counts.appended_records as f64 / seconds, counts.syncs as f64 / seconds))
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into).join("sluice-log-append");
    std::fs::create_dir_all(&dir)?;
    println!("records of {RECORD} bytes and {SPANS} spans");
    println!("write and fsync, one at a time: {:>9.0}/s", raw_syncs(&dir)?);
    for (fsync, in_flight) in [(true, 1), (true, IN_FLIGHT), (false, IN_FLIGHT)] {
        let (records, syncs) = appends(&dir, fsync, in_flight)?;
        let spans = records * f64::from(SPANS);
        println!(
            "fsync {fsync:<5} {in_flight:>3} in flight: {records:>9.0} records/s {spans:>11.0} spans/s {syncs:>6.0} syncs/s"
        );
    }
    std::fs::remove_dir(&dir)?;
    Ok(())
}
