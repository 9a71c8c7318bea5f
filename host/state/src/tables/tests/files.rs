//! Table files that change while they serve.

use std::fs;
use std::path::Path;

use super::super::{Format, NotLoaded, Spec, Tables};
use super::{found, some};

fn spec(folder: &Path) -> Spec {
    Spec { file: folder.join("t.csv"), format: Format::Csv, key: "id".to_owned(), most_bytes: 1000 }
}

/// Writes a file as editors do.
fn write(spec: &Spec, text: &str) {
    let aside = spec.file.with_extension("new");
    fs::write(&aside, text).unwrap();
    fs::rename(aside, &spec.file).unwrap();
}

/// Changes a file as it may change. `with` is a table with this value in the column `a` of the row `x`.
fn changes(spec: &Spec, with: impl Fn(&str) -> String, broken: &[&str]) {
    let tables = Tables::default();
    write(spec, &with("1"));
    let live = tables.open("wasm/p", "t", spec).unwrap();
    // What the next look at it does, and what serves then.
    let look = || {
        let mut all = tables.refresh();
        assert_eq!(all.len(), 1);
        let outcome = all.remove(0).outcome.map(|outcome| outcome.map_err(|error| error.to_string()));
        (outcome, found(&live.now(), "a", &["x"])[0].clone())
    };
    assert_eq!(look(), (None, some("1")));
    write(spec, &with("2"));
    assert_eq!(look(), (Some(Ok(())), some("2")));
    assert_eq!(look(), (None, some("2")));
    for broken in broken {
        write(spec, broken);
        let (outcome, now) = look();
        assert!(matches!(outcome, Some(Err(_))), "{broken:?}");
        assert_eq!((look(), now), ((None, some("2")), some("2")), "said once, and the table serves");
    }
    write(spec, &with(&"y".repeat(1000)));
    assert!(look().0.unwrap().unwrap_err().contains("1000 bytes"));
    fs::remove_file(&spec.file).unwrap();
    assert!(look().0.unwrap().unwrap_err().contains("cannot read"));
    assert_eq!(look(), (None, some("2")));
    write(spec, &with("3"));
    assert_eq!(look(), (Some(Ok(())), some("3")));
}

#[test]
fn a_file_is_loaded_again_when_it_has_changed_and_a_broken_one_keeps_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let broken = ["id,a\nx\n", "id\nx\n", "", "id,a\nx,1\nx,2\n"];
    changes(&spec(folder.path()), |value| format!("id,a\nx,{value}\n"), &broken);
}

#[test]
fn json_lines_are_loaded_again_as_csv_is() {
    let folder = tempfile::tempdir().unwrap();
    let spec = Spec { file: folder.path().join("t.jsonl"), format: Format::JsonLines, ..spec(folder.path()) };
    let row = |value: &str| format!("{{\"id\": \"x\", \"a\": \"{value}\"}}\n");
    let twice = row("1").repeat(2);
    let broken = ["{\"id\": \"x\", \"a\"\n", "{\"id\": \"x\"}\n", "", twice.as_str()];
    changes(&spec, row, &broken);
}

#[test]
fn a_table_is_loaded_once_for_who_asks_for_the_same_and_goes_with_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let (spec, tables) = (spec(folder.path()), Tables::default());
    write(&spec, "id,a\nx,1\n");
    let first = tables.open("wasm/p", "t", &spec).unwrap();
    // A file that would be loaded now is broken; what is loaded serves.
    write(&spec, "broken");
    let second = tables.open("wasm/p", "t", &spec).unwrap();
    assert_eq!(found(&second.now(), "a", &["x"]), [some("1")]);
    assert!(matches!(tables.open("wasm/other", "t", &spec), Err(NotLoaded::Bad { .. })));
    let other = Spec { key: "a".to_owned(), ..spec.clone() };
    assert!(tables.open("wasm/p", "t", &other).is_err());
    drop((first, second));
    assert!(tables.refresh().is_empty());
    assert!(tables.open("wasm/p", "t", &spec).is_err());
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let spec = Spec { file: folder.path().to_owned(), ..spec(folder.path()) };
    assert!(matches!(Tables::default().open("wasm/p", "t", &spec), Err(NotLoaded::Read { .. })));
}
