//! Totals that are estimated from what was kept are right: 100,000 traces of three services of very
//! different sizes, through two samplers in series, with 100 seeds.

use std::thread;

use probabilistic_sampler::ProbabilisticSampler;
use prost::Message;
use sluice_sdk::testing::Stage;

use crate::{span, stage};

const TRACES: u32 = 100_000;
const SEEDS: u64 = 100;
const REQUEST: u32 = 2_000;

/// Services, how many of the traces are theirs, and the probability of their strategy.
const SERVICES: [(&str, u32, f64); 3] = [("large", 90_000, 0.1), ("middle", 9_000, 0.5), ("small", 1_000, 1.0)];

/// The second sampler keeps so much of what the first one lets through.
const SECOND: f64 = 0.4;

const STRATEGIES: &str = r#"{"strategies": {
    "service_strategies": [
        {"service": "large", "type": "probabilistic", "param": 0.1},
        {"service": "middle", "type": "probabilistic", "param": 0.5}],
    "default_strategy": {"type": "const", "param": 1}}}"#;

/// A generator that shares nothing with the code under test (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn id(&mut self) -> u128 {
        (u128::from(self.next()) << 64) | u128::from(self.next())
    }
}

/// The number of spans of each service that what is left stands for: a span with the threshold T counts
/// 2^56 / (2^56 - T). Read with `prost` and by hand, as a consumer would.
fn estimate(wire: &[u8], totals: &mut [f64; 3]) {
    let request = opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest::decode(wire).unwrap();
    for resource in request.resource_spans {
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let place = SERVICES.iter().position(|(name, ..)| *name == span.name).unwrap();
            let digits = span.trace_state.strip_prefix("ot=th:").unwrap();
            let threshold = u64::from_str_radix(&format!("{digits:0<14}"), 16).unwrap();
            totals[place] += 2f64.powi(56) / (2f64.powi(56) - threshold as f64);
        }
    }
}

/// The totals that are estimated behind both samplers with one seed.
fn estimated(seed: u64) -> [f64; 3] {
    let mut random = Random(seed);
    let mut first = stage(STRATEGIES);
    let second = format!(r#"{{"mode": "proportional", "sampling_percentage": {}}}"#, SECOND * 100.0);
    let mut second = Stage::<ProbabilisticSampler>::new(&second).unwrap();
    let mut totals = [0.0; 3];
    for (name, count, _) in SERVICES {
        for part in 0..count.div_ceil(REQUEST) {
            let spans = (part * REQUEST..count.min((part + 1) * REQUEST)).map(|_| span(random.id(), name));
            let wire = crate::request(&[(name, spans.collect())]);
            let kept = first.process(&wire).unwrap().wire;
            estimate(&second.process(&kept).unwrap().wire, &mut totals);
        }
    }
    totals
}

#[test]
fn totals_estimated_behind_two_samplers_are_right() {
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let totals: Vec<[f64; 3]> = thread::scope(|scope| {
        let some = |thread| scope.spawn(move || (thread..SEEDS).step_by(threads as usize).map(estimated).collect());
        let running: Vec<thread::ScopedJoinHandle<'_, Vec<_>>> = (0..threads).map(some).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(totals.len() as u64, SEEDS);
    assert_eq!(SERVICES.iter().map(|(_, count, _)| count).sum::<u32>(), TRACES);
    for (i, (name, count, probability)) in SERVICES.into_iter().enumerate() {
        // Each of n spans counts 1/p with probability p: the variance of the sum is n (1 - p) / p.
        let p = probability * SECOND;
        let error = (f64::from(count) * (1.0 - p) / p).sqrt();
        let within = totals.iter().filter(|totals| (totals[i] - f64::from(count)).abs() <= 3.0 * error).count();
        assert!(within >= 95, "{name}: within three standard errors with {within} of {SEEDS} seeds only");
    }
}
