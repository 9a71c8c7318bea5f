//! What one call costs: the sandbox around plugins that do next to nothing.
//! `cargo run --release -p sluice-sandbox --example call`
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout
)]

#[path = "../tests/sandbox/guest.rs"]
mod guest;
#[path = "../tests/sandbox/stage.rs"]
mod stage;

use std::time::Instant;

use guest::Guest;
use sluice_sandbox::{Effects, Limits};

/// Calls in one measurement, and measurements of which the best counts.
const CALLS: u32 = 10_000;
const ROUNDS: u32 = 30;

fn best(mut call: impl FnMut()) -> f64 {
    let round = |_| {
        let started = Instant::now();
        (0..CALLS).for_each(|_| call());
        started.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

fn measure(name: &str, guest: Guest) {
    let mut instance = stage::instance(guest);
    for spans in [1, 47, 512] {
        let (mut batch, mut effects) = (stage::batch(spans), Effects::default());
        let took = best(|| {
            instance.process(&mut batch, &mut effects).unwrap();
            effects = Effects::default();
        });
        println!("{name:<28} {spans:>4} spans: {took:>8.0} ns a call, {:>7.2} ns a span", took / spans as f64);
    }
}

fn main() {
    measure("nothing", Guest::new().whole_process("(call $drop (local.get $batch)) (call $ok)"));
    measure("one host call (len)", Guest::new().process("(drop (call $spans (local.get $batch)))"));
    let texts = "(call $texts (local.get $batch) (i32.const 2) (i32.const 5) (i32.const 600))";
    measure("one column (names)", Guest::new().process(texts));
    let attribute =
        "(call $attribute (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const 10) (i32.const 600))";
    measure("one attribute, there", Guest::new().data(4096, "http.route").process(attribute));
    measure("one attribute, not there", Guest::new().data(4096, "http.rotue").process(attribute));

    let prepared = stage::prepare(Guest::new()).unwrap();
    let started = Instant::now();
    (0..1000).for_each(|_| drop(prepared.instantiate().unwrap()));
    println!("an instance, configured: {:.1} µs", started.elapsed().as_micros() as f64 / 1000.0);

    let component: &'static [u8] = Guest::new().component().leak();
    let precompiled: &'static [u8] = sluice_sandbox::precompile(component).unwrap().leak();
    let (sandbox, source) =
        (stage::sandbox(), sluice_sandbox::Source::Embedded { name: "guest", component, precompiled });
    let started = Instant::now();
    (0..1000).for_each(|_| drop(sandbox.load(&source, &Limits::default(), None).unwrap()));
    println!(
        "loading {} KiB of embedded code: {:.1} µs",
        precompiled.len() >> 10,
        started.elapsed().as_micros() as f64 / 1000.0
    );
}
