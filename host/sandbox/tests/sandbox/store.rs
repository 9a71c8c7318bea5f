//! The store, from a guest's side. What it does with keys and values is tested where it lives.

use std::thread;
use std::time::Duration;

use sluice_sandbox::{CallError, Effects, FailureKind, Instance, Limits, MetricUpdate, Prepared, Sandbox, Settings};

use crate::guest::{Guest, little_endian};
use crate::hostile::cpu_time;
use crate::stage::{batch, load_bytes, sandbox, settings};

const IMPORTS: &str = r#"
  (import "sluice:plugin/store@0.1.0" "add" (func $add (param i32 i32 i32 i32 i32 i32 i64 i32)))
  (import "sluice:plugin/store@0.1.0" "take" (func $take (param i32 i32 i32 i32 i32 i32 f64 i64 i32)))
  (import "sluice:plugin/store@0.1.0" "set"
    (func $set (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)))
  (import "sluice:plugin/store@0.1.0" "compare-and-set" (func $swap (param i32 i32)))
  (import "sluice:plugin/store@0.1.0" "get" (func $get (param i32 i32 i32 i32 i32)))
  (import "sluice:plugin/store@0.1.0" "remove" (func $remove (param i32 i32 i32 i32 i32)))
"#;

/// `$told` tells the test a number, as a value of a histogram. `$count` adds 1 to the int of key `n` and
/// gives the sum; `$token` takes 1 of 5 tokens from bucket `n`, and tells whether it was there. Both
/// give a refusal's code and 100 if there is one.
const SUPPORT: &str = "(func $tell (param f64)
    (call $define (i32.const 3) (i32.const 4096) (i32.const 1) (i32.const 4096) (i32.const 0)
      (i32.const 4096) (i32.const 0) (i32.const 4096) (i32.const 0) (i32.const 900))
    (call $record (i32.load (i32.const 904)) (i32.const 4096) (i32.const 0) (i32.const 4096) (i32.const 0)
      (local.get 0) (i32.const 920)))
  (func $answer (param $number i32) (result i32)
    (if (result i32) (i32.load8_u (i32.const 600))
      (then (i32.add (i32.load (i32.const 604)) (i32.const 100)))
      (else (local.get $number))))
  (func $count (result i32)
    (call $add (i32.const 4100) (i32.const 1) (i32.const 4096) (i32.const 1) (i32.const 4104) (i32.const 1)
      (i64.const 0) (i32.const 600))
    (call $answer (i32.load (i32.load (i32.const 604)))))
  (func $token (result i32)
    (call $take (i32.const 4100) (i32.const 1) (i32.const 4096) (i32.const 1) (i32.const 4104) (i32.const 1)
      (f64.const 0) (i64.const 5) (i32.const 600))
    (call $answer (i32.load8_u (i32.load (i32.const 604)))))";

/// Tells the count, then whether there was a token.
const COUNT_AND_TAKE: &str =
    "(call $tell (f64.convert_i32_u (call $count))) (call $tell (f64.convert_i32_u (call $token)))";

/// At 4096 the key `n`, at 4100 where it ends, at 4104 the amount 1, at 4112 the type of a string.
fn guest() -> Guest {
    let guest = Guest::new().capabilities(&["metrics", "store"]).imports(IMPORTS).module(SUPPORT);
    guest.data(4096, "n").data(4100, little_endian(&[1])).data(4104, little_endian(&[1, 0])).data(4112, "\u{1}")
}

fn prepared(sandbox: &Sandbox, guest: Guest, limits: Limits) -> Prepared {
    let module = load_bytes(sandbox, &guest.component()).unwrap();
    sandbox.prepare(&module, settings(limits)).unwrap()
}

fn prepare(guest: Guest) -> Prepared {
    prepared(&sandbox(), guest, Limits::default())
}

/// A request of so many spans; its effects wait to be committed.
fn call(instance: &mut Instance, spans: usize) -> Result<(Vec<u32>, Effects), CallError> {
    let mut effects = Effects::default();
    instance.process(&mut batch(spans), &mut effects)?;
    let told = effects.metrics.iter().flat_map(MetricUpdate::values).map(|value| value as u32).collect();
    Ok((told, effects))
}

/// What a request tells that passes.
fn passes(instance: &mut Instance) -> Vec<u32> {
    let (told, effects) = call(instance, 1).unwrap();
    effects.store.commit();
    told
}

#[test]
fn all_instances_share_what_requests_that_passed_have_written() {
    let prepared = prepare(guest().process(COUNT_AND_TAKE));
    let (mut first, mut second) = (prepared.instantiate().unwrap(), prepared.instantiate().unwrap());
    assert_eq!(passes(&mut first), [1, 1]);
    assert_eq!(passes(&mut second), [2, 1]);
    assert_eq!(passes(&mut first), [3, 1]);
}

