//! WASI is there for those who insist on it, if the operator allows it, and gives nothing away.

use std::io::Write;

use sluice_sandbox::{
    Effects, FailureKind, Instance, Limits, LoadError, Profile, Sandbox, Settings, Source, Trust, Verified,
};

use crate::guest::Guest;
use crate::stage::{batch, fails, sandbox, settings};
use crate::wasi::{COARSE_AND_RANDOM, FINDS_NOTHING, component};

fn verified(sandbox: &Sandbox, component: &[u8], profile: Profile) -> Result<Verified, LoadError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(component).unwrap();
    let trust = Trust { profile, ..Trust::default() };
    sandbox.verify(&Source::File(file.path().to_owned()), &Limits::default(), &trust)
}

fn instance(guest: Guest, settings: Settings) -> Instance {
    let sandbox = sandbox();
    let verified = verified(&sandbox, &component(guest), Profile::Compat).unwrap();
    let module = sandbox.compile(verified, &Limits::default()).unwrap();
    sandbox.prepare(&module, settings).unwrap().instantiate().unwrap()
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
