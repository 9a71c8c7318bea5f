//! Time and chance.

use std::time::{SystemTime, UNIX_EPOCH};

use sluice_sandbox::{Effects, Instance, Limits, MetricUpdate, Settings};

use crate::guest::Guest;
use crate::stage::{batch, prepare, prepare_with, settings};

/// The answer of `now` is a byte that is 1 for a refusal, and 8 bytes later the time, or the code.
/// That of `numbers` is like those of the batch.
const NOW: &str = r#"(import "sluice:plugin/clock@0.1.0" "now-unix-nano" (func $now (param i32)))"#;
const NUMBERS: &str = r#"(import "sluice:plugin/random@0.1.0" "numbers" (func $random (param i32 i32)))"#;

/// Tells the test a number, as a value of a histogram.
const TELL: &str = "(func $tell (param f64)
    (call $define (i32.const 3) (i32.const 4096) (i32.const 1) (i32.const 4096) (i32.const 0)
      (i32.const 4096) (i32.const 0) (i32.const 4096) (i32.const 0) (i32.const 900))
    (call $record (i32.load (i32.const 904)) (i32.const 4096) (i32.const 0) (i32.const 4096) (i32.const 0)
      (local.get 0) (i32.const 920)))";

fn teller(capability: &'static str, import: &str, body: &str) -> Guest {
    let guest = Guest::new().capabilities(&["metrics", capability]).imports(import).module(TELL).data(4096, "n");
    guest.process(body)
}

/// What one call tells.
fn told(instance: &mut Instance) -> Vec<f64> {
    let mut effects = Effects::default();
    instance.process(&mut batch(1), &mut effects).unwrap();
    effects.metrics.iter().flat_map(MetricUpdate::values).collect()
}

fn unix_nano() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as f64
}

#[test]
fn the_time_is_now_and_stands_still_within_a_call() {
    let look = "(call $now (i32.const 600)) (call $tell (f64.convert_i64_u (i64.load (i32.const 608))))";
    // Some hundred microseconds pass between the two looks.
    let wait = "(local.set $n (i32.const 300000))
        (loop $on (br_if $on (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
    let mut instance = prepare(teller("clock", NOW, &format!("{look} {wait} {look}"))).unwrap().instantiate().unwrap();
    let before = unix_nano();
    let first = told(&mut instance);
    let second = told(&mut instance);
    assert_eq!(first[0].to_bits(), first[1].to_bits());
    assert!(before <= first[0] && first[0] < second[0] && second[0] <= unix_nano(), "{before} {first:?} {second:?}");
}

/// Tells the first 53 bits of two numbers.
const TWO_NUMBERS: &str = "(call $random (i32.const 2) (i32.const 600)) (local.set $n (i32.load (i32.const 604)))
    (call $tell (f64.convert_i64_u (i64.shr_u (i64.load (local.get $n)) (i64.const 11))))
    (call $tell (f64.convert_i64_u (i64.shr_u (i64.load offset=8 (local.get $n)) (i64.const 11))))";

#[test]
fn random_numbers_follow_from_the_seed_if_there_is_one() {
    let seeded = Settings { seed: Some(1_234_567), ..settings(Limits::default()) };
    let prepared = prepare_with(teller("random", NUMBERS, TWO_NUMBERS), seeded).unwrap();
    let mut instance = prepared.instantiate().unwrap();
    // The outputs of the published generator for this seed.
    let published = [
        6_457_827_717_110_365_317_u64,
        3_203_168_211_198_807_973,
        9_817_491_932_198_370_423,
        4_593_380_528_125_082_431,
    ];
    let numbers = [told(&mut instance), told(&mut instance)].concat();
    assert_eq!(numbers, published.map(|number| (number >> 11) as f64));
}

#[test]
fn each_instance_has_random_numbers_of_its_own() {
    let prepared = prepare(teller("random", NUMBERS, TWO_NUMBERS)).unwrap();
    let mut numbers: Vec<f64> = (0..4).flat_map(|_| told(&mut prepared.instantiate().unwrap())).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.dedup();
    assert_eq!(numbers.len(), 8);
}

#[test]
fn too_many_random_numbers_are_refused() {
    let ask = "(call $random (i32.const 65537) (i32.const 600))
        (call $tell (f64.convert_i32_u (i32.load (i32.const 604))))";
    let mut instance = prepare(teller("random", NUMBERS, ask)).unwrap().instantiate().unwrap();
    assert_eq!(told(&mut instance), [5.0]);
}

#[test]
fn neither_answers_while_the_plugin_is_set_up() {
    // Traps unless the answer is refusal 6, not possible here.
    let calls = "(call $now (i32.const 600)) (if (i32.ne (i32.load (i32.const 608)) (i32.const 6)) (then unreachable))
        (call $random (i32.const 1) (i32.const 600))
        (if (i32.ne (i32.load (i32.const 604)) (i32.const 6)) (then unreachable))";
    let guest = Guest::new().capabilities(&["clock", "random"]).imports(NOW).imports(NUMBERS);
    prepare(guest.before_describe(calls)).unwrap();
}