#[test]
fn a_request_that_is_refused_after_the_call_leaves_nothing() {
    let mut instance = prepare(guest().process(COUNT_AND_TAKE)).instantiate().unwrap();
    for _ in 0..7 {
        let (told, effects) = call(&mut instance, 1).unwrap();
        assert_eq!(told, [1, 1]);
        drop(effects);
    }
    assert_eq!(passes(&mut instance), [1, 1]);
}

#[test]
fn what_a_call_that_traps_has_done_is_taken_back_and_that_of_earlier_slices_stays() {
    let traps = "(if (i32.gt_u (call $spans (local.get $batch)) (i32.const 1)) (then unreachable))";
    let mut instance = prepare(guest().process(&format!("{COUNT_AND_TAKE} {traps}"))).instantiate().unwrap();
    let mut effects = Effects::default();
    instance.process(&mut batch(1), &mut effects).unwrap();
    for _ in 0..7 {
        let error = instance.process(&mut batch(3), &mut effects).unwrap_err();
        assert_eq!(error.kind, FailureKind::Trap);
    }
    instance.process(&mut batch(1), &mut effects).unwrap();
    let told: Vec<u32> = effects.metrics.iter().flat_map(MetricUpdate::values).map(|value| value as u32).collect();
    assert_eq!(told, [1, 1, 2, 1], "a new instance, the same request");
    effects.store.commit();
    // Of 5 tokens 2 are gone.
    let taken: u32 = (0..5).map(|_| passes(&mut instance)[1]).sum();
    assert_eq!(taken, 3);
}

#[test]
fn threads_lose_no_addition_and_no_token() {
    let prepared = prepare(guest().process(COUNT_AND_TAKE));
    let took: u32 = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let mut instance = prepared.instantiate().unwrap();
                scope.spawn(move || (0..500).map(|_| passes(&mut instance)[1]).sum::<u32>())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(took, 5);
    assert_eq!(passes(&mut prepared.instantiate().unwrap())[0], 2001);
}

#[test]
fn another_version_finds_the_store_of_its_plugin() {
    let sandbox = sandbox();
    let old = prepared(&sandbox, guest().process(COUNT_AND_TAKE), Limits::default());
    assert_eq!(passes(&mut old.instantiate().unwrap()), [1, 1]);
    let new = prepared(&sandbox, guest().traits(1).process(COUNT_AND_TAKE), Limits::default());
    assert_ne!(new.digest(), old.digest());
    assert_eq!(passes(&mut new.instantiate().unwrap()), [2, 1]);
    let module = load_bytes(&sandbox, &guest().process(COUNT_AND_TAKE).component()).unwrap();
    let other = Settings { plugin: "wasm/other".to_owned(), ..settings(Limits::default()) };
    let other = sandbox.prepare(&module, other).unwrap();
    assert_eq!(passes(&mut other.instantiate().unwrap()), [1, 1], "another plugin has its own");
}

