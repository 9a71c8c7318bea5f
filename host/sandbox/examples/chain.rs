//! Costs of the plugins of `examples/bench/four.yaml`, one by one, on real requests:
//! `cargo run --release -p sluice-sandbox --example chain -- FILE.otlp [ROUNDS]`, after
//! `cargo xtask build`. FILE is a sequence of big-endian u32 lengths and OTLP requests. Compiled code is
//! kept in `target/chain-cache`, so that a run under callgrind holds no compilation but in its first.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_sandbox::{Compiler, Effects, Limits, Options, Sandbox, Settings, Source};
use sluice_spans::Batch;

const PLUGINS: [(&str, &str); 4] = [
    (
        "filter",
        r#"{"traces":{"span":["name == \"router flagservice egress\"","attributes[\"rpc.service\"] == \"flagd.evaluation.v1.Service\""]}}"#,
    ),
    ("redaction", r#"{"allow_all_keys":true,"detectors":["payment_card","email"]}"#),
    (
        "attributes",
        r#"{"actions":[{"key":"deployment.environment.name","value":"production","action":"upsert"},{"key":"collector.node","value":"edge-1","action":"insert"}]}"#,
    ),
    ("probabilistic_sampler", r#"{"sampling_percentage":99}"#),
];

fn main() {
    let mut args = std::env::args().skip(1);
    let file = std::fs::read(args.next().unwrap()).unwrap();
    let rounds: u32 = args.next().map_or(200, |rounds| rounds.parse().unwrap());
    let requests = requests(&file);
    let spans: u64 = requests.iter().map(|wire| u64::from(sluice_spans::count_spans(wire).unwrap())).sum();
    let cache_dir = Some("target/chain-cache".into());
    let sandbox = Sandbox::new(Options { cache_dir, compiler: Compiler::InProcess }).unwrap();
    let mut instances: Vec<_> = PLUGINS
        .iter()
        .map(|(name, config)| {
            let source = Source::File(format!("target/plugins/{name}.wasm").into());
            let module = sandbox.load(&source, &Limits::default(), None).unwrap();
            let settings = Settings {
                plugin: (*name).to_owned(),
                config_json: (*config).to_owned(),
                limits: Limits::default(),
                access: None,
                capabilities: None,
                seed: None,
                tables: Vec::new(),
                store_folder: None,
            };
            sandbox.prepare(&module, settings).unwrap().instantiate().unwrap()
        })
        .collect();
    let mut took = [Duration::ZERO; 7];
    for _ in 0..rounds {
        for wire in &requests {
            let mut mark = Instant::now();
            let mut lap = |took: &mut Duration| {
                *took += mark.elapsed();
                mark = Instant::now();
            };
            let mut batch = Batch::parse(wire.clone()).unwrap();
            lap(&mut took[0]);
            for (instance, took) in instances.iter_mut().zip(&mut took[1..]) {
                instance.process(&mut batch, &mut Effects::default()).unwrap();
                lap(took);
            }
            let out = batch.encode();
            lap(&mut took[5]);
            drop((out, batch));
            lap(&mut took[6]);
        }
    }
    let per_span = |took: Duration| took.as_nanos() as f64 / (spans * u64::from(rounds)) as f64;
    println!("{spans} spans in {} requests, {rounds} rounds; ns a span", requests.len());
    for (name, took) in ["parse", "filter", "redaction", "attributes", "sampler", "encode", "free"].iter().zip(took) {
        println!("{name:>12} {:8.1}", per_span(took));
    }
    println!("{:>12} {:8.1}", "all", per_span(took.iter().sum()));
}

/// The requests of a file, none larger than some 47 spans.
fn requests(file: &[u8]) -> Vec<Bytes> {
    let (mut at, mut requests) = (0, Vec::new());
    while let Some(len) = file.get(at..at + 4) {
        let len = u32::from_be_bytes(len.try_into().unwrap()) as usize;
        let wire = Bytes::copy_from_slice(&file[at + 4..at + 4 + len]);
        requests.extend(sluice_spans::split_encoded(wire, usize::MAX, 47));
        at += 4 + len;
    }
    requests
}
