//! For the test that kills it: appends for ever, from four threads, and says what is safe; takes and
//! acknowledges meanwhile, and says what it has taken before it acknowledges.

use std::env;
use std::error::Error;
use std::io::{Write, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sluice_log::{Log, Options, Outcome};

/// Taken and not acknowledged at a time.
const IN_FLIGHT: usize = 8;

fn payload(number: u64) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(8 + (number % 700) as usize, number as u8);
    payload
}

/// One write a line, so that a line is whole or not there.
fn say(what: &str, number: u64) -> std::io::Result<()> {
    stdout().lock().write_all(format!("{what} {number}.\n").as_bytes())
}

fn append(log: &Log, next: &AtomicU64) -> Result<(), Box<dyn Error>> {
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        let payload = payload(number);
        if let Outcome::Appended { .. } = log.reserve(payload.len())?.commit(payload.into(), 1).wait()? {
            say("safe", number)?;
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(dir), Some(first)) = (arguments.next(), arguments.next()) else {
        return Err("usage: sluice-log-appender DIR FIRST".into());
    };
    let log = Arc::new(Log::open(dir, Options { segment_bytes: Some(32 << 10), ..Options::default() })?);
    let next = Arc::new(AtomicU64::new(first.parse()?));
    for _ in 0..4 {
        let (log, next) = (log.clone(), next.clone());
        thread::spawn(move || {
            if append(&log, &next).is_err() {
                std::process::exit(1);
            }
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut in_flight = Vec::new();
    while let Some(delivery) = runtime.block_on(log.take()) {
        if let Some(number) = delivery.payload().whole().first_chunk() {
            say("taken", u64::from_be_bytes(*number))?;
        }
        in_flight.push(delivery);
        if in_flight.len() == IN_FLIGHT {
            // Out of order.
            while let Some(delivery) = in_flight.pop() {
                delivery.ack();
            }
        }
    }
    Ok(())
}
