//! Guests that trap, loop, eat memory or lie in `process`: each costs one call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{hint, thread};

use sluice_sandbox::{Effects, FailureKind, Limits};

use crate::guest::{Guest, little_endian, logs_in_one_stretch};
use crate::stage::{batch, breaks, fails, instance, load_bytes, prepare_with, sandbox, settings};

#[test]
fn a_trap_costs_one_call_and_names_the_guests_functions() {
    let guest =
        Guest::new().with_many("(call $inner)").module("(func $inner (call $innermost)) (func $innermost unreachable)");
    let error = breaks(guest, FailureKind::Trap);
    assert!(error.message.contains("unreachable"), "{error}");
    assert_eq!(error.backtrace.unwrap(), "innermost < inner < process");
}

#[test]
fn the_last_error_line_of_a_panic_is_in_the_failure() {
    let guest = Guest::new()
        .capabilities(&["log"])
        .data(4096, "index out of bounds")
        .with_many("(call $log (i32.const 1) (i32.const 4096) (i32.const 19)) unreachable");
    let error = breaks(guest, FailureKind::Trap);
    assert!(error.message.ends_with("the plugin said: index out of bounds"), "{error}");
}

/// The bound of what is kept of a text that a guest has written, and of the note that it was cut.
const TOLD: usize = 5_000;

#[test]
fn what_a_guest_says_of_its_failure_is_cut() {
    // 16 MiB of the letter Z, and 2 bytes before it of one that is cut.
    let guest = Guest::new().pages(320).data(0x20000, "ü").whole_process(
        "(call $drop (local.get $batch)) (memory.fill (i32.const 0x20002) (i32.const 90) (i32.const 0x1000000))
         (call $fail (i32.const 0x20000) (i32.const 0x1000002))",
    );
    let error = instance(guest).process(&mut batch(1), &mut Effects::default()).unwrap_err();
    assert!(error.message.starts_with("the plugin gave up: üZZZ"), "{error}");
    assert!(error.message.ends_with("Z… (cut, it has 16777218 bytes)"), "{error}");
    assert!(error.message.len() < TOLD, "{}", error.message.len());
}

#[test]
fn names_of_functions_are_cut() {
    let name = "x".repeat(100_000);
    let guest = Guest::new().with_many(&format!("(call ${name})")).module(&format!("(func ${name} unreachable)"));
    let backtrace = breaks(guest, FailureKind::Trap).backtrace.unwrap();
    assert_eq!(backtrace, format!("{}… < process", "x".repeat(200)));
}

#[test]
fn a_key_of_many_megabytes_is_not_repeated_to_who_asks_for_it() {
    // The guest could not take the answer: its memory is full but for a megabyte.
    let guest = Guest::new().access(&[], &[]).pages(320).with_many(
        "(global.set $heap (i32.const 0x1300000))
         (call $attribute (local.get $batch) (i32.const 2) (i32.const 0x20000) (i32.const 0x1000000) (i32.const 600))
         (if (i32.gt_u (i32.load (i32.const 612)) (i32.const 1000)) (then unreachable))",
    );
    instance(guest).process(&mut batch(3), &mut Effects::default()).unwrap();
}

#[test]
fn a_table_that_grows_without_end_is_over_a_limit_of_its_own() {
    let grow = "(loop $more (if (i32.eq (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1))
        (then unreachable)) (br $more))";
    let error = breaks(Guest::new().with_many(grow).module("(table $t 1 funcref)"), FailureKind::Memory);
    assert!(error.message.contains("more table elements than the 100,000 that a plugin may have"), "{error}");
}

#[test]
fn an_endless_loop_ends_at_the_time_limit() {
    let error = breaks(Guest::new().with_many("(loop $ever (br $ever))"), FailureKind::Timeout);
    assert_eq!(error.message, "the call used up its time");
}

/// What this thread has used. How long a call lasts is up to what else the machine does.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_limit_longer_than_the_clock_stays_awake_for_is_kept_too() {
    let limits = Limits { timeout: Duration::from_millis(400), ..Limits::default() };
    let guest = Guest::new().with_many("(loop $ever (br $ever))");
    let mut instance = prepare_with(guest, settings(limits)).unwrap().instantiate().unwrap();
    let (started, before) = (Instant::now(), cpu_time());
    fails(&mut instance, FailureKind::Timeout);
    assert!(started.elapsed() >= Duration::from_millis(400), "{:?}", started.elapsed());
    let used = cpu_time().saturating_sub(before);
    assert!(used < Duration::from_secs(5), "{used:?} of CPU time");
}

