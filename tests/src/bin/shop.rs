//! A shop that sends its spans through the official OpenTelemetry SDK.
//!
//! It says what it does in JSON lines on stdout and is steered by lines on stdin: `mark` sends
//! everything made so far and tells how much that was, `stop` (or the end of stdin) does so and
//! ends. The first line holds every secret that may ever be sent.

#![expect(clippy::print_stdout, reason = "stdout is this program's interface")]

use std::io::BufRead as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use serde_json::{Value, json};
use sluice_tests::shop::sdk::Sdk;
use sluice_tests::shop::{self, Deed, Shop};

/// Sends the spans of a shop to an OTLP/gRPC endpoint.
#[derive(Parser)]
struct Args {
    /// Where to, as the SDK wants it: `http://host:port`.
    #[arg(long)]
    endpoint: String,
    /// Deeds a second; each makes one to three spans.
    #[arg(long, default_value_t = 400)]
    rate: u32,
    /// What everything follows from.
    #[arg(long, default_value_t = 2025)]
    seed: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let sdk = Sdk::new(&args.endpoint)?;
    let mut shop = Shop::new(args.seed);
    println!("{}", json!({"event": "open", "secrets": shop.secrets()}));

    let (commands, orders) = channel();
    thread::spawn(move || read_commands(&commands));
    let pause = Duration::from_secs(1) / args.rate.max(1);
    let mut next = Instant::now();
    let (mut spans, mut shown) = (0, false);
    loop {
        match orders.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => {
                next += pause;
                let deed = shop.deed();
                let contexts = sdk.tell(&deed);
                spans += contexts.len();
                // The payment that was declined shows most: a card, an e-mail, an event, an error.
                let declined = deed.within.first().filter(|charge| charge.error.is_some() && !shown);
                if let (Some(charge), Some(context)) = (declined, contexts.get(1)) {
                    shown = true;
                    println!("{}", sample(charge, &context.span_id().to_string()));
                }
            }
            Ok(command) if command == "mark" => {
                sdk.flush()?;
                println!("{}", json!({"event": "mark", "spans": spans, "checks": shop.checks()}));
            }
            Ok(_) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    sdk.shutdown()?;
    println!("{}", json!({"event": "closed", "spans": spans, "checks": shop.checks()}));
    Ok(())
}

fn read_commands(commands: &Sender<String>) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if commands.send(line.trim().to_owned()).is_err() {
            return;
        }
    }
}

/// A span as it is handed to the SDK.
fn sample(deed: &Deed, span_id: &str) -> Value {
    let text = |value: &shop::Value| match value {
        shop::Value::Text(text) => text.clone(),
        shop::Value::Int(number) => number.to_string(),
        shop::Value::Double(number) => number.to_string(),
    };
    let pairs = |attributes: &shop::Attributes| -> Vec<Value> {
        attributes.iter().map(|(key, value)| json!([key, text(value)])).collect()
    };
    let events: Vec<Value> =
        deed.events.iter().map(|(name, with)| json!({"name": name, "attributes": pairs(with)})).collect();
    json!({
        "event": "sample", "span_id": span_id, "name": deed.name,
        "attributes": pairs(&deed.attributes), "events": events, "status": deed.error,
    })
}
