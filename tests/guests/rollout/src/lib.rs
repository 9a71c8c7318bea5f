//! A plugin that marks every span, counts in its store, and drops, burns time, traps, does not come back or gets slow as
//! a block of bytes says, which the tests of shadows and canaries replace in the built component.

use serde::Deserialize;
use sluice_sdk::prelude::*;
use sluice_sdk::{Texts, log, metrics, store};

/// The words before the values are how the tests find it.
static BLOCK: [u8; 57] = *b"sluice-rollout mark=one drops=00 burns=01 fails=0 each=00";

/// Rounds of a unit of time that is burnt; more than all the rest of a call with a few spans takes.
const ROUNDS: u32 = 300_000;

/// Rounds of a unit that is burnt for each span.
const ROUNDS_EACH: u32 = ROUNDS / 100;

/// Calls of an instance after which it gets slow, if it is to, and how many times as much it burns then.
const YOUNG: u32 = 100;
const SLOW: u32 = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {}

#[derive(Default)]
struct Rollout {
    calls: u32,
}

/// A part of the block. The hint keeps the compiler from knowing the bytes.
fn part(from: usize, to: usize) -> &'static str {
    let block: &'static [u8] = core::hint::black_box(&BLOCK);
    block.get(from..to).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
}

fn spin() -> ! {
    loop {
        core::hint::black_box(());
    }
}

fn number(from: usize, to: usize) -> u32 {
    part(from, to).parse().unwrap_or_default()
}

impl Plugin for Rollout {
    type Config = Config;

    fn describe() -> Description {
        Description::new("rollout", part(20, 23))
            .capability("log")
            .capability("metrics")
            .capability("store")
            .read("spans.name")
            .read("spans.ids")
            .read("spans.attributes:mark")
            .write("spans.attributes:mark")
            .write("spans.drop")
    }

    fn configure(_: Config) -> Result<Configured<Self>, Vec<ConfigError>> {
        Ok(Configured::new(Self::default()))
    }

    fn process(&mut self, batch: &Batch) -> Result<(), Failure> {
        let mut spans = 0;
        self.calls += 1;
        for span in batch.spans()? {
            spans += 1;
            match number(48, 49) {
                1 if &*span.name()? == "bad" => core::arch::wasm32::unreachable(),
                2 if &*span.name()? == "bad" => spin(),
                _ => {}
            }
            // One that is marked already gets a mark that no version has.
            let mark = if span.attribute("mark")?.exists() { "twice" } else { part(20, 23) };
            span.set_attribute("mark", mark);
            if u32::from(span.trace_id()?[15]) * 100 < number(30, 32) * 256 {
                span.drop();
            }
        }
        let is_slow = number(48, 49) == 3 && self.calls > YOUNG;
        let rounds = number(39, 41) * ROUNDS + number(55, 57) * ROUNDS_EACH * spans as u32;
        for round in 0..rounds * if is_slow { SLOW } else { 1 } {
            core::hint::black_box(round);
        }
        let sums = store::add(&Texts::one("spans"), &[spans], None)?;
        let define = |kind, name| metrics::Metric::define(kind, name, "For the tests.", &[]);
        define(metrics::Kind::Gauge, "rollout_kept")?.record(&[], sums.first().copied().unwrap_or_default() as f64)?;
        define(metrics::Kind::Counter, "rollout_seen")?.record(&[], spans as f64)?;
        log::info(part(20, 23));
        Ok(())
    }
}

sluice_sdk::export!(Rollout);