#[test]
fn a_call_can_be_given_less_time_but_never_more_than_the_limit() {
    let guest = || Guest::new().with_many("(loop $ever (br $ever))");
    let limited = |timeout| {
        let limits = Limits { timeout, ..Limits::default() };
        prepare_with(guest(), settings(limits)).unwrap().instantiate().unwrap()
    };
    let (short, long) = (Duration::from_millis(5), Duration::from_mins(1));
    for (limit, asked) in [(long, short), (short, long)] {
        let mut instance = limited(limit);
        instance.set_timeout(asked);
        let before = cpu_time();
        fails(&mut instance, FailureKind::Timeout);
        let used = cpu_time().saturating_sub(before);
        assert!(used < Duration::from_secs(20), "{used:?} of CPU time");
    }
}

#[test]
fn a_watched_call_ends_sooner_after_its_time() {
    const ROUNDS: u32 = 30;
    // So little time is spent when the clock first ticks. Unless a call is watched, its time counts from then on.
    let limits = Limits { timeout: Duration::from_micros(100), ..Limits::default() };
    let guest = Guest::new().with_many("(loop $ever (br $ever))");
    let mut instance = prepare_with(guest, settings(limits)).unwrap().instantiate().unwrap();
    let mut used = [Duration::ZERO; 2];
    // Side by side: what else the machine does meets both alike.
    for _ in 0..ROUNDS {
        for (closely, used) in [false, true].into_iter().zip(&mut used) {
            instance.revive().unwrap();
            instance.watch(closely);
            let before = cpu_time();
            let error = instance.process(&mut batch(3), &mut Effects::default()).unwrap_err();
            *used += cpu_time().saturating_sub(before);
            // Other tests may have the CPU.
            let kinds = [FailureKind::Timeout, FailureKind::Overdue];
            assert!(error.kind == kinds[0] || closely && error.kind == kinds[1], "{error}");
        }
    }
    // The clock ticks every millisecond then: up to one, and one more.
    let [usual, watched] = used.map(|used| used / ROUNDS);
    assert!(watched * 3 < usual * 2, "{watched:?} watched, {usual:?} otherwise");
}

#[test]
fn a_watched_call_ends_within_its_time() {
    let limits = Limits { timeout: Duration::from_millis(100), ..Limits::default() };
    let guest = Guest::new().with_many("(loop $ever (br $ever))");
    let mut instance = prepare_with(guest, settings(limits.clone())).unwrap().instantiate().unwrap();
    let mut used = |closely| {
        instance.revive().unwrap();
        instance.watch(closely);
        let before = cpu_time();
        let error = instance.process(&mut batch(3), &mut Effects::default()).unwrap_err();
        (error.kind == FailureKind::Timeout).then(|| cpu_time().saturating_sub(before))
    };
    // Others that have the CPU meanwhile say nothing of it.
    let mut timed_out = |closely| (0..600).find_map(|_| used(closely)).unwrap();
    assert!(timed_out(false) >= limits.timeout);
    // It has a little less; the rest is for the clock and for what else the machine does.
    assert!(timed_out(true) < limits.timeout);
}

/// Whether this thread gets more than half of a CPU for so long.
fn has_the_cpu(time: Duration) -> bool {
    let (before, began) = (cpu_time(), Instant::now());
    while began.elapsed() < time {
        hint::spin_loop();
    }
    cpu_time().saturating_sub(before) > time / 2
}

#[test]
fn a_watched_call_that_others_keep_from_the_cpu_is_overdue() {
    const LIMIT: Duration = Duration::from_millis(50);
    let limits = Limits { timeout: LIMIT, ..Limits::default() };
    let ever = "(loop $ever (br $ever))";
    let guest = Guest::new().with_many(ever).flush(&format!("{ever} unreachable"));
    let plugin = prepare_with(guest, settings(limits)).unwrap();
    let enough = AtomicBool::new(false);
    let kinds = thread::scope(|scope| {
        // So many that no CPU is long without one, however the system deals them.
        for _ in 0..3 * thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            });
        }
        let calls = scope.spawn(|| {
            let mut instance = plugin.instantiate().unwrap();
            // By `sched(7)`, this thread has one part in 69 of a CPU that it shares with one of those, or less.
            rustix::process::nice(19).unwrap();
            // Once each CPU has one of them, which the system may take its time for.
            while has_the_cpu(LIMIT) {}
            // Only `process` is watched: nobody else does what another call does not.
            instance.watch(true);
            instance.process(&mut batch(1), &mut Effects::default()).unwrap();
            let error = instance.flush(7, &mut Effects::default()).unwrap_err();
            assert_eq!(error.kind, FailureKind::Timeout, "{error}");
            [true, false].map(|closely| {
                instance.watch(closely);
                let before = cpu_time();
                let error = instance.process(&mut batch(3), &mut Effects::default()).unwrap_err();
                (error.kind, cpu_time().saturating_sub(before) < LIMIT)
            })
        });
        let kinds = calls.join();
        enough.store(true, Ordering::Relaxed);
        kinds.unwrap()
    });
    // For others ten times their time by the clock on the wall is a timeout.
    assert_eq!(kinds.map(|(kind, _)| kind), [FailureKind::Overdue, FailureKind::Timeout]);
    assert!(kinds[0].1, "it had its CPU time");
}

