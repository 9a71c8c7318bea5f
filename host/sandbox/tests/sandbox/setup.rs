//! Guests that fail before their first batch, and effects.

use sluice_sandbox::{Effects, FailureKind, Limits, LogLevel, MetricKind, PrepareError, Settings};

use crate::guest::{Guest, little_endian};
use crate::stage::{batch, instance, prepare, prepare_with, settings};

fn set_up_fails(guest: Guest, kind: FailureKind) {
    match prepare(guest) {
        Err(PrepareError::Call(error)) => assert_eq!(error.kind, kind, "{error}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was prepared"),
    }
}

#[test]
fn a_trap_in_describe_is_a_typed_error() {
    set_up_fails(Guest::new().before_describe("unreachable"), FailureKind::Trap);
}

#[test]
fn an_endless_describe_ends() {
    set_up_fails(Guest::new().before_describe("(loop $ever (br $ever))"), FailureKind::Timeout);
}

#[test]
fn an_endless_start_function_ends() {
    set_up_fails(Guest::new().start("(loop $ever (br $ever))"), FailureKind::Timeout);
}

#[test]
fn a_memory_that_is_too_large_from_the_start_is_refused() {
    set_up_fails(Guest::new().pages(513), FailureKind::Memory);
}

#[test]
fn several_memories_count_as_one() {
    // 31.9 MiB each; the limit is 32 MiB for all.
    set_up_fails(Guest::new().pages(510).module("(memory 510)"), FailureKind::Memory);
}

#[test]
fn a_table_without_end_is_refused() {
    set_up_fails(Guest::new().module("(table 200000 funcref)"), FailureKind::Memory);
}

