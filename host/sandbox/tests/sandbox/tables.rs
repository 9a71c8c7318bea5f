//! Look-up tables, from a guest's side. How they are read is tested where they live.

use std::cell::Cell;
use std::sync::Arc;

use sluice_sandbox::{
    Access, Effects, Instance, InstantiateError, Limits, MetricUpdate, PrepareError, Prepared, Settings,
};
use sluice_state::{Format, LiveTable, NotItsFile, Table};

use crate::guest::{Guest, little_endian};
use crate::stage::{batch, prepare_opening, prepare_with, settings};

const LOOK_UP: &str = r#"(import "sluice:plugin/tables@0.1.0" "look-up"
    (func $look_up (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;

/// `$tell` tells the test a number, as a value of a histogram. `$ask` looks up the keys `x` and `z` in
/// column `a` of table `t`, and tells for each whether it is there, and then the first byte found; or
/// a refusal's code and 100.
const SUPPORT: &str = "(func $tell (param i32)
    (call $define (i32.const 3) (i32.const 4096) (i32.const 1) (i32.const 4096) (i32.const 0)
      (i32.const 4096) (i32.const 0) (i32.const 4096) (i32.const 0) (i32.const 900))
    (call $record (i32.load (i32.const 904)) (i32.const 4096) (i32.const 0) (i32.const 4096) (i32.const 0)
      (f64.convert_i32_u (local.get 0)) (i32.const 920)))
  (func $call
    (call $look_up (i32.const 4114) (i32.const 1) (i32.const 4112) (i32.const 1) (i32.const 4100) (i32.const 2)
      (i32.const 4120) (i32.const 2) (i32.const 600)))
  (func $ask
    (call $call)
    (if (i32.load8_u (i32.const 600))
      (then (call $tell (i32.add (i32.load (i32.const 604)) (i32.const 100))))
      (else
        (call $tell (i32.load8_u (i32.load (i32.const 604))))
        (call $tell (i32.load8_u offset=1 (i32.load (i32.const 604))))
        (call $tell (i32.load8_u (i32.load (i32.const 620)))))))";

fn guest() -> Guest {
    let guest = Guest::new().capabilities(&["metrics", "tables"]).imports(LOOK_UP).module(SUPPORT).data(4096, "n");
    guest.data(4100, little_endian(&[1, 2])).data(4112, "a").data(4114, "t").data(4120, "xz").process("(call $ask)")
}

fn table(csv: &str) -> Table {
    Table::read(Format::Csv, csv.as_bytes(), "id", 1 << 20).unwrap()
}

fn given(name: &str, live: &Arc<LiveTable>) -> Settings {
    Settings { tables: vec![(name.to_owned(), Arc::clone(live))], ..settings(Limits::default()) }
}

fn live(csv: &str) -> Arc<LiveTable> {
    Arc::new(LiveTable::new(table(csv)))
}

fn told(instance: &mut Instance) -> Vec<u32> {
    let mut effects = Effects::default();
    instance.process(&mut batch(1), &mut effects).unwrap();
    effects.metrics.iter().flat_map(MetricUpdate::values).map(|value| value as u32).collect()
}

fn tells(prepared: Result<Prepared, PrepareError>) -> Vec<u32> {
    told(&mut prepared.unwrap().instantiate().unwrap())
}

#[test]
fn every_instance_finds_what_is_in_the_table_now() {
    let live = live("id,a\nx,M\n");
    let prepared = prepare_with(guest(), given("t", &live)).unwrap();
    let mut instances = [prepared.instantiate().unwrap(), prepared.instantiate().unwrap()];
    for instance in &mut instances {
        assert_eq!(told(instance), [1, 0, u32::from(b'M')]);
    }
    live.replace(table("id,a\nz,N\n")).unwrap();
    for instance in &mut instances {
        assert_eq!(told(instance), [0, 1, u32::from(b'N')]);
    }
}

#[test]
fn a_table_that_is_not_there_and_one_that_is_not_granted_are_denied_alike() {
    let live = live("id,a\nx,M\n");
    let grants = |read: &[&str]| {
        let read = read.iter().map(ToString::to_string).collect();
        Settings { access: Some(Access { read, write: Vec::new() }), ..given("t", &live) }
    };
    assert_eq!(tells(prepare_with(guest(), given("other", &live))), [101]);
    assert_eq!(tells(prepare_with(guest(), grants(&["spans.*", "tables:other"]))), [101]);
    assert_eq!(tells(prepare_with(guest().access(&["tables:s*"], &[]), given("t", &live))), [101]);
    assert_eq!(tells(prepare_with(guest(), grants(&["tables:t"]))), [1, 0, u32::from(b'M')]);
    assert_eq!(tells(prepare_with(guest().access(&["tables:t"], &[]), given("t", &live))), [1, 0, u32::from(b'M')]);
}

#[test]
fn a_plugin_that_needs_a_table_which_nobody_gives_it_is_not_loaded() {
    let asks = || guest().access(&["tables:*"], &[]).asks(&["tables:t", "tables:maybe_*"], &[]);
    let error = prepare_with(asks(), given("other", &live("id\n"))).map(drop).unwrap_err();
    assert!(matches!(&error, PrepareError::Table(name) if name == "t"), "{error}");
    assert!(prepare_with(asks(), given("t", &live("id\n"))).is_ok());
}

#[test]
fn what_cannot_be_looked_up_is_refused() {
    assert_eq!(tells(prepare_with(guest(), given("t", &live("id,b\nx,M\n")))), [102], "no such column");
    let lies = "(i32.store (i32.const 4100) (i32.const 9)) (call $ask)";
    assert_eq!(tells(prepare_with(guest().process(lies), given("t", &live("id,a\nx,M\n")))), [104]);
}

#[test]
fn no_table_answers_while_the_plugin_is_set_up() {
    let asks = "(call $call) (if (i32.ne (i32.load (i32.const 604)) (i32.const 6)) (then unreachable))";
    assert!(prepare_with(guest().before_describe(asks), given("t", &live("id,a\nx,M\n"))).is_ok());
}

#[test]
fn the_operator_can_refuse_the_capability() {
    let none = Settings { capabilities: Some(vec!["metrics".to_owned()]), ..given("t", &live("id,a\nx,M\n")) };
    let error = prepare_with(guest(), none).map(drop).unwrap_err();
    assert!(matches!(&error, PrepareError::Capability(name, _) if name == "tables"), "{error}");
}

/// A configuration in which `x.csv` stands.
fn with_path() -> Settings {
    Settings { config_json: r#"{"files": ["x.csv"]}"#.to_owned(), ..settings(Limits::default()) }
}

#[test]
fn a_file_that_the_plugin_names_is_opened_once_and_read_without_more_words() {
    let guest = guest().access(&["spans.name"], &[]).names("t", "x.csv", 1, "id");
    let opened = Cell::new(0);
    let prepared = prepare_opening(guest, with_path(), &|file| {
        opened.set(opened.get() + 1);
        let named = &file.named;
        let said = (named.name.as_str(), named.path.as_str(), file.format, named.key.as_str(), file.place.as_str());
        assert_eq!(said, ("t", "x.csv", Format::Csv, "id", "files[0]"));
        Ok(live("id,a\nx,M\n"))
    });
    let prepared = prepared.unwrap();
    assert_eq!(prepared.granted().read, ["spans.name", "tables:t"]);
    assert_eq!(prepared.files().len(), 1);
    for _ in 0..2 {
        assert_eq!(told(&mut prepared.instantiate().unwrap()), [1, 0, u32::from(b'M')]);
    }
    assert_eq!(opened.get(), 1);
}

/// Cores must not differ in what they know. The first instance has described itself before, those that serve have not.
#[test]
fn an_instance_that_takes_its_configuration_otherwise_than_the_first_does_not_serve() {
    let table = live("id,a\nx,y\n");
    // In the layout of the result: no access and no files; and that it is refused, without a reason.
    for otherwise in [[0; 7], [1, 0, 0, 0, 0, 0, 0]] {
        let configure =
            "(if (result i32) (i32.load8_u (i32.const 700)) (then (i32.const 2048)) (else (i32.const 4200)))";
        let fickle = guest()
            .names("t", "x.csv", 1, "id")
            .before_describe("(i32.store8 (i32.const 700) (i32.const 1))")
            .configure(configure)
            .data(4200, little_endian(&otherwise));
        let prepared = prepare_opening(fickle, with_path(), &|_| Ok(Arc::clone(&table))).unwrap();
        let error = prepared.instantiate().map(drop).unwrap_err();
        assert!(matches!(error, InstantiateError::Fickle), "{error}");
    }
}

#[test]
fn the_operator_has_the_last_word_on_files_that_a_plugin_names() {
    let names = || guest().names("t", "x.csv", 1, "id");
    let table = live("id,a\nx,M\n");
    let given = Settings { config_json: with_path().config_json, ..given("t", &table) };
    let prepared = prepare_opening(names(), given, &|_| panic!("the operator gives this table"));
    assert_eq!(tells(prepared), [1, 0, u32::from(b'M')]);
    let access = Some(Access { read: vec!["spans.*".to_owned()], write: Vec::new() });
    let narrowed = prepare_opening(names(), Settings { access, ..with_path() }, &|_| Ok(Arc::clone(&table)));
    assert_eq!(tells(narrowed), [101]);
}

#[test]
fn a_file_that_the_configuration_does_not_name_is_not_opened() {
    let refused =
        |guest: Guest| prepare_opening(guest, with_path(), &|file| panic!("{file:?} is opened")).map(drop).unwrap_err();
    let error = refused(guest().names("t", "/etc/passwd", 1, "id"));
    assert!(
        matches!(&error, PrepareError::NotItsFile(NotItsFile::NotInConfiguration(path)) if path == "/etc/passwd"),
        "{error}"
    );
    // Nor is one that comes first.
    refused(guest().names("t", "x.csv", 1, "id").names("u", "/etc/passwd", 1, "id"));
    let undeclared = refused(Guest::new().names("t", "x.csv", 1, "id"));
    assert!(matches!(&undeclared, PrepareError::Capability(name, _) if name == "tables"), "{undeclared}");
}

#[test]
fn files_that_cannot_be_opened_are_told_of_with_their_places() {
    let guest = guest().names("t", "x.csv", 1, "id").names("u", "x.csv", 2, "id");
    let failed = prepare_opening(guest, with_path(), &|file| Err(format!("no {}", file.named.name)));
    match failed.map(drop) {
        Err(PrepareError::Files(problems)) => {
            let problems: Vec<_> = problems.iter().map(|one| (one.path.as_str(), one.message.as_str())).collect();
            assert_eq!(problems, [("files[0]", "no t"), ("files[0]", "no u")]);
        }
        other => panic!("{other:?}"),
    }
}
