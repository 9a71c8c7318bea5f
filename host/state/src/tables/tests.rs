//! What look-up tables promise.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod files;
mod maxmind;
mod model;

use sluice_spans::{RefusalCode, Texts};

use super::{BadTable, Format, LiveTable, Table};

const MOST: usize = 1 << 20;

fn keys(keys: &[&str]) -> Texts {
    keys.iter().collect()
}

fn csv(text: &str) -> Result<Table, BadTable> {
    Table::read(Format::Csv, text.as_bytes(), "id", MOST)
}

fn json(text: &str) -> Result<Table, BadTable> {
    Table::read(Format::JsonLines, text.as_bytes(), "id", MOST)
}

/// What is found under each key, `None` for nothing.
fn found(table: &Table, column: &str, names: &[&str]) -> Vec<Option<String>> {
    let found = table.look_up(column, &keys(names), MOST).unwrap();
    assert_eq!((found.present.len(), found.values.len()), (names.len(), names.len()));
    let one = |i: usize| (found.present[i] == 1).then(|| String::from_utf8(found.values.get(i).to_vec()).unwrap());
    (0..names.len()).map(one).collect()
}

/// What [`found`] gives for a text.
#[expect(clippy::unnecessary_wraps, reason = "it stands beside `None`")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn a_csv_table_answers_for_many_keys() {
    let table = csv("id,city,note\nGVA,Geneva,\"lake, hills\"\r\nBRN,Bern,\nZRH,Zürich,x\n").unwrap();
    let cities = found(&table, "city", &["ZRH", "nowhere", "GVA", "ZRH"]);
    assert_eq!(cities, [some("Zürich"), None, some("Geneva"), some("Zürich")]);
    assert_eq!(found(&table, "note", &["GVA", "BRN"]), [some("lake, hills"), some("")]);
    assert_eq!(found(&table, "id", &["BRN", ""]), [some("BRN"), None]);
    assert_eq!(table.rows(), 3);
}

#[test]
fn a_table_of_json_lines_has_the_members_as_columns() {
    let table =
        json("{\"id\": \"a\", \"floor\": 3, \"open\": true}\n\n{\"id\": 7, \"tags\": [1, \"x\"], \"floor\": null}\n");
    let table = table.unwrap();
    assert_eq!(found(&table, "floor", &["a", "7"]), [some("3"), None]);
    assert_eq!(found(&table, "open", &["a", "7"]), [some("true"), None]);
    assert_eq!(found(&table, "tags", &["a", "7"]), [None, some("[1,\"x\"]")]);
}

#[test]
fn a_table_that_is_not_well_formed_says_where() {
    let said = |table: Result<Table, BadTable>| table.unwrap_err().to_string();
    assert_eq!(said(csv("name\nx\n")), "no column is called `id`, which is the `key`");
    assert_eq!(said(csv("")), "no column is called `id`, which is the `key`");
    assert_eq!(said(csv("id,a,a\n")), "two columns are called `a`");
    assert_eq!(said(csv("id\nx\ny\nx\n")), "the key `x` stands in rows 1 and 3");
    assert!(said(csv("id,a\nx,1\ny\n")).contains("line: 3"), "{}", said(csv("id,a\nx,1\ny\n")));
    let not_text = Table::read(Format::Csv, &b"id\n\xff\n"[..], "id", MOST);
    assert!(said(not_text).contains("UTF-8"));
    assert!(said(json("{\"id\": 1}\n[2]\n")).starts_with("line 2: "));
    assert!(said(json("{\"id\": 1}\n{\"id\":")).starts_with("line 2: "));
    assert_eq!(said(json("{\"id\": 1}\n{\"a\": 2}\n")), "row 2 has no `id`, which is the `key`");
    assert_eq!(said(json("{\"id\": 1}\n{\"id\": \"1\"}\n")), "the key `1` stands in rows 1 and 2");
    assert_eq!(said(json("\n")), "no column is called `id`, which is the `key`");
}

#[test]
fn a_table_over_its_limit_is_refused_before_it_is_there() {
    let rows: String = (0..1000).map(|row| format!("{row},\n")).collect::<Vec<_>>().concat();
    let text = format!("id,a\n{rows}");
    let read = |most| Table::read(Format::Csv, text.as_bytes(), "id", most);
    let needs = read(MOST).unwrap().bytes();
    assert!(read(needs).is_ok());
    assert!(matches!(read(needs - 1), Err(BadTable::TooLarge(most)) if most == needs - 1));
    // Each line names another column: a thousand lines would need a million cells.
    let wide: String =
        (0..1000).map(|row| format!("{{\"id\": {row}, \"column-{row}\": 1}}\n")).collect::<Vec<_>>().concat();
    assert!(matches!(json(&wide), Err(BadTable::TooLarge(MOST))));
}

#[test]
fn a_look_up_that_cannot_be_is_refused() {
    let table = csv("id,a\nx,yyyyyyyyyy\n").unwrap();
    let code = |column: &str, keys: &Texts, most| table.look_up(column, keys, most).unwrap_err().code;
    assert_eq!(code("b", &keys(&["x"]), MOST), RefusalCode::Unknown);
    assert_eq!(code("a", &Texts { ends: vec![2], bytes: vec![b'x'] }, MOST), RefusalCode::Malformed);
    assert_eq!(code("a", &(0..65_537).map(|_| "x").collect(), usize::MAX), RefusalCode::Limit);
    assert_eq!(code("a", &keys(&["x", "x"]), 19), RefusalCode::Limit);
    assert!(table.look_up("a", &keys(&["x", "x"]), 20).is_ok());
}

#[test]
fn a_table_is_replaced_as_a_whole_and_keeps_its_columns() {
    let live = LiveTable::new(csv("id,a\nx,1\n").unwrap());
    let before = live.now();
    live.replace(csv("id,b,a\nx,new,2\ny,,3\n").unwrap()).unwrap();
    assert_eq!(found(&before, "a", &["x", "y"]), [some("1"), None], "who has it keeps it");
    assert_eq!(found(&live.now(), "a", &["x", "y"]), [some("2"), some("3")]);
    let refused = live.replace(csv("id,b\nx,1\n").unwrap()).unwrap_err();
    assert!(matches!(refused, BadTable::ColumnGone(column) if column == "a"));
    assert_eq!(found(&live.now(), "a", &["x"]), [some("2")]);
}