#[test]
fn the_errors_of_a_configuration_come_with_their_paths() {
    // The result's error case: a list of one record of two texts.
    let guest = Guest::new()
        .data(4096, little_endian(&[1, 4200, 1]))
        .data(4200, little_endian(&[4300, 14, 4320, 7]))
        .data(4300, "actions[2].key")
        .data(4320, "missing");
    match prepare(guest.configure("(i32.const 4096)")) {
        Err(PrepareError::Configure(problems)) => {
            assert_eq!(problems.len(), 1);
            assert_eq!((problems[0].path.as_str(), problems[0].message.as_str()), ("actions[2].key", "missing"));
        }
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn the_errors_of_a_configuration_are_cut() {
    // 150 records that all point at the same 4,000 letters.
    let guest = Guest::new().data(4096, little_endian(&[1, 65536, 150])).data(8192, [b'x'; 4000]).configure(
        "(local $at i32) (local.set $at (i32.const 65536))
         (loop $fill
           (i32.store (local.get $at) (i32.const 8192)) (i32.store offset=4 (local.get $at) (i32.const 4000))
           (i32.store offset=8 (local.get $at) (i32.const 8192)) (i32.store offset=12 (local.get $at) (i32.const 1))
           (local.set $at (i32.add (local.get $at) (i32.const 16)))
           (br_if $fill (i32.lt_u (local.get $at) (i32.const 67936))))
         (i32.const 4096)",
    );
    let Err(PrepareError::Configure(problems)) = prepare(guest) else { panic!("it was prepared") };
    assert_eq!((problems.len(), problems[100].message.as_str()), (101, "and 50 problems more"));
    let path = &problems[0].path;
    assert!(path.ends_with("x… (cut, it has 4000 bytes)") && path.len() < 1_100, "{path}");
    assert_eq!(problems[0].message, "x");
}

/// Has its description say this much at the field with this number: 0 name, 2 version, 4 capabilities, 6 grants to read.
fn describes(field: u32, at: u32, items: u32) -> Guest {
    let field = 1024 + 4 * field;
    Guest::new().pages(320).before_describe(&format!(
        "(memory.fill (i32.const 0x20000) (i32.const 65) (i32.const 0x1000000))
         (i32.store (i32.const {field}) (i32.const {at})) (i32.store offset=4 (i32.const {field}) (i32.const {items}))"
    ))
}

#[test]
fn what_a_plugin_says_of_itself_is_bounded_and_steers_no_terminal() {
    let refused = |guest| match prepare(guest) {
        Err(PrepareError::Description(bad)) => bad.to_string(),
        other => panic!("{:?}", other.err()),
    };
    let letters = 0x20000;
    for (field, what) in [(0, "name"), (2, "version")] {
        let told = format!("the plugin describes itself with a {what} of 8388608 bytes; 100 are the most");
        assert_eq!(refused(describes(field, letters, 8 << 20)), told);
        assert_eq!(refused(describes(field, letters, 0)), format!("the plugin describes itself without a {what}"));
        let steers = describes(field, 5000, 6).data(5000, "1\n\x1b[8m");
        let told =
            format!("the plugin describes itself with the {what} \"1\\n\\u{{1b}}[8m\", which has control characters");
        assert_eq!(refused(steers), told);
        assert!(prepare(describes(field, letters, 100)).is_ok());
    }
    // Lists of so many texts without a letter.
    assert_eq!(refused(describes(4, 0x0110_0000, 33)), "the plugin names 33 capabilities; 32 are the most");
    assert_eq!(refused(describes(6, 0x0110_0000, 4097)), "the plugin names 4097 grants to read; 4096 are the most");
    let long = describes(6, 5000, 1).data(5000, little_endian(&[letters, 1025]));
    assert_eq!(refused(long), "the plugin describes itself with a grant of 1025 bytes; 1024 are the most");
}

#[test]
fn more_configuration_errors_than_fit_are_not_taken_in() {
    // 65,535 records that all point at the same 16 MiB.
    let guest = Guest::new().pages(320).data(4096, little_endian(&[1, 65536, 65535])).configure(
        "(local $at i32) (local.set $at (i32.const 65536))
         (loop $fill
           (i32.store (local.get $at) (i32.const 2097152)) (i32.store offset=4 (local.get $at) (i32.const 0x1000000))
           (i32.store offset=8 (local.get $at) (i32.const 2097152)) (i32.store offset=12 (local.get $at) (i32.const 0))
           (local.set $at (i32.add (local.get $at) (i32.const 16)))
           (br_if $fill (i32.lt_u (local.get $at) (i32.const 1114096))))
         (i32.const 4096)",
    );
    set_up_fails(guest, FailureKind::Output);
}

#[test]
fn a_capability_must_be_declared_known_and_allowed() {
    let logs = || Guest::new().process("(call $log (i32.const 3) (i32.const 4096) (i32.const 0))");
    let capability = |result: Result<_, PrepareError>| match result {
        Err(PrepareError::Capability(name, why)) => format!("{name} {why}"),
        other => panic!("{:?}", other.map(|_: sluice_sandbox::Prepared| ()).err()),
    };
    assert_eq!(capability(prepare(logs())), "log it imports but does not declare");
    assert_eq!(
        capability(prepare(Guest::new().capabilities(&["network"]))),
        "network this version of Sluice does not have"
    );
    let none = Settings { capabilities: Some(Vec::new()), ..settings(Limits::default()) };
    assert_eq!(capability(prepare_with(logs().capabilities(&["log"]), none)), "log `capabilities` does not allow");
}

#[test]
fn metrics_are_refused_while_the_plugin_is_set_up() {
    // Traps unless the answer at 600 is refusal 6, not possible here.
    let define = "(call $define (i32.const 1) (i32.const 4096) (i32.const 1) (i32.const 4096) (i32.const 0)
        (i32.const 4096) (i32.const 0) (i32.const 4096) (i32.const 0) (i32.const 600))
        (if (i32.ne (i32.load (i32.const 604)) (i32.const 6)) (then unreachable))";
    prepare(Guest::new().capabilities(&["metrics"]).data(4096, "n").before_describe(define)).unwrap();
}

#[test]
fn log_lines_are_staged_cut_and_limited() {
    let guest = Guest::new().capabilities(&["log"]).process(
        "(local.set $n (i32.const 200))
         (loop $more (call $log (i32.const 2) (i32.const 65536) (i32.const 2000))
           (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
    );
    let mut effects = Effects::default();
    // Of lines alone, all 200 would fit.
    let limits = Limits { log_lines_per_s: u32::MAX, ..Limits::default() };
    let mut instance = prepare_with(guest, settings(limits)).unwrap().instantiate().unwrap();
    instance.process(&mut batch(1), &mut effects).unwrap();
    assert!(effects.logs.iter().all(|line| line.level == LogLevel::Warn && line.message.len() == 1024));
    // 64 KiB a second. A call takes less, but another second may begin meanwhile.
    assert!((64..=128).contains(&effects.logs.len()), "{}", effects.logs.len());
    assert_eq!(effects.limited, [FailureKind::Log], "once a call");
}

#[test]
fn instances_and_those_that_replace_them_log_as_one() {
    // 30 of 32 MiB: it is replaced after every call.
    let guest = Guest::new().capabilities(&["log"]).process(
        "(drop (memory.grow (i32.const 480))) (local.set $n (i32.const 60))
         (loop $more (call $log (i32.const 2) (i32.const 65536) (i32.const 10))
           (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))",
    );
    let began = std::time::Instant::now();
    let prepared = prepare(guest).unwrap();
    let mut instances = [(); 2].map(|()| prepared.instantiate().unwrap());
    let mut effects = Effects::default();
    for call in 0..8 {
        instances[call % 2].process(&mut batch(1), &mut effects).unwrap();
    }
    assert!(instances[0].restarts() >= 3, "it was replaced");
    let seconds = began.elapsed().as_secs() as usize;
    assert!((100..=100 * (seconds + 1)).contains(&effects.logs.len()), "{} in {seconds} s", effects.logs.len());
}

/// Defines the counter `waybills{depot}` and adds 1.5 under the label value at 4200.
const COUNT: &str = "(call $define (i32.const 1) (i32.const 4096) (i32.const 8) (i32.const 4096) (i32.const 4)
      (i32.const 4120) (i32.const 1) (i32.const 4130) (i32.const 5) (i32.const 600))
    (call $record (i32.load (i32.const 604)) (i32.const 4124) (i32.const 1) (i32.const 4200) (i32.const 1) (f64.const 1.5) (i32.const 620))";

fn counter() -> Guest {
    Guest::new()
        .capabilities(&["metrics"])
        .data(4096, "waybills")
        .data(4120, little_endian(&[5]))
        .data(4124, little_endian(&[1]))
        .data(4130, "depot")
        .data(4200, "a")
}

#[test]
fn updates_of_metrics_are_staged() {
    let mut effects = Effects::default();
    instance(counter().process(COUNT)).process(&mut batch(1), &mut effects).unwrap();
    let update = &effects.metrics[0];
    let metric = &update.metric;
    assert_eq!((metric.kind, metric.name.as_str(), metric.help.as_str()), (MetricKind::Counter, "waybills", "wayb"));
    assert_eq!(
        (&metric.labels[..], update.labels.iter().collect::<Vec<_>>(), update.value),
        (&["depot".to_owned()][..], vec!["a"], 1.5)
    );
}

#[test]
fn a_plugin_that_gives_up_over_its_series_fails_with_that_name() {
    let limits = Limits { metric_series: 0, ..Limits::default() };
    for end in ["(call $drop (local.get $batch)) (return (call $fail (i32.const 4096) (i32.const 1)))", ""] {
        let guest = counter().with_many(&format!("{COUNT} {end}"));
        let mut instance = prepare_with(guest, settings(limits.clone())).unwrap().instantiate().unwrap();
        let mut effects = Effects::default();
        let result = instance.process(&mut batch(3), &mut effects);
        if end.is_empty() {
            assert_eq!((result.is_ok(), effects.limited.as_slice()), (true, &[FailureKind::Metrics][..]));
        } else {
            assert_eq!(result.unwrap_err().kind, FailureKind::Metrics);
            assert!(effects.limited.is_empty(), "a call that failed is counted as such");
        }
    }
}

#[test]
fn what_a_request_stages_is_bounded_over_all_its_calls() {
    // Each call counts under another label value.
    let next = "(i32.store8 (i32.const 4200) (i32.add (i32.load8_u (i32.const 4200)) (i32.const 1)))";
    let prepare = |process: &str| {
        let limits = Limits { output_bytes: 2_000, ..Limits::default() };
        prepare_with(counter().process(process), settings(limits)).unwrap().instantiate().unwrap()
    };
    let (mut others, mut effects) = (prepare(&format!("{COUNT} {next}")), Effects::default());
    let calls = (0..100).take_while(|_| others.process(&mut batch(1), &mut effects).is_ok()).count();
    assert!((10..=30).contains(&calls), "{calls} series of some hundred bytes each");
    assert_eq!(effects.metrics.len(), calls, "what it had staged before is there");
    let error = others.process(&mut batch(1), &mut effects).unwrap_err();
    assert_eq!(error.kind, FailureKind::Output, "{error}");
    assert!(others.process(&mut batch(1), &mut Effects::default()).is_ok(), "another request has its own");
    let (mut same, mut effects) = (prepare(COUNT), Effects::default());
    for _ in 0..100 {
        same.process(&mut batch(1), &mut effects).unwrap();
    }
    assert_eq!(effects.metrics.iter().map(|update| update.value).collect::<Vec<_>>(), [150.0], "one series is one");
}

#[test]
fn series_over_the_limit_are_refused_and_known_ones_go_on() {
    // Counts under another label value in every call; 5 is the refusal's code.
    let next = "(i32.store8 (i32.const 4200) (i32.add (i32.load8_u (i32.const 4200)) (i32.const 1)))";
    let guest = counter().process(&format!("{COUNT} {next}"));
    let limits = Limits { metric_series: 2, ..Limits::default() };
    let mut instance = prepare_with(guest, settings(limits)).unwrap().instantiate().unwrap();
    let mut effects = Effects::default();
    for _ in 0..5 {
        instance.process(&mut batch(1), &mut effects).unwrap();
    }
    let values: Vec<_> = effects.metrics.iter().map(|update| update.labels.get(0)).collect();
    assert_eq!(values, ["a", "b"]);
    assert_eq!(effects.limited, [FailureKind::Metrics; 3], "the calls that went on without");
}