#[test]
fn an_instance_can_be_replaced_before_it_is_called() {
    let mut instance = instance(Guest::new().with_many("unreachable"));
    instance.process(&mut batch(3), &mut Effects::default()).unwrap_err();
    instance.revive().unwrap();
    instance.revive().unwrap();
    assert_eq!(instance.restarts(), 1, "once");
    instance.process(&mut batch(1), &mut Effects::default()).unwrap();
    assert_eq!(instance.restarts(), 1);
}

#[test]
fn an_endless_loop_of_host_calls_ends_too() {
    let limits = Limits { host_calls: u32::MAX, ..Limits::default() };
    let guest = Guest::new().with_many("(loop $ever (drop (call $spans (local.get $batch))) (br $ever))");
    fails(&mut prepare_with(guest, settings(limits)).unwrap().instantiate().unwrap(), FailureKind::Timeout);
}

#[test]
fn time_in_the_host_counts_where_nobody_looks_at_the_guest() {
    let sandbox = sandbox();
    let module = load_bytes(&sandbox, &logs_in_one_stretch(500)).unwrap();
    let mut instance = sandbox.prepare(&module, settings(Limits::default())).unwrap().instantiate().unwrap();
    fails(&mut instance, FailureKind::Timeout);
}

#[test]
fn rows_that_are_named_without_end_are_refused_before_anything_is_made_of_them() {
    // 2 million times row 0, and entry 0.
    let refused = "(if (i32.ne (i32.load (i32.const 604)) (i32.const 5)) (then unreachable))";
    let body = format!(
        "(call $remove_attribute (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const 1)
           (i32.const 0x20000) (i32.const 2000000) (i32.const 600)) {refused}
         (call $remove_entries (local.get $batch) (i32.const 2) (i32.const 0x20000) (i32.const 2000000) (i32.const 600))
         {refused}"
    );
    let guest = Guest::new().pages(200).data(4096, "k").with_many(&body);
    let mut instance = prepare_with(guest, settings(seconds())).unwrap().instantiate().unwrap();
    instance.process(&mut batch(3), &mut Effects::default()).unwrap();
}