/// Stores 100,000 bytes under the key `n`, that at 4096 changed by one each time; ends with this after
/// a refusal.
fn flood(after_refusal: &str) -> Guest {
    let body = format!(
        "(local.set $n (i32.const 20))
         (loop $more
           (i32.store8 (i32.const 4096) (i32.add (i32.load8_u (i32.const 4096)) (i32.const 1)))
           (call $set (i32.const 4100) (i32.const 1) (i32.const 4096) (i32.const 1) (i32.const 4112) (i32.const 1)
             (i32.const 4096) (i32.const 0) (i32.const 4116) (i32.const 1) (i32.const 65536) (i32.const 100000)
             (i64.const 0) (i32.const 600))
           (if (i32.load8_u (i32.const 600))
             (then (if (i32.ne (i32.load (i32.const 604)) (i32.const 5)) (then unreachable)) {after_refusal}))
           (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
    );
    guest().pages(8).data(4116, little_endian(&[100_000])).with_many(&body)
}

fn one_mebibyte() -> Limits {
    Limits { store_bytes: 1 << 20, ..Limits::default() }
}

#[test]
fn a_plugin_that_gives_up_over_a_full_store_fails_with_that_name() {
    let gives_up = "(call $drop (local.get $batch)) (return (call $fail (i32.const 4096) (i32.const 1)))";
    for end in [gives_up, "unreachable"] {
        let mut instance = prepared(&sandbox(), flood(end), one_mebibyte()).instantiate().unwrap();
        let error = call(&mut instance, 3).unwrap_err();
        assert_eq!(error.kind, FailureKind::Store, "{error}");
        assert!(call(&mut instance, 1).is_ok());
    }
}

#[test]
fn a_plugin_that_goes_on_with_a_full_store_is_counted() {
    let mut instance = prepared(&sandbox(), flood(""), one_mebibyte()).instantiate().unwrap();
    let (_, effects) = call(&mut instance, 3).unwrap();
    assert_eq!(effects.store.full_calls(), 1);
    let (_, effects) = call(&mut instance, 1).unwrap();
    assert_eq!(effects.store.full_calls(), 0);
}

#[test]
fn the_limit_of_the_store_is_that_of_the_version_that_serves() {
    let sandbox = sandbox();
    let old = prepared(&sandbox, flood(""), one_mebibyte());
    let new = prepared(&sandbox, flood(""), Limits { store_bytes: 4 << 20, ..Limits::default() });
    let full_calls = || call(&mut old.instantiate().unwrap(), 3).unwrap().1.store.full_calls();
    assert_eq!(full_calls(), 1, "one that is only prepared changes nothing");
    new.serves();
    assert_eq!(full_calls(), 0);
}

#[test]
fn what_a_call_writes_counts_as_its_output() {
    let limits = Limits { output_bytes: 1 << 20, ..Limits::default() };
    let mut instance = prepared(&sandbox(), flood("unreachable"), limits).instantiate().unwrap();
    assert_eq!(call(&mut instance, 3).unwrap_err().kind, FailureKind::Output);
}

#[test]
fn many_keys_are_left_when_the_time_is_over() {
    // 65,536 keys of 4 bytes, their ends before them, and an int.
    let fill = "(local $i i32) (i32.store8 (i32.const 4200) (i32.const 3))
        (loop $more
          (i32.store (i32.add (i32.const 0x60000) (i32.shl (local.get $i) (i32.const 2))) (local.get $i))
          (i32.store (i32.add (i32.const 0x20000) (i32.shl (local.get $i) (i32.const 2)))
            (i32.shl (i32.add (local.get $i) (i32.const 1)) (i32.const 2)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $i) (i32.const 65536))))
        (i32.const 2048)";
    let set = "(call $set (i32.const 0x20000) (i32.const 65536) (i32.const 0x60000) (i32.const 0x40000)
        (i32.const 4200) (i32.const 1) (i32.const 4208) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i64.const 0) (i32.const 600))
        (if (i32.load8_u (i32.const 600)) (then unreachable))";
    let [whole, ended] = [Duration::from_secs(10), Duration::from_millis(1)].map(|timeout| {
        let guest = guest().pages(12).configure(fill).with_many(set);
        let limits = Limits { timeout, ..Limits::default() };
        let mut instance = prepared(&sandbox(), guest, limits).instantiate().unwrap();
        let before = cpu_time();
        let result = call(&mut instance, 3).map(|_| ()).map_err(|error| error.kind);
        (result, cpu_time().saturating_sub(before))
    });
    assert_eq!((whole.0, ended.0), (Ok(()), Err(FailureKind::Timeout)));
    assert!(ended.1 * 2 < whole.1, "{:?} of {:?}", ended.1, whole.1);
}

#[test]
fn lengths_that_lie_are_refused() {
    // Ends beyond the bytes: refusal 4 for every function. The last takes its arguments from memory.
    let lies = "(i32.store (i32.const 4100) (i32.const 9))
        (call $tell (f64.convert_i32_u (call $count))) (call $tell (f64.convert_i32_u (call $token)))
        (call $get (i32.const 4100) (i32.const 1) (i32.const 4096) (i32.const 1) (i32.const 600))
        (call $tell (f64.convert_i32_u (call $answer (i32.const 0))))
        (call $remove (i32.const 4100) (i32.const 1) (i32.const 4096) (i32.const 1) (i32.const 600))
        (call $tell (f64.convert_i32_u (call $answer (i32.const 0))))
        (i32.store (i32.const 5000) (i32.const 4100)) (i32.store (i32.const 5004) (i32.const 1))
        (i32.store (i32.const 5008) (i32.const 4096)) (i32.store (i32.const 5012) (i32.const 1))
        (call $swap (i32.const 5000) (i32.const 600))
        (call $tell (f64.convert_i32_u (call $answer (i32.const 0))))";
    let mut instance = prepare(guest().process(lies)).instantiate().unwrap();
    assert_eq!(call(&mut instance, 1).unwrap().0, [104; 5]);
}

#[test]
fn nothing_answers_while_the_plugin_is_set_up() {
    // 6 is not possible here.
    let counts = "(if (i32.ne (call $count) (i32.const 106)) (then unreachable))";
    let prepared = prepare(guest().before_describe(counts));
    assert!(prepared.instantiate().is_ok());
}
