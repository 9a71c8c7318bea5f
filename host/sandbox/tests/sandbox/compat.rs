//! WASI is there for those who insist on it, if the operator allows it, and gives nothing away.

use std::io::Write;
use std::sync::Arc;

use sluice_sandbox::{
    Effects, FailureKind, Instance, InstantiateError, Limits, LoadError, Prepared, Profile, Sandbox, Settings, Source,
    Trust, Verified,
};
use sluice_state::{LiveTable, Table};

use crate::guest::{Guest, little_endian};
use crate::stage::{batch, fails, sandbox, settings};
use crate::wasi::{COARSE_AND_RANDOM, FINDS_NOTHING, component};

fn verified(sandbox: &Sandbox, component: &[u8], profile: Profile) -> Result<Verified, LoadError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(component).unwrap();
    let trust = Trust { profile, ..Trust::default() };
    sandbox.verify(&Source::File(file.path().to_owned()), &Limits::default(), &trust)
}

fn prepared(guest: Guest, settings: Settings) -> Prepared {
    let sandbox = sandbox();
    let verified = verified(&sandbox, &component(guest), Profile::Compat).unwrap();
    let module = sandbox.compile(verified, &Limits::default()).unwrap();
    sandbox.prepare(&module, settings).unwrap()
}

fn instance(guest: Guest, settings: Settings) -> Instance {
    prepared(guest, settings).instantiate().unwrap()
}

fn default() -> Settings {
    settings(Limits::default())
}

#[test]
fn wasi_is_refused_unless_the_operator_allows_it() {
    let (sandbox, component) = (sandbox(), component(Guest::new().process(FINDS_NOTHING)));
    let refused = verified(&sandbox, &component, Profile::Pure).err().unwrap().to_string();
    assert!(refused.contains("it imports `wasi:") && refused.contains("`profile: compat`"), "{refused}");
    assert!(verified(&sandbox, &component, Profile::Compat).is_ok());
    let other = wat::parse_str("(component (import \"other:clocks/clock@0.2.0\" (instance)))").unwrap();
    let refused = verified(&sandbox, &other, Profile::Compat).err().unwrap().to_string();
    assert!(refused.contains("it imports `other:clocks/clock@0.2.0`"), "only WASI: {refused}");
}

#[test]
fn there_is_nothing_behind_it() {
    let all = format!("{FINDS_NOTHING} {COARSE_AND_RANDOM}");
    let guest = Guest::new().data(4096, "a secret").before_describe(FINDS_NOTHING).process(&all);
    let mut instance = instance(guest, default());
    let mut effects = Effects::default();
    instance.process(&mut batch(3), &mut effects).unwrap();
    assert!(effects.logs.is_empty());
    assert_eq!(instance.restarts(), 0);
}

#[test]
fn random_numbers_follow_from_the_seed_if_there_is_one() {
    // The first output of the published generator for this seed.
    let first = "(if (i64.ne (call $random) (i64.const 6457827717110365317)) (then unreachable))";
    // What it takes while it is configured is not of the sequence.
    let guest = Guest::new().configure("(drop (call $random)) (i32.const 2048)").with_many(first);
    let seeded = Settings { seed: Some(1_234_567), ..default() };
    instance(guest, seeded).process(&mut batch(3), &mut Effects::default()).unwrap();
}

/// Cores must not differ in what they know.
#[test]
fn an_instance_that_names_another_file_than_the_first_does_not_serve() {
    // The result's ok case: two empty lists of access, and one file, whose key is made of random letters.
    let guest = || {
        Guest::new()
            .capabilities(&["tables"])
            .data(4200, little_endian(&[0, 0, 0, 0, 0, 4240, 1]))
            .data(4240, little_endian(&[4320, 1, 4321, 1, 1, 4300, 8]))
            .data(4300, "constant")
            .data(4320, "tx")
    };
    let given = || Settings {
        config_json: r#"{"path": "x"}"#.to_owned(),
        tables: vec![("t".to_owned(), Arc::new(LiveTable::new(Table::of_pairs([("a", "b")]).unwrap())))],
        ..default()
    };
    drop(instance(guest().configure("(drop (call $random)) (i32.const 4200)"), given()));
    let fickle =
        "(i64.store (i32.const 4300) (i64.and (call $random) (i64.const 0x7f7f7f7f7f7f7f7f))) (i32.const 4200)";
    let error = prepared(guest().configure(fickle), given()).instantiate().map(drop).unwrap_err();
    assert!(matches!(error, InstantiateError::OtherFiles), "{error}");
}

#[test]
fn leaving_is_a_trap_and_so_are_too_many_random_bytes() {
    for (body, reason) in [
        ("(call $exit (i32.const 0))", "the program left"),
        ("(call $random_bytes (i64.const 65537) (i32.const 600))", "at most 65536 bytes"),
        ("(call $random_bytes (i64.const -1) (i32.const 600))", "at most 65536 bytes"),
    ] {
        let error = fails(&mut instance(Guest::new().with_many(body), default()), FailureKind::Trap);
        assert!(error.message.contains(reason), "{error}");
    }
}

#[test]
fn its_calls_count_and_so_does_its_time() {
    let ever = "(loop $ever (drop (call $ticks)) (br $ever))";
    fails(&mut instance(Guest::new().with_many(ever), default()), FailureKind::HostCalls);
    let limits = Limits { host_calls: u32::MAX, ..Limits::default() };
    fails(&mut instance(Guest::new().with_many(ever), settings(limits)), FailureKind::Timeout);
}