#[test]
fn edits_that_add_nothing_to_the_output_count_for_what_they_take_until_then() {
    let edits = [
        "(call $drop_rows (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const 3) (i32.const 600))",
        "(call $remove_attribute (local.get $batch) (i32.const 2) (i32.const 4200) (i32.const 1) (i32.const 4096)
           (i32.const 3) (i32.const 600))",
        "(call $remove_entries (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const 3) (i32.const 600))",
    ];
    for edit in edits {
        let many = format!(
            "(local.set $n (i32.const 5000))
             (loop $more {edit} (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
        );
        let guest = Guest::new().data(4096, little_endian(&[2, 1, 0])).data(4200, "k").with_many(&many);
        let limits = Limits { output_bytes: 5_000 * 3 * 8, ..seconds() };
        fails(&mut prepare_with(guest, settings(limits)).unwrap().instantiate().unwrap(), FailureKind::Output);
    }
}

/// Time enough for a call that is not about time.
fn seconds() -> Limits {
    Limits { timeout: Duration::from_secs(5), ..Limits::default() }
}

/// Logs a MiB of nothing three times.
fn logs_megabytes() -> Guest {
    let log = "(call $log (i32.const 3) (i32.const 0x20000) (i32.const 0x100000))";
    Guest::new().capabilities(&["log"]).pages(20).with_many(&log.repeat(3))
}

#[test]
fn a_line_that_was_cut_takes_the_memory_of_what_is_left() {
    let mut instance = prepare_with(logs_megabytes(), settings(seconds())).unwrap().instantiate().unwrap();
    let mut effects = Effects::default();
    instance.process(&mut batch(3), &mut effects).unwrap();
    let sizes: Vec<_> = effects.logs.iter().map(|line| (line.message.len(), line.message.capacity())).collect();
    assert_eq!(sizes, [(1024, 1024); 3]);
}

#[test]
fn lines_count_as_what_a_request_keeps_until_it_has_passed() {
    let limits = Limits { output_bytes: 5_000, ..seconds() };
    let mut instance = prepare_with(logs_megabytes(), settings(limits)).unwrap().instantiate().unwrap();
    let mut effects = Effects::default();
    for kept in [3, 4, 4] {
        instance.process(&mut batch(3), &mut effects).unwrap();
        assert_eq!(effects.logs.len(), kept);
    }
    assert_eq!(effects.limited, [FailureKind::Log; 2], "they are dropped, and counted; no call fails for them");
}

#[test]
fn endless_recursion_is_a_trap() {
    breaks(
        Guest::new().with_many("(call $deeper)").module("(func $deeper (call $deeper) (call $deeper))"),
        FailureKind::Trap,
    );
}

#[test]
fn a_memory_bomb_ends_at_the_memory_limit() {
    let grow = "(loop $more (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br $more))";
    breaks(Guest::new().with_many(grow), FailureKind::Memory);
}

#[test]
fn a_guest_that_copes_with_being_refused_memory_is_no_failure() {
    let mut instance = instance(Guest::new().with_many("(drop (memory.grow (i32.const 10000)))"));
    instance.process(&mut batch(3), &mut Effects::default()).unwrap();
    assert_eq!((instance.restarts(), instance.memory_bytes()), (0, 2 << 16));
}

#[test]
fn memory_that_one_batch_needed_is_given_back_after_it() {
    // 30 of 32 MiB, of which it had 128 KiB at first.
    let mut instance = instance(Guest::new().with_many("(drop (memory.grow (i32.const 480)))"));
    instance.process(&mut batch(3), &mut Effects::default()).unwrap();
    instance.process(&mut batch(1), &mut Effects::default()).unwrap();
    assert_eq!((instance.restarts(), instance.memory_bytes()), (1, 2 << 16));
}

#[test]
fn a_batch_that_is_not_given_back_is_a_trap() {
    let guest = Guest::new().whole_process(
        "(if (i32.eq (call $spans (local.get $batch)) (i32.const 1)) (then (call $drop (local.get $batch)))) (call $ok)",
    );
    let error = breaks(guest, FailureKind::Trap);
    assert!(error.message.contains("borrow"), "{error}");
}

#[test]
fn edits_before_a_batch_is_kept_back_vanish() {
    let guest = Guest::new().data(4096, little_endian(&[1])).whole_process(
        "(call $drop_rows (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const 1) (i32.const 600))
         (if (i32.eq (call $spans (local.get $batch)) (i32.const 1)) (then (call $drop (local.get $batch)))) (call $ok)",
    );
    breaks(guest, FailureKind::Trap);
}

#[test]
fn a_forged_handle_is_a_trap() {
    let forged = "(call $len (i32.const 77) (i32.const 2) (i32.const 600))";
    let error = breaks(Guest::new().with_many(forged), FailureKind::Trap);
    assert!(error.message.contains("handle"), "{error}");
}

#[test]
fn a_batch_kept_after_its_call_is_nobodys() {
    // In the next `process` its number is that of the batch lent then. In `flush` none is lent.
    let keeps = "(global.set $kept (local.get $batch)) (call $drop (local.get $batch)) (call $ok)";
    let asks = "(if (global.get $kept) (then (drop (call $spans (global.get $kept))))) (call $ok)";
    let guest = Guest::new().module("(global $kept (mut i32) (i32.const 0))").whole_process(keeps).flush(asks);
    let (mut instance, mut effects) = (instance(guest), Effects::default());
    instance.flush(7, &mut effects).unwrap();
    instance.process(&mut batch(3), &mut effects).unwrap();
    let error = instance.flush(7, &mut effects).unwrap_err();
    assert_eq!(error.kind, FailureKind::Trap, "{error}");
    assert!(error.message.contains("handle"), "{error}");
    instance.process(&mut batch(3), &mut effects).unwrap();
    assert_eq!(instance.restarts(), 1, "by a fresh instance");
}

#[test]
fn a_batch_given_back_twice_is_a_trap() {
    breaks(Guest::new().with_many("(call $drop (local.get $batch))"), FailureKind::Trap);
}

#[test]
fn more_host_calls_than_the_limit_fail_the_call_even_if_it_returns_ok() {
    let calls = "(local.set $n (i32.const 10001))
         (loop $more (drop (call $spans (local.get $batch)))
           (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
    let limits = Limits { timeout: Duration::from_secs(1), ..Limits::default() };
    let mut instance = prepare_with(Guest::new().with_many(calls), settings(limits)).unwrap().instantiate().unwrap();
    fails(&mut instance, FailureKind::HostCalls);
}

/// Sets the names of rows 0 to 2 to the 1,000 bytes at 8192.
const LONG_NAMES: &str = "(call $set_texts (local.get $batch) (i32.const 2) (i32.const 5)
    (i32.const 4096) (i32.const 3) (i32.const 4112) (i32.const 1) (i32.const 8192) (i32.const 1000) (i32.const 600))";

fn renamer() -> Guest {
    Guest::new().data(4096, little_endian(&[0, 1, 2])).data(4112, little_endian(&[1000])).data(8192, [b'x'; 1000])
}

#[test]
fn more_output_than_the_limit_fails_the_call_even_if_it_returns_ok() {
    // One text for three rows counts three times.
    let limits = Limits { output_bytes: 2500, ..Limits::default() };
    let mut instance = prepare_with(renamer().with_many(LONG_NAMES), settings(limits)).unwrap().instantiate().unwrap();
    fails(&mut instance, FailureKind::Output);
}

#[test]
fn output_within_the_limit_is_taken() {
    let mut batch = batch(3);
    let processed = instance(renamer().with_many(LONG_NAMES)).process(&mut batch, &mut Effects::default()).unwrap();
    assert_eq!((processed.dropped, processed.edited), (0, 3));
    assert_eq!(crate::stage::names(&mut batch), vec!["x".repeat(1000); 3]);
}

#[test]
fn lists_that_reach_out_of_memory_are_a_trap() {
    for (at, items) in [(4096, u32::MAX), (u32::MAX, 1), (4097, 1), (0, 0x4000_0001)] {
        let rows = format!(
            "(call $drop_rows (local.get $batch) (i32.const 2) (i32.const {at}) (i32.const {items}) (i32.const 600))"
        );
        breaks(Guest::new().with_many(&rows), FailureKind::Trap);
    }
}

#[test]
fn an_answer_that_is_to_be_put_out_of_memory_is_a_trap() {
    for at in [u32::MAX - 3, 601, 2 << 16] {
        breaks(
            Guest::new().with_many(&format!("(call $len (local.get $batch) (i32.const 2) (i32.const {at}))")),
            FailureKind::Trap,
        );
    }
}

#[test]
fn a_result_out_of_memory_is_a_trap() {
    let guest = Guest::new().whole_process(
        "(if (i32.eq (call $spans (local.get $batch)) (i32.const 1)) (then (call $drop (local.get $batch)) (return (call $ok))))
         (call $drop (local.get $batch)) (i32.const -4)",
    );
    breaks(guest, FailureKind::Trap);
}

#[test]
fn handing_over_more_than_the_limit_at_once_is_output() {
    // 17.25 MiB of row numbers, all of them the zeros of a memory of 20 MiB.
    let rows =
        "(call $drop_rows (local.get $batch) (i32.const 2) (i32.const 65536) (i32.const 0x450000) (i32.const 600))";
    let error = breaks(Guest::new().pages(320).with_many(rows), FailureKind::Output);
    assert!(error.message.contains("larger than the limit"), "{error}");
}

#[test]
fn an_allocator_that_lies_is_a_trap() {
    // The host writes what a column call answers where `cabi_realloc` says.
    let guest = Guest::new().with_many(
        "(global.set $heap (i32.const 0x7ffffff0))
         (call $numbers (local.get $batch) (i32.const 2) (i32.const 7) (i32.const 600))",
    );
    breaks(guest, FailureKind::Trap);
}

#[test]
fn a_snapshot_out_of_memory_is_a_trap() {
    let body = "(i32.store8 (i32.const 512) (i32.const 0)) (i32.store (i32.const 516) (i32.const 4096))
        (i32.store (i32.const 520) (i32.const -1)) (i32.const 512)";
    let mut instance = instance(Guest::new().snapshot(body));
    assert_eq!(instance.snapshot().unwrap_err().kind, FailureKind::Trap);
    assert!(instance.process(&mut batch(1), &mut Effects::default()).is_ok());
}
