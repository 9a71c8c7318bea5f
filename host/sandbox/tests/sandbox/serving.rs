//! Guests that behave.

use sluice_sandbox::{Effects, Processed};
use sluice_spans::Batch;

use crate::guest::{Guest, little_endian};
use crate::stage::{batch, instance, names, prepare};

/// Drops row 1 of the spans.
const DROP_ONE: &str =
    "(call $drop_rows (local.get $batch) (i32.const 2) (i32.const 4096) (i32.const 1) (i32.const 600)) ";

#[test]
fn a_plugin_that_does_nothing_leaves_the_very_same_bytes() {
    let mut batch = batch(3);
    let before = batch.encode();
    let processed = instance(Guest::new()).process(&mut batch, &mut Effects::default()).unwrap();
    assert_eq!(processed, Processed::default());
    assert_eq!(batch.encode().as_ptr(), before.as_ptr());
}

#[test]
fn edits_of_a_call_that_went_well_are_in_the_batch() {
    let mut instance = instance(Guest::new().data(4096, little_endian(&[1])).with_many(DROP_ONE));
    let mut batch = batch(3);
    let processed = instance.process(&mut batch, &mut Effects::default()).unwrap();
    assert_eq!(processed, Processed { dropped: 1, edited: 0 });
    assert_eq!(names(&mut batch), ["span-0", "span-2"]);
    instance.process(&mut batch, &mut Effects::default()).unwrap();
    assert_eq!(names(&mut batch), ["span-0"], "rows are numbered anew in the next call");
    assert_eq!(instance.restarts(), 0);
}

#[test]
fn a_description_is_what_the_guest_said() {
    let guest = Guest::new().traits(1).capabilities(&["log"]).access(&["spans.name"], &["spans.drop"]);
    let prepared = prepare(guest.process("(call $log (i32.const 3) (i32.const 4096) (i32.const 0))")).unwrap();
    let description = prepared.description();
    assert_eq!((description.name.as_str(), description.version.as_str()), ("guest", "1.2.3"));
    assert_eq!((description.capabilities.as_slice(), description.schema), (["log".to_owned()].as_slice(), 7));
    assert!(description.redactor);
    assert_eq!(
        (prepared.access().read.as_slice(), prepared.access().write.as_slice()),
        (["spans.name".to_owned()].as_slice(), ["spans.drop".to_owned()].as_slice())
    );
    assert_eq!(prepared.digest().len(), 64);
}

#[test]
fn instances_are_independent_and_may_move_to_another_thread() {
    let prepared = prepare(Guest::new()).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| prepared.clone())
        .map(|prepared| {
            std::thread::spawn(move || prepared.instantiate().unwrap().process(&mut batch(2), &mut Effects::default()))
        })
        .collect();
    for thread in threads {
        assert!(thread.join().unwrap().is_ok());
    }
}

#[test]
fn an_empty_batch_is_served() {
    instance(Guest::new()).process(&mut Batch::default(), &mut Effects::default()).unwrap();
}

/// Run by the test below under `ulimit -v`; on its own it has nothing to prove.
#[test]
fn a_hundred_instances() {
    let prepared = prepare(Guest::new()).unwrap();
    let mut instances: Vec<_> = (0..100).map(|_| prepared.instantiate().unwrap()).collect();
    for instance in &mut instances {
        instance.process(&mut batch(2), &mut Effects::default()).unwrap();
    }
}

#[test]
fn instances_fit_into_a_limited_address_space() {
    // 4 GiB: what a single instance would set aside if nothing limited it.
    let script = "ulimit -v 4194304 && exec \"$0\" serving::a_hundred_instances --exact --test-threads=1";
    let output =
        std::process::Command::new("sh").arg("-c").arg(script).arg(std::env::current_exe().unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
