//! WASI is there for those who insist on it, if the operator allows it, and gives nothing away.

use std::io::Write;

use sluice_sandbox::{
    Effects, FailureKind, Instance, Limits, LoadError, Prepared, Profile, Sandbox, Settings, Source, Trust, Verified,
};

use crate::guest::Guest;
use crate::stage::{batch, fails, sandbox, settings};
use crate::wasi::{FINDS_NOTHING, LEARNS_NOTHING, component};

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
    let allowed =
        sandbox.compile(verified(&sandbox, &component, Profile::Compat).unwrap(), &Limits::default()).unwrap();
    let (imports, clock) = (allowed.imports(), "wasi:clocks/wall-clock@0.2.3".to_owned());
    assert!(imports.wasi.contains(&clock) && imports.wasi.iter().all(|name| name.starts_with("wasi:")), "{imports:?}");
    let other = wat::parse_str("(component (import \"other:clocks/clock@0.2.0\" (instance)))").unwrap();
    let refused = verified(&sandbox, &other, Profile::Compat).err().unwrap().to_string();
    assert!(refused.contains("it imports `other:clocks/clock@0.2.0`"), "only WASI: {refused}");
}

#[test]
fn there_is_nothing_behind_it() {
    let all = format!("{FINDS_NOTHING} {LEARNS_NOTHING}");
    let guest = Guest::new().data(4096, "a secret").before_describe(FINDS_NOTHING).process(&all);
    let mut instance = instance(guest, default());
    let mut effects = Effects::default();
    instance.process(&mut batch(3), &mut effects).unwrap();
    assert!(effects.logs.is_empty());
    assert_eq!(instance.restarts(), 0);
}

/// What differed would tell of the world: of the time, or of what other instances have done.
#[test]
fn every_instance_is_told_the_same_whenever_it_asks() {
    // The first outputs of the published generator for the seed 1234567, the first of them while it is configured.
    let first = "(if (i64.ne (call $random) (i64.const 6457827717110365317)) (then unreachable))";
    let second = "(if (i64.ne (call $random) (i64.const 3203168211198807973)) (then unreachable))";
    let clock = "(if (i64.ne (call $ticks) (i64.const 100000000)) (then unreachable))";
    let guest = Guest::new().configure(&format!("{first} (i32.const 2048)")).with_many(&format!("{second} {clock}"));
    let given = Settings { seed: Some(1), ..default() };
    let prepared = prepared(guest, given);
    for _ in 0..3 {
        prepared.instantiate().unwrap().process(&mut batch(3), &mut Effects::default()).unwrap();
        // The clocks of the machine show another time from now on.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
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
