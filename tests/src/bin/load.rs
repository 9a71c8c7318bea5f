//! A load generator: so many requests in flight over so many gRPC connections, the next one sent when an
//! answer comes. Prints one JSON line in the end.

#![expect(clippy::print_stdout, reason = "stdout is this program's interface")]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use serde_json::json;
use sluice_tests::load::{self, Load, Until};
use sluice_tests::{process, traffic};

/// Sends spans as fast as they are answered for.
#[derive(Parser)]
struct Args {
    /// Where to.
    #[arg(long)]
    target: SocketAddr,
    /// Over how many connections.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// How many requests are on their way at a time, over all connections together.
    #[arg(long, default_value_t = 8)]
    in_flight: usize,
    /// How many spans to send at least. Ignored with `--seconds`.
    #[arg(long, default_value_t = 1_000_000)]
    spans: u64,
    /// How long to send.
    #[arg(long)]
    seconds: Option<u64>,
    /// Send what gzip made of the requests beforehand.
    #[arg(long)]
    gzip: bool,
}

fn main() -> Result<()> {
    let Args { target, connections, in_flight, spans, seconds, gzip } = Args::parse();
    let until = seconds.map_or(Until::Spans(spans), |seconds| Until::Passed(Duration::from_secs(seconds)));
    let load = Load { target, connections, in_flight, until, gzip };
    // What is measured goes on with what it does when answers come, as if we were on another machine.
    process::never_interrupt()?;
    let sent = load::send(&load, &traffic::requests()?.requests)?;
    println!(
        "{}",
        json!({
            "requests": sent.requests, "spans": sent.spans, "bytes": sent.bytes, "refused": sent.refused,
            "seconds": sent.took.as_secs_f64(), "cpu_seconds": cpu_seconds(),
        })
    );
    Ok(())
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call writes to the place given and keeps no reference; zeros are a valid value.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
